"""A recipe's components as objects, with their options checked and what of them belongs into keys.

Combinations that are impossible are skipped with their reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from harness.suites.suite import Recipe, Suite
from methods.base import (
    Component,
    Cue,
    FeatureReader,
    Labeler,
    Localizer,
    NamedCue,
    PairPretraining,
    Pretraining,
    Refiner,
    Segmenter,
    TrainingMode,
)
from methods.photo_inputs import PhotoInputs
from methods.segmenting import variants_of
from results.rows import CEILING
from settings.components import ComponentSpec, build_component
from settings.errors import Contradictory, Impossible, UserError
from settings.hashing import shared_cache
from settings.options import Options
from settings.records import Photo, fingerprint

__all__ = [
    *("ComponentIdentity", "RecipeComponents", "Skipped", "components_of", "cue_identity", "file_contents"),
    *("files_identity", "identity_of", "possible_recipes"),
]

ROLES = ("localizer", "cue", "labeler", "segmenter", "pretraining")
"""What a recipe has at most one of; refiners, of which it may have several, stand beside them."""


@dataclass(frozen=True)
class ComponentIdentity:
    """What of a component decides an outcome: its role, name and version, and those of its options that are read."""

    role: str
    name: str
    version: int
    options: Mapping[str, object]


@dataclass(frozen=True)
class RecipeComponents:
    """The components of one recipe as objects with checked options, and how the recipe trains them."""

    localizer: Localizer | None
    refiners: tuple[Refiner, ...]
    cue: Cue | None
    labeler: Labeler | None
    segmenter: Segmenter | None
    reveal: int | Literal["dev", "all"] | None
    training_mode: TrainingMode
    names: Mapping[str, str]
    """The components' names, by role."""
    pretraining: Pretraining | None = None
    """What trains the backbone before others read its features."""
    refiner_names: tuple[str, ...] = ()
    variants: tuple[Segmenter, ...] = ()
    """The segmenter in every way that the suite runs it, itself the first; none without a segmenter."""
    segmenter_of_its_own: Segmenter | None = None
    """The segmenter as the recipe has it, before the suite says how it is run."""

    @property
    def parts(self) -> tuple[Component, ...]:
        """The components that there are, in the order in which they work."""
        cues = (*self.cue.all_parts(), self.cue) if self.cue else ()
        components = (self.pretraining, self.localizer, *self.refiners, *cues, self.labeler, self.segmenter)
        return tuple(one for one in components if one)

    @property
    def reads_backbone(self) -> bool:
        """Whether any of them reads features of the suite's backbone; False for a control that looks at no photo."""
        readers = [one for one in self.parts if isinstance(one, FeatureReader)]
        return any(one.fit_features() or one.apply_features() for one in readers)

    @property
    def is_trained(self) -> bool:
        """Whether any network learns; False for a control, which then stands on the boards of every training mode."""
        return bool(self.localizer and self.localizer.trained) or bool(self.segmenter and self.segmenter.trained)

    @property
    def bfloat16_pays(self) -> bool:
        """Whether `compute.precision: auto` may train any of them in bfloat16."""
        return self.training_mode == "frozen" and any(one.bfloat16_pays for one in self.parts)

    @property
    def is_made_elsewhere(self) -> bool:
        """Whether it is nothing but predictions that another program made: no setting and no rng seed changes them."""
        return self.labeler is None and self.reveal is None and not self.learns_without_masks

    @property
    def learns_without_masks(self) -> bool:
        """Whether its segmenter learns from photos and image-level labels alone, without any pseudo label."""
        segmenter = self.segmenter
        return segmenter is not None and segmenter.trained and not segmenter.needs_pseudo_labels

    @property
    def is_brought(self) -> bool:
        """Whether maps or masks that another program made are among what its rows are scored from."""
        makers = (self.localizer, self.labeler, self.segmenter)
        return any(maker is not None and maker.places() for maker in makers)

    @property
    def follows_setting(self) -> bool:
        """Whether it may come out otherwise under another setting; true masks do not, nor does what learns nothing."""
        is_given = self.reveal is not None or self.is_made_elsewhere
        return not is_given and bool(self.is_trained or self.supervision)

    @property
    def supervision(self) -> str:
        """What the whole recipe uses: `I`, `I+S`, …; empty for a control that uses nothing."""
        if self.reveal is not None:
            return CEILING
        letters: set[str] = set()
        # Letters are joined, so that a part which uses nothing new leaves the recipe on its board.
        for component in self.parts:
            letters.update(component.supervision.split("+"))
        return "+".join(sorted(letters - {""}))

    def identity(self, role: str, fit: bool = False, variant: Segmenter | None = None) -> ComponentIdentity:
        """What of a component belongs into keys: its name, version and options (of a fit: those that it reads)."""
        # Variants share one fit: what tells them apart is an option that only `apply` reads.
        component: Component = variant or getattr(self, role)
        return identity_of(role, self.names[role], component, _left_out_of(component, fit))

    def refiner_identity(self, step: int, fit: bool = False) -> ComponentIdentity:
        """What of the refiner at a place in the chain (from 0) belongs into keys: its name, version and options."""
        refiner = self.refiners[step]
        return identity_of("refiner", self.refiner_names[step], refiner, _left_out_of(refiner, fit))

    def options(self) -> list[object]:
        """The names and options of all components, and which masks the recipe is shown.

        Versions are not among them: what is mended is the same recipe. Nor are the suite's ways of running a segmenter,
        which have rows of their own by the variant's name.
        """
        identities = [self.identity(role) for role in ROLES if getattr(self, role) and role != "segmenter"]
        identities += [self.refiner_identity(step) for step in range(len(self.refiners))]
        if self.segmenter_of_its_own:
            identities.append(self.identity("segmenter", variant=self.segmenter_of_its_own))
        if self.cue:
            identities += _part_identities(self.cue)
        return [self.reveal, *([one.role, one.name, dict(one.options)] for one in identities)]

    def places(self, role: str) -> Mapping[str, object]:
        """The options that say where a component's files lie, as a stage needs them and its key does not."""
        component: Component = getattr(self, role)
        return component.places()


