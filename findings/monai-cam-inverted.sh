#!/usr/bin/env bash
# MONAI 1.6.1: visualize.CAM and GradCAM return 0 where the evidence is strongest and 1 where there is none.
#
# One would guess that a class activation map is large at the object, as in the papers and in every other library. The
# default post-processing maps the (smallest, largest) value of a map to (1, 0); a threshold that keeps the largest
# values as seeds keeps the background. `postprocessing=lambda x: x` gives the map itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check monai==1.6.1 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import monai
import torch
from monai.visualize import CAM, GradCAM
from torch import nn

network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
network.append(nn.Linear(2, 2, bias=False))
with torch.no_grad():
    for parameter in network.parameters():
        parameter.fill_(1.0)
network.eval()
image = torch.zeros(1, 1, 4, 4)
image[..., :2, :2] = 1.0  # the object

for name, extractor in {"CAM": CAM(network, "1", "4"), "GradCAM": GradCAM(network, "1")}.items():
    found = extractor(image, class_idx=[0])[0, 0]
    print(f"MONAI {monai.__version__}, {name}: at the object {float(found[0, 0]):.2f}, beside it {float(found[3, 3]):.2f}")
    assert float(found[0, 0]) == 0.0 and float(found[3, 3]) == 1.0, "the behaviour has changed"
for extractor in (CAM(network, "1", "4", postprocessing=lambda x: x), GradCAM(network, "1", postprocessing=lambda x: x)):
    found = extractor(image, class_idx=[0])[0, 0]
    assert float(found[0, 0]) > float(found[3, 3])
PY
