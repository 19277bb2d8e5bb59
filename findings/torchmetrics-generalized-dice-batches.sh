#!/usr/bin/env bash
# torchmetrics 1.9.0: segmentation.GeneralizedDiceScore depends on which images share a batch, and on their order in it.
#
# One would guess that a metric which says "an average over all samples" gives one value for one set of predictions, fed
# one image at a time or all at once, in any order. A class is weighted by 1 / (its pixels in the target)². An image
# without the class, where that is infinite, takes the largest weight in its batch of a class, but not of that class: the
# table of maxima is read transposed, so that the image's place decides which (a batch of one: zero). A false
# positive there is free or the greater part of the score: 0.98, 0.97 or 0.55 for the same two images. "simple" weights do
# the same, "linear" ones do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torchmetrics
from torchmetrics.segmentation import GeneralizedDiceScore

predicted, target = torch.zeros(2, 2, 4, 4, dtype=torch.long)
predicted[0, 0, 0] = 1  # one false positive of a class that the first image does not have
predicted[1, 0, 0] = target[1, 0, 0] = 1  # the second image has one pixel of it and is wholly right


def score(weights: str, *batches: list[int]) -> float:
    metric = GeneralizedDiceScore(num_classes=2, weight_type=weights, input_format="index")
    for batch in batches:
        metric.update(predicted[batch], target[batch])
    return float(metric.compute())


for weights in ("square", "simple", "linear"):
    found = score(weights, [0], [1]), score(weights, [0, 1]), score(weights, [1, 0])
    single, together, turned = found
    print(f"torchmetrics {torchmetrics.__version__}, {weights}: one by one {single:.4f}, batch {together:.4f}, turned {turned:.4f}")
    assert (max(found) - min(found) < 1e-6) == (weights == "linear"), "the behaviour has changed"
for found, weight in zip((score("square", [0], [1]), score("square", [0, 1]), score("square", [1, 0])), (0, 1 / 15**2, 1)):
    first = (2 * 15 / 16**2) / ((16 + 15) / 16**2 + weight)
    assert abs(found - (first + 1) / 2) < 1e-5
PY
