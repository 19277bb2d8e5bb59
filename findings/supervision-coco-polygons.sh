#!/usr/bin/env bash
# supervision 0.31.2: a mask that goes through COCO polygons is smaller for pycocotools, larger the other way round.
#
# One would guess that a mask which `as_coco` writes is the mask that pycocotools reads from that file, and that a polygon
# of COCO's is the same pixels in both. supervision writes the centres of the outermost pixels as the polygon (OpenCV's
# contours) and fills polygons with their outline; for pycocotools a polygon's coordinates are edges between pixels. So a
# square of 4 x 4 pixels is 3 x 3 after the export, while the `area` written beside it says 16, and COCO's own square of
# side 4 is 5 x 5 when supervision reads it. A file that is passed on three times loses a row and a column each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2 pycocotools==2.0.11 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import supervision as sv
from PIL import Image
from pycocotools.coco import COCO

Image.new("RGB", (12, 12)).save("photo.png")


def written(mask: np.ndarray) -> dict:
    """The annotation that supervision writes for a mask."""
    box = sv.mask_to_xyxy(mask[None])
    detections = sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([0]))
    dataset = sv.DetectionDataset(classes=["dog"], images=["photo.png"], annotations={"photo.png": detections})
    dataset.as_coco(annotations_path="out.json")
    with open("out.json") as file:
        return json.load(file)["annotations"][0]


def read_by_pycocotools(path: str) -> np.ndarray:
    with redirect_stdout(StringIO()):
        coco = COCO(path)
    return coco.annToMask(coco.anns[1]).astype(bool)


mask = np.zeros((12, 12), bool)
mask[2:8, 2:8] = True
sizes, areas = [int(mask.sum())], []
for _ in range(3):
    areas.append(int(written(mask)["area"]))
    mask = read_by_pycocotools("out.json")
    sizes.append(int(mask.sum()))
print(f"supervision {sv.__version__}: 36 pixels, passed on by as_coco and pycocotools: {sizes}; `area` as written: {areas}")

square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 4], "area": 16, "iscrowd": 0}
square["segmentation"] = [[2, 2, 6, 2, 6, 6, 2, 6]]
image = {"id": 1, "file_name": "photo.png", "width": 12, "height": 12}
with open("square.json", "w") as file:
    json.dump({"images": [image], "categories": [{"id": 1, "name": "dog"}], "annotations": [square]}, file)
((_, _, detections),) = list(sv.DetectionDataset.from_coco(".", "square.json", force_masks=True))
by_both = int(read_by_pycocotools("square.json").sum()), int(np.asarray(detections.mask).sum())
print(f"a square polygon of side 4: pycocotools {by_both[0]} pixels, supervision {by_both[1]}")
assert sizes == [36, 25, 16, 9] and areas == [36, 25, 16], "the behaviour has changed"
assert by_both == (16, 25), "the behaviour has changed"
PY
