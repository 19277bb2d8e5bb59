#!/usr/bin/env bash
# supervision 0.31.2: `as_coco` calls an object with a hole, or in two parts, a crowd, and COCO's evaluation leaves it out.
#
# One would guess that an object which another one cuts in two is exported like any other, as an object with two polygons
# or with a run-length mask. Such masks are written as run lengths with `iscrowd: 1`, since elsewhere in the format crowds
# are what has run lengths; COCO's evaluation takes crowds for regions where nothing counts. With the very masks as
# predictions a set of whole and cut objects is scored on the whole ones alone, and a detector that misses every cut object
# has an average precision of 1.
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
from pycocotools import mask as coder
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Image.new("RGB", (64, 64)).save("photo.png")
whole, holed, cut = np.zeros((3, 64, 64), bool)
whole[4:20, 4:20] = True
holed[30:60, 4:30] = True
holed[40:50, 10:20] = False
cut[30:40, 36:60] = True
cut[50:60, 36:60] = True
masks = np.stack([whole, holed, cut])
detections = sv.Detections(xyxy=sv.mask_to_xyxy(masks), mask=masks, class_id=np.zeros(3, int))
dataset = sv.DetectionDataset(classes=["dog"], images=["photo.png"], annotations={"photo.png": detections})
dataset.as_coco(annotations_path="truth.json")
with open("truth.json") as file:
    annotations = json.load(file)["annotations"]
crowds = [annotation["iscrowd"] for annotation in annotations]
print(f"supervision {sv.__version__}: iscrowd of a whole object, one with a hole, one in two parts: {crowds}")


def average_precision(found: list[np.ndarray]) -> float:
    results = []
    for mask in found:
        code = coder.encode(np.asfortranarray(mask.astype(np.uint8)))
        category = annotations[0]["category_id"]
        results.append({"image_id": 1, "category_id": category, "segmentation": code, "score": 1.0})
    with redirect_stdout(StringIO()):
        truth = COCO("truth.json")
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.iouThrs = np.array([0.5])  # whichever way the outline is drawn
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, 0, 0, -1]
    return float(precision.mean())


all_found, one_found = average_precision([whole, holed, cut]), average_precision([whole])
print(f"average precision at IoU 0.5 where all three are found: {all_found:.2f}; where only the whole one is: {one_found:.2f}")
assert crowds == [0, 1, 1], "the behaviour has changed"
assert round(one_found, 6) == round(all_found, 6) == 1
PY
