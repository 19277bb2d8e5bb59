"""YAML → Suite: dataset × settings × recipes × rng seeds, checked; unknown names are answered with the nearest one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, field_validator, model_validator

from harness.suites.combining import Combine, RecipeName, with_combinations
from harness.suites.grid import Grid, with_grid
from harness.suites.reading import expand_variables, override, read_with_includes
from harness.suites.resources import Demand, Resources
from harness.suites.search import Search
from methods.base import BackboneOptions, TrainingMode
from methods.references import REFERENCES, reference
from methods.segmenting import Inference
from results.selection import check_policy
from settings.components import ComponentSpec, option_error
from settings.errors import UserError, unknown_name
from settings.options import Options
from settings.records import fingerprint

__all__ = ["Compute", "LastStage", "Recipe", "Suite", "load_suite", "ready_suites"]

SUITES = Path(__file__).parent.parent.parent / "settings" / "suites"
TAKEN_AWAY = ("recipes", "settings", "policies")
"""What `null` takes away by name, and an override by leaving it out."""
LastStage = Literal["maps", "pseudo_labels", "segmentation"]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    # A seed given twice would be one row counted as two.
    if len(set(seeds)) < len(seeds) or min(seeds, default=-1) < 0:
        raise ValueError("distinct rng seeds that are not negative, at least one")
    return seeds


DeclaredOn = dict[str, Annotated[int, Field(ge=1)]]
"""Split → how many of its masks options were chosen on before the run."""
RngSeeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)]


class Recipe(Options):
    """One method from photos to segmentation, by the names of its components."""

    pretraining: ComponentSpec | None = Field(None, description="of the backbone, before localizer or segmenter")
    localizer: ComponentSpec | None = None
    refiners: tuple[ComponentSpec, ...] = Field((), description="maps → better maps, one after the other")
    cue: ComponentSpec | None = Field(None, description="where objects are at all, for labelers that use it")
    labeler: ComponentSpec | None = None
    reveal: Annotated[int, Field(ge=1)] | Literal["dev", "all"] | None = Field(
        None, description="instead of a labeler: true masks, of so many dev photos, all of dev, or all of train and dev"
    )
    segmenter: ComponentSpec | None = Field(
        None, description="instead of the suite's; `none`: no segmentation network is trained"
    )
    training_mode: TrainingMode | None = Field(None, description="instead of the suite's")
    rng_seeds: RngSeeds | None = Field(None, description="instead of those of suite and setting")
    declared_on: DeclaredOn | None = Field(
        None, description="instead of the suite's; {}: no option was chosen on masks"
    )

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> Recipe:
        if self.labeler is not None and self.reveal is not None:
            raise ValueError("a labeler, or true masks that are revealed, and not both")
        if self.labeler is None and (self.localizer or self.cue) and self.reveal is None:
            raise ValueError("a labeler, which makes pseudo labels of what localizer and cue give")
        if self.refiners and self.localizer is None:
            raise ValueError("a localizer, whose maps the refiners refine")
        if self.reveal is not None and (self.localizer or self.cue):
            raise ValueError("a segmenter and nothing else beside revealed true masks")
        return self


class Compute(Options):
    """How stages compute: what may change numbers in their last digits, and is therefore part of keys."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="auto: products in bfloat16 where a CPU has AMX, in trainings that it was measured to speed up",
    )
    # The number that keys name, not that of free cores: so a laptop and a cluster come to the same bits.
    threads: int = Field(1, ge=1, le=256, description="compute threads of a stage, whichever executor runs it")
    training_threads: int = Field(1, ge=1, le=256, description="compute threads of each process that trains")
    train_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="processes that train one stage together, each with training_threads, on its own GPU",
    )
    sync_batch_norm: bool = Field(
        True, description="batch norm over the whole batch, as one process has it; false: each process by itself"
    )


