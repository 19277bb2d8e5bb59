"""What stages of components cost, guessed from photos, epochs, size and options: until a store has measured them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.suites.recipes import ComponentIdentity
from methods.base import Cost
from methods.costs import USUAL_SIZE
from methods.photo_inputs import PhotoInputs
from settings.discovery import registry_of
from settings.errors import UserError

__all__ = [
    "USUAL_PHOTO",
    "apply_seconds",
    "epochs_of",
    "fit_seconds",
    "keeps_aspect",
    "pixels_seen",
    "seen_side",
    "whole_seconds",
]

USUAL_PHOTO = 375 * 500
"""Pixels of a photo whose size nobody knows before it is read: VOC's usual one."""
WHOLE_PASS_S = 0.02
"""Core-seconds of a photo's pass at 224 × 224 pixels through a backbone that a fit has tuned."""


def seen_side(component: ComponentIdentity, size: int) -> int:
    """The side (pixels) of what a fit that trains its backbone sees: that of its crops, else the backbone's size."""
    inputs = component.options.get("inputs")
    return int(inputs["crop"]) if isinstance(inputs, Mapping) else size


def keeps_aspect(component: ComponentIdentity) -> bool:
    """Whether photos go through the network at their own size; False where the class is not found."""
    try:
        model = registry_of(component.role).load(component.name).options_model
    except UserError:
        return False
    if not issubclass(model, PhotoInputs):
        return False
    given = {name: component.options[name] for name in PhotoInputs.model_fields if name in component.options}
    return PhotoInputs.model_validate(given).keeps_aspect


def pixels_seen(component: ComponentIdentity) -> float:
    """How many times its own pixels go through the network for a photo that keeps its aspect."""
    options = registry_of(component.role).load(component.name).options_model.model_validate(component.options)
    assert isinstance(options, PhotoInputs)
    return options.pixels_seen


def whole_seconds(pixels_seen: float, photos: int) -> float:
    """Core-seconds of passes of photos of their own size, of which so many times their own pixels go through."""
    return photos * WHOLE_PASS_S * pixels_seen * USUAL_PHOTO / USUAL_SIZE**2


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
