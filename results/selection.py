"""Selection policies: who may choose an option, and from which masks. A table never mixes them."""

from abc import ABC, abstractmethod
from typing import ClassVar

from results.metrics.sweep import Sweep
from settings.errors import unknown_name


class Policy(ABC):
    """Chooses the background threshold of a row."""

    name: ClassVar[str]
    ranked: ClassVar[bool]
    """Whether rows of this policy may be ranked."""

    @abstractmethod
    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold (0..1), from the counts that the policy may see and the one that the recipe declares."""


class Fixed(Policy):
    """What the recipe declared before the run."""

    name = "fixed"
    ranked = True

    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The declared threshold."""
        return declared


class Oracle(Policy):
    """The best on the very masks that are reported: shown as a gap, never ranked."""

    name = "oracle"
    ranked = False

    def threshold(self, sweep: Sweep, declared: float) -> float:
        """The threshold of the highest mIoU, the lowest among equals; the declared one where nothing was counted."""
        best = sweep.best()
        return best.threshold if best.miou == best.miou else declared


POLICIES: dict[str, Policy] = {policy.name: policy for policy in (Fixed(), Oracle())}


def policy(name: str) -> Policy:
    """The policy of that name; raises UserError with the nearest name for an unknown one."""
    if name not in POLICIES:
        raise unknown_name("policy", "selection policy", name, POLICIES)
    return POLICIES[name]


def is_ranked(name: str) -> bool:
    """Whether rows of the policy may be ranked; a policy that is not known here may not."""
    return name in POLICIES and POLICIES[name].ranked
