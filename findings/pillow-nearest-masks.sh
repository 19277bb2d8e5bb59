#!/usr/bin/env bash
# Pillow 12.0.0: Image.resize(…, NEAREST) of a label mask does not always take the pixel under the centre of the new one.
#
# One would guess: new pixel i of n takes old pixel floor((2 i + 1) old / (2 n)), the one that its centre lies in; the
# rule is exact in whole numbers. Pillow adds up a step in floating point, and where a centre falls on the border of two
# pixels (or within rounding of it) the sum may end on the other side: masks that two programs resize by "nearest"
# differ in whole columns. Seen over all pairs of widths 2…120: 2,472 of 14,161 differ in at least one column, the smallest 2 → 7, where column 3,
# whose centre is the border of both pixels, takes the left one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.0.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import PIL
from PIL import Image

differing = pairs = 0
example = None
for old in range(2, 121):
    row = np.arange(old, dtype=np.uint8)[None]
    for new in range(2, 121):
        exact = (2 * np.arange(new) + 1) * old // (2 * new)
        found = np.asarray(Image.fromarray(row).resize((new, 1), Image.Resampling.NEAREST))[0]
        pairs += 1
        if not np.array_equal(exact, found):
            differing += 1
            example = example or (old, new, int(np.flatnonzero(exact != found)[0]))
print(f"Pillow {PIL.__version__}: {differing} of {pairs} pairs of widths differ; first (old, new, column): {example}")
assert 0 < differing < pairs, "the behaviour has changed"
assert differing == 2472, "as often as when this was written"
PY
