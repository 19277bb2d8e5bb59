#!/usr/bin/env bash
# supervision 0.31.2: mask_to_polygons drops small parts and gives holes back as objects.
#
# One would guess that the polygons of a mask, drawn again by polygon_to_mask of the same library, cover the mask. A single
# pixel and a line one pixel wide have no polygon at all, without a word, and a hole's outline stands in the list like any
# other part and a pixel larger than the hole: drawn together the holes are filled. Labels kept as polygons (YOLO, COCO)
# lose rings and thin objects.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import supervision as sv

masks = {name: np.zeros((10, 10), bool) for name in ("rectangle", "pixel", "thin line", "ring")}
masks["rectangle"][2:5, 2:6] = True
masks["pixel"][2, 2] = True
masks["thin line"][2, 2:8] = True
masks["ring"][1:9, 1:9] = True
masks["ring"][4:6, 4:6] = False
found = {}
for name, mask in masks.items():
    drawn = [sv.polygon_to_mask(polygon, (10, 10)).astype(bool) for polygon in sv.mask_to_polygons(mask)]
    union = np.any([np.zeros_like(mask), *drawn], axis=0)
    found[name] = len(drawn), int(union.sum())
    print(f"supervision {sv.__version__}, {name}: {mask.sum()} pixels, {len(drawn)} polygons that cover {union.sum()}")
assert found["rectangle"] == (1, 12)
assert found["pixel"] == found["thin line"] == (0, 0), "the behaviour has changed"
assert found["ring"] == (2, 64), "the behaviour has changed"
PY
