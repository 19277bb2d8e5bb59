"""A recipe's components as objects, with their options checked and what of them belongs into keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from harness.suites.suite import Recipe, Suite
from methods.base import Component, Cue, Labeler, Localizer, Refiner, Segmenter, TrainingMode
from methods.segmenting import variants_of
from results.rows import CEILING
from settings.components import build_component
from settings.errors import Impossible, UserError
from settings.hashing import shared_cache
from settings.options import Options
from settings.records import Photo, fingerprint

ROLES = ("localizer", "cue", "labeler", "segmenter")
"""What a recipe has at most one of; refiners, of which it may have several, stand beside them."""


@dataclass(frozen=True)
class ComponentIdentity:
    """What of a component decides an outcome: its role, name and version, and those of its options that are read."""

    role: str
    name: str
    version: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RecipeComponents:
    """The components of one recipe."""

    localizer: Localizer | None
    refiners: tuple[Refiner, ...]
    cue: Cue | None
    labeler: Labeler | None
    segmenter: Segmenter | None
    reveal: int | Literal["all"] | None
    training_mode: TrainingMode
    names: Mapping[str, str]
    """Of the components, by role."""
    refiner_names: tuple[str, ...] = ()
    variants: tuple[Segmenter, ...] = ()
    """The segmenter in every way that the suite runs it, itself the first; none without a segmenter."""

    @property
    def is_trained(self) -> bool:
        """False for a control that learns from nothing."""
        return bool(self.localizer and self.localizer.trained) or bool(self.segmenter and self.segmenter.trained)

    @property
    def follows_setting(self) -> bool:
        """Whether it may come out otherwise under another setting; true masks do not, nor does what learns nothing."""
        return self.reveal is None and bool(self.is_trained or self.supervision)

    @property
    def supervision(self) -> str:
        """What the whole recipe uses: `I`, `I+S`, …; empty for a control that uses nothing."""
        if self.reveal is not None:
            return CEILING
        parts: tuple[Component | None, ...] = (self.localizer, *self.refiners, self.cue, self.labeler, self.segmenter)
        letters = {letter for part in parts if part for letter in part.supervision.split("+") if letter}
        return "+".join(sorted(letters))

    def identity(self, role: str, fit: bool = False, variant: Segmenter | None = None) -> ComponentIdentity:
        """What of a component belongs into keys: its name, version and options (of a fit: those that it reads)."""
        part: Component = variant or getattr(self, role)
        return identity_of(role, self.names[role], part, left_out_of(part, fit))

    def refiner_identity(self, step: int, fit: bool = False) -> ComponentIdentity:
        """The same of a refiner, by its place in the chain."""
        part = self.refiners[step]
        return identity_of("refiner", self.refiner_names[step], part, left_out_of(part, fit))

    def places(self, role: str) -> dict[str, Any]:
        """The options that say where a component's files lie, as a stage needs them and its key does not."""
        part: Component = getattr(self, role)
        return part.places()


def left_out_of(part: Component, fit: bool) -> frozenset[str]:
    """The options that are in no key, or (of a fit) not read by it."""
    return part.place_options | (part.apply_options if fit else frozenset())


class _Versioned(Protocol):
    version: ClassVar[int]
    options: Options


def identity_of(role: str, name: str, part: _Versioned, left_out: Collection[str] = ()) -> ComponentIdentity:
    """What of a component belongs into keys, less the options that are left out."""
    options = part.options.model_dump(mode="json", exclude=set(left_out))
    return ComponentIdentity(role, name, part.version, options)


def files_identity(part: Component, photos: Sequence[Photo]) -> str | None:
    """What identifies the files of other programs that a component reads for these photos; None where it has none.

    Raises UserError for a file that is missing or cannot be read.
    """
    contents = [(photo.id, [_content_of(path) for path in part.files(photo)]) for photo in photos]
    return fingerprint(contents) if any(files for _, files in contents) else None


def _content_of(path: Path) -> str:
    try:
        return shared_cache().sha256(path)
    except OSError as error:
        raise UserError(path, f"no readable file ({error.strerror})", "a file for every photo") from None


def components_of(name: str, recipe: Recipe, suite: Suite) -> RecipeComponents:
    """Load and check the components of a recipe; raises UserError that names recipe and option."""
    where = f"recipes.{name}"
    roles = {role: component for role in ROLES if (component := getattr(recipe, role)) is not None}
    built = {role: build_component(role, component, f"{where}.{role}") for role, component in roles.items()}
    variants = variants_of(built["segmenter"], suite.segment, suite.backbone, name) if "segmenter" in built else ()
    built |= {"segmenter": variants[0]} if variants else {}
    mode = recipe.training_mode or suite.training_mode
    parts = RecipeComponents(
        **{role: built.get(role) for role in ROLES},
        refiners=tuple(build_component("refiner", one, f"{where}.refiners") for one in recipe.refiners),
        refiner_names=tuple(one.name for one in recipe.refiners),
        reveal=recipe.reveal,
        training_mode=mode,
        names={role: component.name for role, component in roles.items()},
        variants=variants,
    )
    _check_inputs(parts, where)
    _check_possible(parts, where)
    return parts


def _check_inputs(parts: RecipeComponents, where: str) -> None:
    """A labeler gets what it needs, and nothing lies idle."""
    labeler = parts.labeler
    if labeler is None:
        return
    for role, needed in (("localizer", labeler.needs_maps), ("cue", labeler.needs_cue)):
        reader = f"labeler '{parts.names['labeler']}'"
        if needed and getattr(parts, role) is None:
            raise UserError(f"{where}.{role}", "nothing", f"a {role}, since {reader} needs one")
        if not needed and getattr(parts, role) is not None:
            raise UserError(f"{where}.{role}", f"'{parts.names[role]}'", f"none, since {reader} does not read it")


def _check_possible(parts: RecipeComponents, where: str) -> None:
    """Impossible for parts that are right by themselves and do not go together, or not on this machine."""
    for part in (parts.localizer, parts.segmenter):
        if part is not None and parts.training_mode not in part.modes:
            expected = f"one of {', '.join(part.modes)} for this recipe"
            raise Impossible(f"{where}.training_mode", f"'{parts.training_mode}'", expected)
    if parts.labeler and parts.labeler.needs_background and not _has_background(parts):
        expected = f"a localizer or refiner that gives one to labeler '{parts.names['labeler']}', which reads it"
        raise Impossible(f"{where}.labeler", "no background map", expected, "such as refiners: [affinity]")
    for role in ROLES:
        if part := getattr(parts, role):
            part.check_installed(f"{where}.{role}")
    for refiner in parts.refiners:
        refiner.check_installed(f"{where}.refiners")


def _has_background(parts: RecipeComponents) -> bool:
    """Whether the maps that reach the labeler have a background map beside them."""
    given = [parts.localizer.gives_background] if parts.localizer else []
    given += [refiner.gives_background for refiner in parts.refiners if refiner.gives_background is not None]
    return given[-1] if given else False
