"""What stages of components cost, guessed from photos, epochs, size and options: until a store has measured them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.suites.recipes import ComponentIdentity
from methods.base import Cost
from settings.discovery import registry_of
from settings.errors import UserError

__all__ = ["apply_seconds", "epochs_of", "fit_seconds"]


def fit_seconds(component: ComponentIdentity, photos: int, size: int) -> float | None:
    """Core-seconds that a fit on frozen features may take in all its epochs; None where the component tells no cost.

    `size` is the side of the backbone's input in pixels.
    """
    cost = _cost(component, "fit_cost")
    if cost is None:
        return None
    return cost.of(photos, size, component.options, epochs_of(component))


def apply_seconds(component: ComponentIdentity, photos: int, size: int) -> float | None:
    """Core-seconds that a component may take for so many photos; None where it tells no cost. `size`: as for a fit."""
    cost = _cost(component, "apply_cost")
    if cost is None:
        return None
    return cost.of(photos, size, component.options)


def epochs_of(component: ComponentIdentity) -> int:
    """How often a fit goes through all its photos; once where its options know no epochs."""
    training = component.options.get("training")
    if isinstance(training, Mapping):
        return int(training.get("epochs", 1))
    return 1


def _cost(component: ComponentIdentity, which: Literal["fit_cost", "apply_cost"]) -> Cost | None:
    """The class's own guess; None where the class is not found, as that of a plug-in that is not plugged in."""
    try:
        cost: Cost | None = getattr(registry_of(component.role).load(component.name), which)
    except UserError:
        return None
    return cost
