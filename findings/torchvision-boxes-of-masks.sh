#!/usr/bin/env bash
# torchvision 0.29.1: ops.masks_to_boxes and ops.box_area disagree on where a box ends; thin masks have no area.
#
# One would guess that the box of a mask that fills a rectangle has the mask's area, and an IoU of 1 with itself.
# masks_to_boxes gives the last pixel's index, box_area, box_iou and nms take the end for one past it: a full 3 x 4 mask has
# a box of area 6, one a pixel thin has area 0, and its IoU with itself is NaN (0 / 0), so that nms keeps all of
# its copies. Adding 1 to the two last columns is right for all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torchvision
from torchvision import ops

masks = torch.zeros(3, 10, 10, dtype=torch.bool)
masks[0, 2, 2] = True
masks[1, 2:5, 2:6] = True
masks[2, 2, 2:8] = True
pixels = masks.sum((1, 2)).tolist()
boxes = ops.masks_to_boxes(masks)
whole = boxes + torch.tensor([0, 0, 1, 1])
areas, overlaps = ops.box_area(boxes).tolist(), ops.box_iou(boxes, boxes).diagonal()
copies = ops.nms(boxes[2].repeat(4, 1), torch.ones(4), 0.5)
print(f"torchvision {torchvision.__version__}: pixels {pixels}, areas of boxes {areas}, IoU with itself {overlaps.tolist()}")
print(f"nms keeps {len(copies)} of 4 equal boxes of the thin mask; with 1 added areas are {ops.box_area(whole).tolist()}")
assert areas == [0, 6, 0] and overlaps.isnan().tolist() == [True, False, True], "the behaviour has changed"
assert len(copies) == 4
assert ops.box_area(whole).tolist() == pixels
PY