class Suite(Options):
    """One leaderboard, as a YAML file has it: data set × settings × recipes × rng seeds, and how they are scored."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    description: str = ""
    overrides: tuple[str, ...] = Field((), description="what --set changed; load_suite fills it in")
    plugins: tuple[str, ...] = Field((), description="Python files with components, relative to the suite's own file")
    dataset: ComponentSpec
    # By label: one setting stands twice with other options, as `web` with and without a filter.
    settings: dict[RecipeName, ComponentSpec] = Field(
        {"clean": ComponentSpec(name="clean")}, min_length=1, description="by the name that rows show; or a list"
    )
    recipes: dict[RecipeName, Recipe] = Field(default_factory=dict)
    combine: Combine | None = Field(None, description="every localizer × refiner chain × labeler as a recipe")
    grid: Grid | None = Field(None, description="factors of a recipe, and all of its cells as recipes")
    segmenter: ComponentSpec | None = Field(None, description="trained by every recipe that names none of its own")
    segment: tuple[Inference, ...] = Field(
        (Inference(),),
        min_length=1,
        description="variants of segmentation, a row each of one trained network: what each changes of the "
        "segmenter's own `inference` ({}: nothing); pictures show the first",
    )
    references: tuple[str, ...] = ()
    rng_seeds: RngSeeds = (0,)
    rng_seeds_of: dict[str, RngSeeds] = Field(
        default_factory=dict, description="other rng seeds for a setting, by its name in `settings`"
    )
    recipes_of: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="the only recipes that stand under a setting, by its name in `settings`"
    )
    training_mode: TrainingMode = "frozen"
    backbone: BackboneOptions = BackboneOptions()
    # The oracle stops at maps by default: it is a gap to be shown, and further on it trains a network of its own.
    policies: dict[str, LastStage] = Field(
        {"fixed": "segmentation", "oracle": "maps"},
        min_length=1,
        description="who sets thresholds (fixed: the recipe; held_out: dev's masks; held_out(n): n of them; oracle: "
        "the reported masks) → the last stage that is scored under it; null takes one of an included suite away",
    )
    declared_on: DeclaredOn = Field(
        default_factory=dict,
        description="split → how many of its masks the options of `recipes` were chosen on before the run",
    )
    report: Literal["official", "dev"] = Field(
        "official", description="dev: score everything on dev's masks instead, to choose options that are then declared"
    )
    diagnostics: tuple[str, ...] = Field(
        (),
        description="on dev: the classifier's mAP (of a fit of its own, without a fifth of dev), the maps' flatness; "
        "on dev and train: the cue's foreground IoU; on what is reported: any metric (`seedbed components`)",
    )
    compute: Compute = Compute()
    resources: dict[str, Resources] = Field(
        default_factory=dict, description="what stages ask of the machine, by kind; `all`: of each kind not named"
    )
    search: Search | None = Field(None, description="what `seedbed search` varies; a run passes over it")
    gallery: int = Field(
        0, ge=0, le=100, description="photos in the picture of photo, map, pseudo label, prediction, truth"
    )

    _file: str = PrivateAttr("")
    """The name of the file that it was read from; empty for a suite that was made in Python."""

    @field_validator("settings", mode="before")
    @classmethod
    def _by_name(cls, content: object) -> object:
        """Settings by label: in a list each is its own label, and a label is the name where none is given."""
        if isinstance(content, (list, tuple)):
            listed = [ComponentSpec.model_validate(one) for one in content]
            named = {one.name: one for one in listed}
            if len(named) < len(listed):
                raise ValueError("each setting once; a mapping names each: {web: …, filtered: {name: web, …}}")
            return named
        if not isinstance(content, Mapping):
            return content
        labelled = dict(content)
        for label, setting in content.items():
            if isinstance(setting, Mapping):
                labelled[label] = {"name": label, **setting}
        return labelled

    def place_of(self, key: str) -> str:
        """Where the value of a key was given, for messages: the override that set it, or the key of its file."""
        return _place(key, self._file or self.name, self.overrides)

    def seeds_of(self, recipe: str, setting: str) -> tuple[int, ...]:
        """The rng seeds of a recipe's lines under a setting: its own, else the setting's, else the suite's."""
        # References have no rng seeds of their own.
        written = self.recipes.get(recipe)
        if written is not None and written.rng_seeds is not None:
            return written.rng_seeds
        return self.rng_seeds_of.get(setting, self.rng_seeds)

    def declared_on_for(self, recipe: str) -> dict[str, int]:
        """The masks on which the recipe's options were chosen before the run; none for a reference, which has none."""
        written = self.recipes.get(recipe)
        if written is None:
            return {}
        return self.declared_on if written.declared_on is None else written.declared_on

    def stands_under(self, recipe: str, setting: str) -> bool:
        """Whether a setting has a line of this recipe: all recipes, but where `recipes_of` names the only ones."""
        return setting not in self.recipes_of or recipe in self.recipes_of[setting]

    def demand_of(self, kind: str, computes: bool = True) -> Demand:
        """What the stages of a kind ask of the machine that runs them; planning checks the kinds' names.

        `computes`: whether they compute with torch; what does not gets no GPU by what is said of all kinds.
        """
        if kind in self.resources:
            return self.resources[kind].demand()
        if "all" not in self.resources:
            return Demand()
        demand = self.resources["all"].demand()
        return demand if computes else replace(demand, gpus=None)

    @property
    def folder_name(self) -> str:
        """The name of its leaderboard's folder: a run with overrides does not overwrite the plain suite's."""
        if not self.overrides:
            return self.name
        return f"{self.name}-{fingerprint(self.overrides)[:8]}"

    def all_recipes(self) -> dict[str, Recipe]:
        """The suite's recipes and its references, by name, each with its segmenter."""
        recipes = dict(self.recipes)
        for name in self.references:
            recipes[name] = Recipe.model_validate(reference(name))
        for name, recipe in recipes.items():
            segmenter = recipe.segmenter or self.segmenter
            # YAML's null would mean that none is named, and bring the suite's.
            if segmenter is not None and segmenter.name == "none":
                segmenter = None
            recipes[name] = recipe.model_copy(update={"segmenter": segmenter})
        return recipes


