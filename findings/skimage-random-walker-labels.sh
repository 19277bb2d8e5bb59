#!/usr/bin/env bash
# scikit-image 0.26.0: random_walker returns other labels than those of its seeds.
#
# One would guess that the regions grown from seeds of classes 8 and 15 are labelled 8 and 15, as watershed and
# expand_labels do it. They are labelled 1 and 2: labels are made consecutive on the way in and are not put back, even at
# the seeds themselves. A map of class numbers in which one class is absent so comes back as other classes, all valid
# numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==2.3.5 scipy==1.16.3
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import skimage
from skimage.segmentation import expand_labels, random_walker, watershed

image = np.zeros((8, 16))
image[:, 8:] = 1
seeds = np.zeros((8, 16), int)
seeds[4, 2], seeds[4, 13] = 8, 15
found = {
    "random_walker": random_walker(image, seeds, mode="bf"),
    "watershed": watershed(image, seeds),
    "expand_labels": expand_labels(seeds, 20),
}
for name, labels in found.items():
    print(f"scikit-image {skimage.__version__}, {name}: {np.unique(labels).tolist()}, at the seeds {labels[seeds > 0].tolist()}")
assert found["random_walker"][seeds > 0].tolist() == [1, 2], "the behaviour has changed"
assert all(found[name][seeds > 0].tolist() == [8, 15] for name in ("watershed", "expand_labels"))
PY
