#!/usr/bin/env bash
# torchcam 0.5.0: CAM leaves out the ReLU of its own formula, so that evidence against a class lifts all the rest.
#
# One would guess, by the formula in its documentation (ReLU of the weighted sum) and since CAM and Grad-CAM are equal up
# to a factor for a network that ends in average pooling and a linear layer, that both extractors return the same map after
# their normalization. GradCAM does apply the ReLU; CAM does not: its smallest value, a negative one, becomes 0, and
# the places that say nothing about the class become positive: 0.75 here, over most thresholds of seeds.
# `normalized=False` gives the sums themselves, to be clamped by the caller.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torchcam==0.5.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import torch
from torch import nn
from torchcam.methods import CAM, GradCAM

features = nn.Identity()
network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
network.append(nn.Linear(2, 1, bias=False))
with torch.no_grad():
    network[0].weight.copy_(torch.eye(2)[:, :, None, None])
    network[4].weight.copy_(torch.tensor([[1.0, -1.0]]))
network.eval()
image = torch.zeros(1, 2, 4, 4)
image[0, 0, 0, 0] = 1.0  # evidence for the class
image[0, 1, 3, 3] = 3.0  # evidence against it

with CAM(network, features, "4") as extractor:
    network(image)
    cam = extractor(0)[0][0]
with GradCAM(network, features) as extractor:
    grad_cam = extractor(0, network(image))[0][0]
for name, found in (("CAM", cam), ("GradCAM", grad_cam)):
    print(f"torchcam {version('torchcam')}, {name}: for {found[0, 0]:.2f}, neutral {found[1, 1]:.2f}, against {found[3, 3]:.2f}")
assert abs(float(cam[1, 1]) - 0.75) < 1e-5, "the behaviour has changed"
assert abs(float(grad_cam[1, 1])) < 1e-5 and abs(float(grad_cam[0, 0]) - 1) < 1e-5
PY