def load_suite(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a ready suite by name, or a YAML file; `overrides` are `key.path=value` with YAML values.

    Raises UserError for an unknown suite, unreadable YAML, unknown keys (with the nearest name) and wrong types.
    """
    path = _find(name_or_path)
    content = read_with_includes(path, _find)
    before = {key: _names(content, key) for key in TAKEN_AWAY}
    # Combinations come of the overrides of their parts; overrides of recipes then change the combinations.
    of_parts = [assignment for assignment in overrides if re.match(r"combine[.=]|recipes=", assignment)]
    for assignment in of_parts:
        override(content, assignment)
    content = with_combinations(content, partial(_place, file=path.name, overrides=overrides))
    for assignment in overrides:
        if assignment not in of_parts:
            override(content, assignment)
    content = with_grid(content, partial(_place, file=path.name, overrides=overrides))
    # Last: of a value that an override or another file replaces no variable needs to be set.
    content = expand_variables(content, path.name)
    content.setdefault("name", path.stem)
    # Whatever the file says of overrides: those of this call are in the leaderboard's name.
    content["overrides"] = tuple(overrides)
    _take_away(content, before)
    return _validated(content, path.name)


def ready_suites() -> list[str]:
    """The names of the suites that come with Seedbed, which `load_suite` takes in place of a path."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(path, "no such file", "a suite in YAML")
        return path
    if str(name_or_path) not in ready_suites():
        raise unknown_name("suite", "suite", str(name_or_path), ready_suites())
    return SUITES / f"{name_or_path}.yaml"


def _take_away(content: dict[str, object], before: Mapping[str, set[str]]) -> None:
    """`null` takes a recipe, setting or policy of an included suite away, and what is said of it elsewhere.

    What an override leaves out of the recipes or settings that were there before goes in the same way.
    """
    # Nothing is checked yet: what has another form stays as it is, for the model to refuse.
    gone = {}
    for key in TAKEN_AWAY:
        named, there = content.get(key), _names(content, key)
        if isinstance(named, Mapping):
            content[key] = {name: one for name, one in named.items() if one is not None}
        gone[key] = (before[key] | there) - _names(content, key)
    for key in ("rng_seeds_of", "recipes_of"):
        by_setting = content.get(key)
        if isinstance(by_setting, Mapping):
            content[key] = {label: said for label, said in by_setting.items() if label not in gone["settings"]}
    recipes_of = content.get("recipes_of")
    if isinstance(recipes_of, dict):
        for label, names in recipes_of.items():
            if isinstance(names, list):
                recipes_of[label] = [name for name in names if name not in gone["recipes"]]


def _names(content: Mapping[str, object], key: str) -> set[str]:
    """What is named under a key: by a mapping, or by a list."""
    named = content.get(key)
    return {name for name in named if isinstance(name, str)} if isinstance(named, Mapping | list) else set()


def _validated(content: dict[str, object], file: str) -> Suite:
    """The suite; raises UserError for what its model refuses, and for names that it does not have."""
    overrides = content["overrides"]
    assert isinstance(overrides, tuple)
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise option_error(error, Suite, partial(_place, file=file, overrides=overrides)) from None
    # Not among the checked fields: a suite made in Python has no file, and none may be given in YAML.
    suite._file = file
    # What pydantic cannot check: names that one part of a suite uses of another.
    for key in ("rng_seeds_of", "recipes_of"):
        for label in getattr(suite, key):
            if label not in suite.settings:
                raise unknown_name(suite.place_of(key), "setting", label, suite.settings)
    for name in suite.policies:
        check_policy(name, suite.place_of("policies"))
    for name in suite.references:
        if reference(name) is None:
            raise unknown_name(suite.place_of("references"), "reference", name, REFERENCES)
    recipes = suite.all_recipes()
    for label, names in suite.recipes_of.items():
        for name in names:
            if name not in recipes:
                raise unknown_name(suite.place_of(f"recipes_of.{label}"), "recipe", name, recipes)
    if suite.search is not None:
        _check_names(suite.place_of("search.recipes"), suite.search.recipes, suite.recipes)
        _check_names(suite.place_of("search.ranges_of"), suite.search.ranges_of, suite.recipes)
        if suite.search.setting is not None and suite.search.setting not in suite.settings:
            raise unknown_name(suite.place_of("search.setting"), "setting", suite.search.setting, suite.settings)
    if not recipes:
        raise UserError(suite.place_of("recipes"), "nothing", "at least one recipe or reference")
    return suite


def _check_names(where: str, names: Iterable[str], recipes: Iterable[str]) -> None:
    """Raise UserError for a recipe that the suite does not have: references have no options to search."""
    for name in names:
        if name not in recipes:
            raise unknown_name(where, "recipe", name, recipes)


def _place(key: str, file: str, overrides: Sequence[str]) -> str:
    """Where a value was given: the override that set it or what it lies in, as it was typed; else a key of the file."""
    # Of several overrides of one key the last one counts.
    for assignment in reversed(overrides):
        overridden = assignment.partition("=")[0]
        if f"{key}.".startswith(f"{overridden}."):
            return f"--set {assignment}"
    return f"{file}.{key}"
