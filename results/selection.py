"""Selection policies: who may choose an option, and from which masks. A table never mixes them."""

from abc import abstractmethod
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

    @abstractmethod
    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold (0..1), from the counts that the policy may see and the one that the recipe declares."""


class Oracle(Chooser):
    """By the very masks that are reported: shown as a gap, never ranked."""

    name = "oracle"
    ranked = False

    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold of the highest mIoU, the lowest among equals; the declared one where nothing was counted."""
        best = sweep.best()
        return best.threshold if best.miou == best.miou else declared


CHOOSERS: dict[str, Chooser] = {policy.name: policy for policy in (Oracle(),)}
POLICIES: dict[str, Policy] = {"fixed": Fixed(), **CHOOSERS}


def chooser(name: str) -> Chooser:
    """The policy of that name, which chooses; raises UserError with the nearest name where none does."""
    if name not in CHOOSERS:
        raise unknown_name("policy", "selection policy", name, CHOOSERS)
    return CHOOSERS[name]


def is_ranked(name: str) -> bool:
    """Whether rows of the policy may be ranked; a policy that is not known here may not."""
    return name in POLICIES and POLICIES[name].ranked
