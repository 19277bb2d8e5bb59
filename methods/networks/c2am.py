"""C²AM: Xie et al., "Class-agnostic Activation Map", CVPR 2022; docs/methods.md §7.

A photo's foreground and background, pooled to one vector each, shall differ in all photos, and be alike among photos:
that needs no label. The batch norm has neither scale nor shift to train, which keeps all from becoming foreground.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import normalize

ALPHA = 0.25
"""How fast the weight of a pair falls with its rank."""
CLAMP = (0.0005, 0.9995)
"""Cosines are kept in this range, so that logarithms stay finite."""
STRIP = 4
"""Width of the border, in grid positions, where photos show background more often than objects."""


class ContrastLoss(NamedTuple):
    """The terms of a batch's loss, and their sum."""

    between: torch.Tensor
    foreground: torch.Tensor
    background: torch.Tensor
    total: torch.Tensor


class ForegroundHead(nn.Module):
    """One logit a position: 3×3 convolution without bias, batch norm without parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.activation = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(1, affine=False)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, h, w)."""
        logits_BHW: torch.Tensor = self.norm(self.activation(features_BCHW))[:, 0]
        return logits_BHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> ForegroundHead:
        """The network whose state this is."""
        head = cls(state["activation.weight"].shape[1])
        head.load_state_dict(dict(state))
        return head


def _alone(vectors_BC: torch.Tensor) -> torch.Tensor:
    return vectors_BC


def contrast_loss(
    features_BCHW: torch.Tensor,
    foreground_BHW: torch.Tensor,
    alpha: float = ALPHA,
    gathered: Callable[[torch.Tensor], torch.Tensor] = _alone,
) -> ContrastLoss:
    """The loss of a batch, from its features and the probability that a position is foreground (equations 3–6).

    `between`: −mean over all i, j of log(1 − cos(f_i, b_j)), i = j too; `foreground` and `background`: `alike` of each.
    `gathered` makes the vectors of the whole batch of those of a slice.
    """
    features_BPC = features_BCHW.flatten(2).transpose(1, 2)
    weights_B1P = foreground_BHW.flatten(1)[:, None]
    pooled = ((w_B1P @ features_BPC)[:, 0] for w_B1P in (weights_B1P, 1 - weights_B1P))
    front_BC, back_BC = (gathered(normalize(vectors_BC, dim=1)) for vectors_BC in pooled)
    between = -(1 - _cosines(front_BC, back_BC)).log().mean()
    front, back = alike(_cosines(front_BC, front_BC), alpha), alike(_cosines(back_BC, back_BC), alpha)
    return ContrastLoss(between, front, back, between + front + back)


def alike(cosines_BB: torch.Tensor, alpha: float = ALPHA) -> torch.Tensor:
    """−(1/n²) Σ_ij e^(−α·rank_ij) log cos_ij; rank 0 is the nearest other photo in row i, and a photo itself has −1.

    Ranks are constant to the gradient.
    """
    order_BB = cosines_BB.detach().clone().fill_diagonal_(torch.inf).argsort(1, descending=True)
    ranks_BB = order_BB.argsort(1) - 1
    return -((-alpha * ranks_BB).exp() * cosines_BB.log()).mean()


def _cosines(one_BC: torch.Tensor, other_BC: torch.Tensor) -> torch.Tensor:
    return (one_BC @ other_BC.T).clamp(*CLAMP)


def border_mean(foreground_BHW: torch.Tensor) -> float:
    """The mean of four strips along the border, each the mean of a batch: above ½ the map shows the background.

    Corners are in two strips, as in the released program.
    """
    above, below = foreground_BHW[:, :STRIP], foreground_BHW[:, -STRIP:]
    left, right = foreground_BHW[:, :, :STRIP], foreground_BHW[:, :, -STRIP:]
    return float(torch.stack([strip.mean() for strip in (above, below, left, right)]).mean())
