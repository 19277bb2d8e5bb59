#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: SoftCrossEntropyLoss divides by the ignored pixels as well.
#
# One would guess that without smoothing it is torch's cross-entropy, a mean over the pixels that are not ignored. Ignored ones
# count as zeros in the mean: where half of a pseudo label is void the loss and its gradients are halved, so that the step's
# size follows the share of void from image to image. With smoothing it is the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check segmentation-models-pytorch==0.6.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

generator = torch.Generator().manual_seed(0)
logits = torch.randn(1, 3, 8, 8, generator=generator)
labels = torch.randint(0, 3, (1, 8, 8), generator=generator)
for void in (0, 4, 6):
    labels[:, :void] = 255
    share = 1 - void / 8
    for smoothing in (0.0, 0.1):
        found = float(smp.losses.SoftCrossEntropyLoss(smooth_factor=smoothing, ignore_index=255)(logits, labels))
        torchs = float(F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=smoothing))
        print(f"segmentation-models-pytorch {smp.__version__}, {share:.0%} labelled, smoothing {smoothing}: {found:.4f}, torch {torchs:.4f}")
        assert abs(found - share * torchs) < 0.005, "the behaviour has changed"
PY
