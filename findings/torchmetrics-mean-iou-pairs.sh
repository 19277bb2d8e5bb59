#!/usr/bin/env bash
# torchmetrics 1.9.0: segmentation.MeanIoU is the mean over pairs of image and class; none of its relatives agrees with it.
#
# One would guess that the default is the mean of what `per_class=True` gives, or the mean over images of what the function
# `mean_iou` gives for each, or the data set's mIoU (counts of all images, then a mean over classes), as papers report.
# It is a fourth number: the IoU of each class of each image in which the class is predicted or present, all in one mean,
# so that an image counts by how many classes it has. Three numbers of one module's name cannot be told apart in a table;
# JaccardIndex(average="macro") gives the one of papers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torchmetrics
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.segmentation import mean_iou
from torchmetrics.segmentation import MeanIoU

target = torch.tensor([[[0, 0, 0, 0]], [[0, 0, 1, 1]]])
predicted = torch.tensor([[[0, 0, 0, 0]], [[0, 0, 0, 1]]])
options = {"num_classes": 2, "input_format": "index"}
found = {
    "MeanIoU": MeanIoU(**options)(predicted, target),
    "mean of MeanIoU(per_class=True)": MeanIoU(per_class=True, **options)(predicted, target).mean(),
    "mean of mean_iou()": mean_iou(predicted, target, **options).mean(),
    "JaccardIndex": MulticlassJaccardIndex(2)(predicted, target),
}
expected = {
    "MeanIoU": (1 + 2 / 3 + 1 / 2) / 3,
    "mean of MeanIoU(per_class=True)": ((1 + 2 / 3) / 2 + 1 / 2) / 2,
    "mean of mean_iou()": (1 + (2 / 3 + 1 / 2) / 2) / 2,
    "JaccardIndex": (6 / 7 + 1 / 2) / 2,
}
print(f"torchmetrics {torchmetrics.__version__}:", ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
for name, value in expected.items():
    assert abs(float(found[name]) - value) < 1e-5, f"the behaviour of {name} has changed"
assert len({round(value, 3) for value in expected.values()}) == 4
PY