def cue_identity(named: NamedCue, fit: bool = False) -> ComponentIdentity:
    """What of a cue belongs into keys, be it a recipe's own or part of another: `RecipeComponents.identity` of both."""
    return identity_of("cue", named.name, named.cue, _left_out_of(named.cue, fit))


def _part_identities(cue: Cue) -> list[ComponentIdentity]:
    """Those of the cues that a cue fuses, and of the cues that these fuse."""
    identities = []
    for part in cue.parts:
        identities += [*_part_identities(part.cue), cue_identity(part)]
    return identities


def _left_out_of(component: Component, fit: bool) -> frozenset[str]:
    """The options that a key leaves out: where files lie; of a fit, also those that only `apply` reads."""
    if not fit:
        return component.place_options
    return component.place_options | component.apply_options


class _Versioned(Protocol):
    """What components and web filters have in common: filters are no components, since methods may not know them."""

    version: ClassVar[int]
    options: Options


def identity_of(role: str, name: str, component: _Versioned, left_out: Collection[str] = ()) -> ComponentIdentity:
    """What of a component belongs into keys: role, name, version, and the options that are not left out."""
    # With the defaults: a suite that writes one out asks for the same stage as a suite that leaves it out.
    options = component.options.model_dump(mode="json", exclude=set(left_out))
    return ComponentIdentity(role, name, component.version, options)


def file_contents(component: Component, photos: Sequence[Photo]) -> tuple[str, ...] | None:
    """sha256 over the files of other programs that a component reads for each photo; None where it has none at all.

    Raises UserError for a file that is missing or cannot be read.
    """
    # Few components read any: a plan need not go through all photos for each of the others.
    if type(component).files is Component.files:
        return None
    contents = []
    has_files = False
    for photo in photos:
        # With their names: in a folder of maps these are the classes that the maps are of.
        hashes = [(path.name, _content_of(path)) for path in component.files(photo)]
        has_files = has_files or bool(hashes)
        contents.append(fingerprint(hashes))
    return tuple(contents) if has_files else None


def files_identity(component: Component, photos: Sequence[Photo]) -> str | None:
    """What identifies all the files that `file_contents` has one hash a photo of; None where there are none.

    Raises UserError for a file that is missing or cannot be read.
    """
    contents = file_contents(component, photos)
    if contents is None:
        return None
    # Photo by photo: files that were exchanged between two photos have the same hashes, and other maps.
    return fingerprint([(photo.id, content) for photo, content in zip(photos, contents, strict=True)])


