"""C²AM (CVI-SZU/CCAM): losses, gradients, the head in training and afterwards, polarity."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.c2am import ForegroundHead, border_mean, contrast_loss
from tests.golden.system import Inputs, System

INVERTED = 0.5


def outputs(stored: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("plain", "clamped"):
        found |= losses(stored, kind)
    found |= head(stored)
    found["border_says_inverted"] = border_mean(stored.tensor("border_maps")[:, 0]) > INVERTED
    return found


def losses(stored: Inputs, kind: str) -> dict[str, Any]:
    """A photo of two positions, one all foreground and one all background, gives the vectors themselves."""
    front, back = (stored.tensor(f"{kind}_{side}").requires_grad_() for side in ("foreground", "background"))
    foreground_B1P = torch.tensor([[[1.0, 0.0]]]).expand(len(front), 1, 2)
    loss = contrast_loss(torch.stack([front, back], 2)[:, :, None], foreground_B1P, stored.number("alpha"))
    gradients = torch.autograd.grad(loss.total, (front, back))
    return {
        f"{kind}_l_neg": loss.between,
        f"{kind}_l_pos_foreground": loss.foreground,
        f"{kind}_l_pos_background": loss.background,
        f"{kind}_loss": loss.total,
        f"{kind}_grad_foreground": gradients[0],
        f"{kind}_grad_background": gradients[1],
    }


def head(stored: Inputs) -> dict[str, Any]:
    """In training its norm takes the batch's statistics, afterwards those that it kept."""
    weight, features_BCHW = stored.tensor("head_weight"), stored.tensor("head_features").requires_grad_()
    head = ForegroundHead(weight.shape[1]).train()
    with torch.no_grad():
        head.activation.weight.copy_(weight)
    foreground_BHW = head(features_BCHW).sigmoid()
    loss = contrast_loss(features_BCHW, foreground_BHW, stored.number("alpha")).total
    of_weight, of_features = torch.autograd.grad(loss, (head.activation.weight, features_BCHW))
    shares_B1HW = foreground_BHW[:, None]
    return {
        "head_map": shares_B1HW,
        "head_foreground": (shares_B1HW * features_BCHW).mean((2, 3)),
        "head_background": ((1 - shares_B1HW) * features_BCHW).mean((2, 3)),
        "head_loss": loss,
        "head_grad_weight": of_weight,
        "head_grad_features_first_photo": of_features[0],
        "head_running_mean": head.norm.running_mean,
        "head_running_var": head.norm.running_var,
        "head_border_says_inverted": border_mean(foreground_BHW.detach()) > INVERTED,
        "head_inference_logits": head.eval()(features_BCHW)[:, None],
    }


SYSTEM = System(
    outputs,
    left_out=((".*_derived_paper_.*", "the form of the paper, which no program computes and we do not offer"),),
)
