#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: FocalLoss("multiclass") is no focal cross-entropy; with gamma 0 it is no cross-entropy.
#
# One would guess that focal loss for exclusive classes weighs the cross-entropy of the softmax by (1 - p)^gamma, and with
# gamma 0 is that cross-entropy. It is the mean over classes of the binary loss of each class's logit against all others: logits
# that differ by a constant, the same probabilities to a softmax, have other losses, and probabilities taken by softmax
# from a network that it trained are not the ones that it fitted.
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
logits = torch.randn(2, 4, 8, 8, generator=generator)
labels = torch.randint(0, 4, (2, 8, 8), generator=generator)
one_hot = F.one_hot(labels, 4).movedim(-1, 1).float()
loss = smp.losses.FocalLoss("multiclass", gamma=0.0)
found, raised = float(loss(logits, labels)), float(loss(logits + 5, labels))
softmax, binary = float(F.cross_entropy(logits, labels)), float(F.binary_cross_entropy_with_logits(logits, one_hot))
print(f"segmentation-models-pytorch {smp.__version__}: gamma 0 {found:.4f}, all logits + 5 {raised:.4f};", end=" ")
print(f"cross-entropy of the softmax {softmax:.4f}, of each class alone {binary:.4f}")
assert abs(found - binary) < 1e-5, "the behaviour has changed"
assert abs(found - softmax) > 0.1 and raised > 2 * found
PY
