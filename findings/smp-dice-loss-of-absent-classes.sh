#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: a wholly wrong prediction has Dice loss 1/21 where an image has one of 21 classes.
#
# One would guess that DiceLoss("multiclass") is 1 where nothing is right, and that absent classes either count as errors where
# they are predicted or are left out of the mean. They count as 0, also where they are predicted, and stay in the mean:
# the largest possible loss is the share of classes that the batch has, and its weight beside a cross-entropy falls
# with the number of classes. Jaccard and Tversky losses do the same; LovaszLoss leaves them out.
# `classes=` with those of the batch gives 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check segmentation-models-pytorch==0.6.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import segmentation_models_pytorch as smp
import torch

target = torch.zeros(1, 8, 8, dtype=torch.long)
for classes in (2, 3, 21):
    logits = torch.full((1, classes, 8, 8), -20.0)
    logits[:, 1] = 20.0
    names = "DiceLoss", "JaccardLoss", "TverskyLoss", "LovaszLoss"
    found = {name: float(getattr(smp.losses, name)("multiclass")(logits, target)) for name in names}
    rows = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    print(f"segmentation-models-pytorch {smp.__version__}, all wrong, {classes} classes: {rows}")
    assert abs(found.pop("LovaszLoss") - 1) < 1e-4
    assert all(abs(value - 1 / classes) < 1e-4 for value in found.values()), "the behaviour has changed"
    assert abs(float(smp.losses.DiceLoss("multiclass", classes=[0])(logits, target)) - 1) < 1e-4
PY
