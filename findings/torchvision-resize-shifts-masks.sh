#!/usr/bin/env bash
# torchvision 0.29.1: transforms.v2.Resize moves tensor masks against their images; the same mask as a PIL image stays.
#
# One would guess that an image and its mask stay registered in one call of one transform. The image is resized with the centres
# of pixels in line; the mask, by the older NEAREST, takes the pixel under the new one's left upper corner, (s - 1) / 2
# old pixels away at s times smaller: at a third of the size column i shows the old 3 i + 1 in the image and 3 i in
# the mask. A mask given as PIL image is resized by PIL's rule, 3 i + 1, so that the labels depend on the container.
# interpolation=NEAREST_EXACT mends the mask, but takes the image by nearest as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

columns = torch.arange(9, dtype=torch.uint8).repeat(3, 1)


def resized(mode: InterpolationMode, mask: object) -> tuple[list[float], list[int]]:
    image, found = v2.Resize((1, 3), interpolation=mode, antialias=False)(tv_tensors.Image(columns[None].float()), mask)
    return image[0, 0].tolist(), np.asarray(found)[0].tolist()


tensor, pillow = tv_tensors.Mask(columns), Image.fromarray(columns.numpy())
for mode in (InterpolationMode.BILINEAR, InterpolationMode.NEAREST_EXACT):
    image, mask = resized(mode, tensor)
    print(f"torchvision {torchvision.__version__}, {mode.name}: columns of the image {image}, of its mask {mask}")
    assert image == [1, 4, 7]
    assert mask == ([0, 3, 6] if mode == InterpolationMode.BILINEAR else [1, 4, 7]), "the behaviour has changed"
found = v2.Resize((1, 3), InterpolationMode.NEAREST)(pillow)
print(f"the mask as a PIL image, NEAREST: {np.asarray(found)[0].tolist()}")
assert np.asarray(found)[0].tolist() == [1, 4, 7]
PY
