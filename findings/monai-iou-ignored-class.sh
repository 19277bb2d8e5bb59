#!/usr/bin/env bash
# MONAI 1.6.1: an ignored class's pixels still count as false positives in compute_iou, and do not in compute_dice.
#
# One would guess from "voxels with this label are excluded from the score" that `ignore_index` means the same in both
# metrics, and that Dice = 2 IoU / (1 + IoU) holds class by class as always. compute_dice leaves the pixels of that class
# out; compute_iou only drops the class's own channel, and other classes predicted there pay for it: the same
# prediction has Dice 1.0 and IoU 0.6. Void pixels that are no class (all channels zero, an index beyond the classes)
# are left out by both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check monai==1.6.1 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import monai
import torch
from monai.metrics import compute_dice, compute_iou
from monai.networks.utils import one_hot

target = one_hot(torch.tensor([[[[0, 0, 0, 1, 1, 1, 2, 2]]]]), 3)
predicted = one_hot(torch.tensor([[[[0, 0, 0, 1, 1, 1, 1, 1]]]]), 3)
void = target.clone()
void[..., 6:] = 0
found = {}
for name, truth, ignored in (("class 2", target, 2), ("void", void, 255)):
    iou = float(compute_iou(predicted, truth, ignore_index=ignored)[0, 1])
    dice = float(compute_dice(predicted, truth, ignore_index=ignored)[0, 1])
    found[name] = iou, dice
    print(f"MONAI {monai.__version__}, ignoring {name}: IoU of class 1 {iou:.2f}, Dice {dice:.2f}, by that IoU {2 * iou / (1 + iou):.2f}")
assert all(abs(value - wanted) < 1e-6 for value, wanted in zip(found["class 2"], (0.6, 1.0))), "the behaviour has changed"
assert found["void"] == (1.0, 1.0)
PY
