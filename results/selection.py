"""Selection policies: who may choose an option, and from which masks. A table never mixes them."""

from typing import ClassVar

from results.metrics.sweep import Sweep
from settings.errors import unknown_name

__all__ = ["chooser", "is_ranked"]


class Policy:
    """By whom the background threshold of a row is set."""

    name: ClassVar[str]
    ranked: ClassVar[bool]
    """Whether rows of this policy may be ranked."""


class Fixed(Policy):
    """By the recipe, which declared it before the run: nothing is chosen, and no mask is read for it."""

    name = "fixed"
    ranked = True


class Chooser(Policy):
    """By what masks say, in a stage of its own."""

    split: ClassVar[str | None]
    """Whose masks the policy sees; None: those that are reported."""

    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold (0..1) of the highest mIoU, the lowest among equals, from the counts that the policy sees.

        The one that the recipe declares where nothing was counted.
        """
        best = sweep.best()
        return best.threshold if best.miou == best.miou else declared


class HeldOut(Chooser):
    """By the masks of dev, which are never reported; each row counts them, and what they cost."""

    name = "held_out"
    ranked = True
    split = "dev"


class Oracle(Chooser):
    """By the very masks that are reported: shown as a gap, never ranked."""

    name = "oracle"
    ranked = False
    split = None


CHOOSERS: dict[str, Chooser] = {policy.name: policy for policy in (HeldOut(), Oracle())}
POLICIES: dict[str, Policy] = {"fixed": Fixed(), **CHOOSERS}


def chooser(name: str) -> Chooser:
    """The policy of that name, which chooses; raises UserError with the nearest name where none does."""
    if name not in CHOOSERS:
        raise unknown_name("policy", "selection policy", name, CHOOSERS)
    return CHOOSERS[name]


def is_ranked(name: str) -> bool:
    """Whether rows of the policy may be ranked; a policy that is not known here may not."""
    return name in POLICIES and POLICIES[name].ranked
