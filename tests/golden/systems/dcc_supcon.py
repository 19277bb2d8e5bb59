"""SupContrast and DCC_CL: supervised contrastive losses and their gradients."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.contrast import contrastive_loss_of_views, same_class
from tests.golden.system import Inputs, System

KINDS = {"supcon": (True, False), "simclr": (False, False), "dcc_labels": (True, True), "dcc": (False, True)}
"""By name: whether labels say who attracts, and whether the further weight is used."""
ALONE = 0.3
"""The temperature of the two losses that have one each."""


def outputs(stored: Inputs) -> dict[str, Any]:
    views_BVD, labels_B = stored.tensor("embeddings").requires_grad_(), stored.tensor("labels")
    weight_NN, temperatures = stored.tensor("intensity_weight"), stored["temperatures"].tolist()
    alike_BB = same_class(labels_B)
    found: dict[str, Any] = {}
    for name, (by_labels, is_weighted) in KINDS.items():
        positive_BB = alike_BB if by_labels else torch.eye(len(labels_B), dtype=torch.bool)
        losses = [
            contrastive_loss_of_views(views_BVD, positive_BB, each, weight_NN=weight_NN if is_weighted else None)
            for each in temperatures
        ]
        found[f"loss_{name}"] = torch.stack(losses)
        if name in ("supcon", "dcc"):
            found[f"grad_{name}"] = torch.stack([torch.autograd.grad(loss, views_BVD)[0] for loss in losses])
    found["loss_supcon_one_view"] = contrastive_loss_of_views(views_BVD[:, :1], alike_BB, ALONE)
    found["loss_supcon_one_anchor_view"] = contrastive_loss_of_views(views_BVD, alike_BB, ALONE, one_anchor_view=True)
    return found


SYSTEM = System(outputs, allowed=(("grad_.*", 1e-4), (".*", 2e-5)))
