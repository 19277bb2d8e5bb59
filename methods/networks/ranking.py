"""Which of two objects stands out more: a score of an object and its surroundings, after RISOD (2008.05397)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["ObjectRanker", "order_loss", "votes"]


class ObjectRanker(nn.Module):
    """Features of an object's box and of the box around it, joined, to one number: the higher, the more salient."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, objects_NC: torch.Tensor) -> torch.Tensor:
        """Scores (N,)."""
        scores_N: torch.Tensor = self.score(self.hidden(self.norm(objects_NC)).relu())[:, 0]
        return scores_N

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> ObjectRanker:
        """The network whose state this is."""
        hidden, channels = state["hidden.weight"].shape
        ranker = cls(channels, hidden)
        ranker.load_state_dict(dict(state))
        return ranker


def order_loss(differences_N: torch.Tensor, order_N: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean of max(0, margin − order · difference of scores); order is 1, −1, or 0 for a pair that teaches nothing."""
    return ((margin - order_N * differences_N).relu() * order_N.abs()).mean()


def votes(scores_N: torch.Tensor, others_M: torch.Tensor) -> torch.Tensor:
    """How many of the others each score exceeds, less how many it does not exceed, (N,)."""
    return (scores_N[:, None] > others_M).float().mul(2).sub(1).sum(1)
