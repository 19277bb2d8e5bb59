"""Selection policies: who may choose an option, and from which masks. A table never mixes them."""

import re
from typing import ClassVar

from results.metrics.sweep import Sweep
from settings.errors import UserError, unknown_name

__all__ = ["FIXED", "IMAGE_LEVEL", "ORACLE", "check_policy", "chooser", "is_held_out", "is_ranked"]

FIXED, ORACLE = "fixed", "oracle"


class Policy:
    """By whom the background threshold of a row is set."""

    name: ClassVar[str]
    ranked: ClassVar[bool]
    """Whether rows of this policy may be ranked."""


class Fixed(Policy):
    """By the recipe, which declared it before the run: nothing is chosen, and no mask is read for it."""

    name = FIXED
    ranked = True


class Chooser(Policy):
    """By what masks say, in a stage of its own."""

    split: ClassVar[str | None]
    """Whose masks the policy sees; None: those that are reported."""
    masks: int | None = None
    """How many of them; None: all."""

    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold (0..1) of the highest mIoU, the lowest among equals, from the counts that the policy sees.

        The one that the recipe declares where nothing was counted.
        """
        best = sweep.best()
        return best.threshold if best.miou == best.miou else declared


class HeldOut(Chooser):
    """By the masks of dev, which are never reported, or n of them; each row counts them, and what they cost.

    The n are those that the ceiling `few-shot(n)` of the same rng seed is trained on, which shows what else they are
    good for.
    """

    name = "held_out"
    ranked = True
    split = "dev"

    def __init__(self, masks: int | None = None) -> None:
        self.masks = masks


class Oracle(Chooser):
    """By the very masks that are reported: shown as a gap, never ranked."""

    name = ORACLE
    ranked = False
    split = None


CHOOSERS: dict[str, Chooser] = {policy.name: policy for policy in (HeldOut(), Oracle())}
POLICIES: dict[str, Policy] = {FIXED: Fixed(), **CHOOSERS}
KNOWN = (*POLICIES, "held_out(n)")
_SOME = re.compile(r"held_out\(([1-9]\d{0,5})\)")
IMAGE_LEVEL = "image_level"
"""Chooses training options in a search (docs/search.md), which then stand under `fixed`."""
NO_THRESHOLD = (
    "image-level labels tell no pixel, so no threshold can be chosen by them; training options can: "
    "`seedbed search` with `objective: image_level`, whose winner is declared under fixed"
)


def chooser(name: str) -> Chooser:
    """The policy of that name, which chooses; raises UserError with the nearest name where none does."""
    if some := _SOME.fullmatch(name):
        return HeldOut(int(some[1]))
    if name not in CHOOSERS:
        raise unknown_name("policy", "selection policy", name, CHOOSERS)
    return CHOOSERS[name]


def check_policy(name: str, where: str) -> None:
    """Raise UserError, at the place where it was named, for a policy that cannot set thresholds."""
    if name == IMAGE_LEVEL:
        raise UserError(where, f"'{name}'", "one of " + ", ".join(KNOWN), NO_THRESHOLD)
    if name not in POLICIES and not _SOME.fullmatch(name):
        raise unknown_name(where, "selection policy", name, KNOWN)


def is_held_out(name: str) -> bool:
    """Whether the policy chooses on masks of dev."""
    return name == HeldOut.name or _SOME.fullmatch(name) is not None


def is_ranked(name: str) -> bool:
    """Whether rows of the policy may be ranked; a policy that is not known here may not."""
    return is_held_out(name) or (name in POLICIES and POLICIES[name].ranked)