def components_of(name: str, recipe: Recipe, suite: Suite) -> RecipeComponents:
    """Load and check the components of a recipe; raises UserError that names recipe and option."""
    where = f"recipes.{name}"
    names: dict[str, str] = {}
    built: dict[str, Any] = dict.fromkeys(ROLES)
    for role in ROLES:
        spec: ComponentSpec | None = getattr(recipe, role)
        if spec is not None:
            names[role] = spec.name
            built[role] = build_component(role, spec, f"{where}.{role}")
    variants: tuple[Segmenter, ...] = ()
    segmenter_of_its_own = built["segmenter"]
    if built["segmenter"]:
        built["segmenter"].check_backbone(suite.backbone, f"{where}.segmenter")
        # As the suite runs it: the segmenter's own inference may be replaced by the first variant's.
        variants = variants_of(built["segmenter"], suite.segment, suite.backbone, name)
        built["segmenter"] = variants[0]
    components = RecipeComponents(
        **built,
        refiners=tuple(build_component("refiner", one, f"{where}.refiners") for one in recipe.refiners),
        refiner_names=tuple(one.name for one in recipe.refiners),
        reveal=recipe.reveal,
        training_mode=recipe.training_mode or suite.training_mode,
        names=names,
        variants=variants,
        segmenter_of_its_own=segmenter_of_its_own,
    )
    for refiner in components.refiners:
        refiner.check_backbone(suite.backbone, f"{where}.refiners")
    if components.labeler is not None:
        labeler = components.labeler.reading(_has_background(components))
        components = replace(components, labeler=labeler)
    # Mistakes first: what is merely impossible is skipped among combinations, where a mistake must be told.
    _check_inputs(components, where)
    _check_possible(components, where)
    return components


@dataclass(frozen=True)
class Skipped:
    """Recipes that are not run, by reason, so that each reason is told once."""

    recipes: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    """(reason, setting) → names in the order of the suite; the setting is empty where the reason is another."""

    def add(self, recipe: str, reason: str, setting: str = "") -> None:
        """Note that a recipe is skipped, under one setting or all."""
        self.recipes.setdefault((reason, setting), {})[recipe] = None

    def reasons(self) -> dict[str, str]:
        """The recipes that are skipped under all settings, each with the reason."""
        return {name: reason for (reason, setting), names in self.recipes.items() for name in names if not setting}

    def notes(self) -> tuple[str, ...]:
        """One line for each reason, which names the recipes, for `seedbed plan` and for tables."""
        notes = []
        for (reason, setting), names in self.recipes.items():
            what = ", ".join(names)
            if setting:
                what += f" under {setting}"
            notes.append(f"skipped: {what}: {reason}")
        return tuple(notes)


def possible_recipes(suite: Suite, skipped: Skipped) -> dict[str, RecipeComponents]:
    """The components of every recipe, by name; impossible ones of `combine:` and `grid:` are left out and noted.

    Raises UserError for a recipe that was written out and is impossible, and where none is left.
    """
    found: dict[str, RecipeComponents] = {}
    combined: frozenset[str] = frozenset()
    if suite.combine is not None:
        combined = suite.combine.names
    cells: frozenset[str] = frozenset()
    if suite.grid is not None:
        cells = suite.grid.changed_cells
        for cell in suite.grid.cells:
            if cell.conflict:
                skipped.add(cell.name, cell.conflict)
    last: Impossible | None = None
    for name, recipe in suite.all_recipes().items():
        try:
            found[name] = components_of(name, recipe, suite)
        except Impossible as error:
            # Whoever wrote a recipe out meant it; of combinations nobody wrote each, but each part of them.
            is_meant = name not in combined or isinstance(error, Contradictory)
            if is_meant and name not in cells:
                raise
            skipped.add(name, error.reason)
            last = error
    # An empty table would say nothing: the last reason is as good as any other.
    if last is not None and not found:
        raise last
    return found


def _content_of(path: Path) -> str:
    try:
        return shared_cache().sha256(path)
    except OSError as error:
        raise UserError(path, f"an unreadable file ({error.strerror})", "a file for every photo") from None


