#!/usr/bin/env bash
# scikit-image 0.26.0: what random_walker's `beta` means depends on the whole image and on the unit of its values.
#
# One would guess that the walk between two seeds depends on the differences of neighbouring values there, and, since the
# image is normalized, not on its unit. The squared differences are divided by 10 times the standard deviation (no square) of
# the whole image: a bright pixel in a corner or a crop changes the walk everywhere else, and the same values times 255
# walk as with beta times 255, but only as floats: uint8 is brought to 0…1 first. A `beta` found on one kind
# of input says nothing for another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==2.3.5 scipy==1.16.3
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import skimage
from skimage.segmentation import random_walker

rng = np.random.default_rng(0)
image = rng.integers(0, 51, (32, 32)).astype(np.uint8)
image[:, 16:] += 127
seeds = np.zeros((32, 32), int)
seeds[4, 4], seeds[4, 28] = 1, 2


def walk(values: np.ndarray, beta: float = 130) -> np.ndarray:
    return random_walker(values, seeds, beta=beta, mode="bf", return_full_prob=True)[0]


def off(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


unit = image / 255
plain = walk(unit)
spot = unit.copy()
spot[31, 31] = 20
rows = {
    "a bright pixel in the corner, rows 0 to 23": off(walk(spot)[:24], plain[:24]),
    "float 0…255 instead of 0…1": off(walk(unit * 255), plain),
    "float 0…255, beta / 255": off(walk(unit * 255, 130 / 255), plain),
    "uint8 instead of the same values as floats": off(walk(image), walk(image.astype(float))),
}
for name, value in rows.items():
    print(f"scikit-image {skimage.__version__}, {name}: probabilities differ by up to {value:.2g}")
corner, scaled, mended, kind = rows.values()
assert corner > 0.1 and scaled > 0.1 and kind > 0.1, "the behaviour has changed"
assert mended < 1e-6
PY
