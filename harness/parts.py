"""A recipe's components as objects, with their options checked and what of them belongs into keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.suite import Component, Recipe, Suite, validated_options
from methods.base import Labeler, Localizer, Segmenter, TrainingMode
from settings.discovery import LABELERS, LOCALIZERS, SEGMENTERS, Registry
from settings.errors import UserError

REGISTRIES = {"localizer": LOCALIZERS, "labeler": LABELERS, "segmenter": SEGMENTERS}


@dataclass(frozen=True)
class Parts:
    """The components of one recipe."""

    localizer: Localizer | None
    labeler: Labeler
    segmenter: Segmenter | None
    training_mode: TrainingMode
    names: Mapping[str, str]

    @property
    def is_trained(self) -> bool:
        """False for a control that learns from nothing."""
        return self.localizer is not None or bool(self.segmenter and self.segmenter.trained)

    def identity(self, role: str, fit: bool = False) -> dict[str, Any]:
        """What of a component belongs into keys: its name, version and options (of a fit: those that it reads)."""
        component = getattr(self, role)
        options = component.options.model_dump(mode="json", exclude=component.apply_options if fit else None)
        return {"role": role, "name": self.names[role], "version": component.version, "options": options}


def parts_of(name: str, recipe: Recipe, suite: Suite) -> Parts:
    """Load and check the components of a recipe; raises UserError that names recipe and option."""
    where = f"recipes.{name}"
    roles = {role: component for role in REGISTRIES if (component := getattr(recipe, role)) is not None}
    built = {role: build_component(role, component, f"{where}.{role}") for role, component in roles.items()}
    mode = recipe.training_mode or suite.training_mode
    parts = Parts(
        built.get("localizer"),
        built["labeler"],
        built.get("segmenter"),
        mode,
        {role: component.name for role, component in roles.items()},
    )
    if parts.labeler.needs_maps and parts.localizer is None:
        raise UserError(
            f"{where}.localizer", "nothing", f"a localizer, since labeler '{recipe.labeler.name}' needs maps"
        )
    for part in (parts.localizer, parts.segmenter):
        if part is not None and mode not in part.modes:
            raise UserError(f"{where}.training_mode", f"'{mode}'", f"one of {', '.join(part.modes)} for this recipe")
    return parts


def build_component(role: str, component: Component | Mapping[str, Any], where: str) -> Any:
    """The component object of a role, from its name and options."""
    content = component.model_dump() if isinstance(component, Component) else component
    registry: Registry = REGISTRIES[role]
    kind = registry.load(content["name"], where)
    return kind(validated_options(kind.options_model, content["options"], where))