def _check_inputs(components: RecipeComponents, where: str) -> None:
    """Raise UserError where labeler or segmenter lack what they need, Contradictory where parts do not fit together."""
    labeler, segmenter = components.labeler, components.segmenter
    if components.is_made_elsewhere and (segmenter is None or segmenter.trained):
        expected = "a labeler, or reveal: true masks"
        mend = "segmenter 'folder' alone needs neither: it reads predictions"
        raise UserError(where, "nothing that makes pseudo labels", expected, mend)
    if components.learns_without_masks and not (labeler is None and components.reveal is None):
        found = "a labeler" if labeler else "reveal: true masks"
        raise UserError(where, found, f"neither: segmenter '{components.names['segmenter']}' so reads no mask")
    pretraining = components.pretraining
    if pretraining is not None and pretraining.reads_maps and (components.localizer is None or segmenter is None):
        found = f"'{components.names['pretraining']}'"
        expected = "a localizer, whose maps it reads, and a segmenter, which it is for"
        raise UserError(f"{where}.pretraining", found, expected)
    if isinstance(pretraining, PairPretraining) and (segmenter is None or not segmenter.trained):
        expected = "a segmenter that is trained, which its pairs are for"
        raise UserError(f"{where}.pretraining", f"'{components.names['pretraining']}'", expected)
    if labeler is None:
        return
    labeler_name = f"labeler '{components.names['labeler']}'"
    refined_by = zip(components.refiners, components.refiner_names, strict=True)
    cue_readers = [f"refiner '{name}'" for refiner, name in refined_by if refiner.needs_cue]
    if labeler.needs_cue:
        cue_readers.append(labeler_name)
    map_readers = [labeler_name] if labeler.needs_maps else []
    # What lies idle is refused too: its supervision would move the recipe to a board where it does not belong.
    for role, readers in (("localizer", map_readers), ("cue", cue_readers)):
        is_given = getattr(components, role) is not None
        if readers and not is_given:
            raise Contradictory(f"{where}.{role}", "nothing", f"a {role}, since {readers[0]} needs one")
        if is_given and not readers:
            found = f"'{components.names[role]}'"
            raise Contradictory(f"{where}.{role}", found, f"none, since {labeler_name} does not read it")


def _check_possible(components: RecipeComponents, where: str) -> None:
    """Raise Impossible for components that are right by themselves and do not go together, or not on this machine."""
    tunes = components.pretraining is not None and not isinstance(components.pretraining, PairPretraining)
    if tunes and components.training_mode != "frozen":
        expected = "frozen beside a pretraining, whose backbone gives the features that others read"
        raise Impossible(f"{where}.training_mode", f"'{components.training_mode}'", expected)
    for trained in (components.localizer, components.segmenter):
        if trained is not None and components.training_mode not in trained.modes:
            expected = f"one of {', '.join(trained.modes)} for this recipe"
            raise Impossible(f"{where}.training_mode", f"'{components.training_mode}'", expected)
    _check_photo_inputs(components, where)
    # Asked here, without the maps: after hours of training the labeler would find that they have none.
    labeler = components.labeler
    if labeler and labeler.needs_background and not _has_background(components):
        expected = f"a localizer or refiner that gives one to labeler '{components.names['labeler']}', which reads it"
        raise Impossible(f"{where}.labeler", "no background map", expected, "such as refiners: [affinity]")
    for role in ROLES:
        component: Component | None = getattr(components, role)
        if component:
            component.check_installed(f"{where}.{role}")
    for refiner in components.refiners:
        refiner.check_installed(f"{where}.refiners")


def _check_photo_inputs(components: RecipeComponents, where: str) -> None:
    """Raise Contradictory for crops, or a kept aspect, with a frozen backbone, whose features are of shared squares."""
    roles: list[tuple[str, Component | None]] = [(role, getattr(components, role)) for role in ROLES]
    roles += [("refiners", refiner) for refiner in components.refiners]
    for role, component in roles:
        options = component.options if component is not None else None
        if components.training_mode == "frozen" and isinstance(options, PhotoInputs) and options.needs_tuning:
            found = f"{options.seen} with a frozen backbone"
            expected = "squares, whose stored features all recipes share"
            mend = "training_mode: fine_tuned reads photos themselves"
            raise Contradictory(f"{where}.{role}.{options.needs_tuning}", found, expected, mend)


def _has_background(components: RecipeComponents) -> bool:
    """Whether the maps that reach the labeler have a background map beside them."""
    has_background = bool(components.localizer and components.localizer.gives_background)
    for refiner in components.refiners:
        # None: it passes on what it gets.
        if refiner.gives_background is not None:
            has_background = refiner.gives_background
    return has_background
