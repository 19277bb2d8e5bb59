"""`search:` of a suite, as users write it: ranges of options, what is to be high, how much may be spent on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from results.selection import IMAGE_LEVEL, ORACLE, check_policy, is_held_out
from settings.options import Options
from settings.records import fingerprint

__all__ = ["FREE", "MOST_TRIALS", "Budget", "Objective", "Range", "Search"]

FREE = "free"
"""Instead of a range: every threshold is known from one sweep, so the best one is read off it and costs nothing."""
KINDS = ("uniform", "log_uniform", "whole", "log_whole", "choice", FREE)
MOST_TRIALS = 100_000
MOST_STEPS = 1e9
Interval = tuple[float, float]
WholeInterval = tuple[int, int]
Sampler = Literal["prefix", "tpe", "random"]
Stopping = Literal["asha", "none"]


class Range(Options):
    """The values that one option may take; both ends belong to it."""

    uniform: Interval | None = None
    log_uniform: Interval | None = None
    whole: WholeInterval | None = Field(None, alias="int")
    log_whole: WholeInterval | None = Field(None, alias="log_int")
    choice: tuple[Any, ...] | None = None
    free: Literal[True] | None = Field(None, description="read off the threshold sweep; for labeler.threshold")
    step: float | None = Field(
        None, gt=0, description="of uniform and int: only every so manyth value, from the lower end"
    )
    when: dict[str, Any] = Field(default_factory=dict, description="only where these paths have these values")

    @model_validator(mode="before")
    @classmethod
    def _free(cls, content: object) -> object:
        return {FREE: True} if content == FREE else content

    @model_validator(mode="after")
    def _one_range(self) -> Range:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("one of uniform, log_uniform, int, log_int and choice, or the word free")
        if self.step is not None and given[0] not in ("uniform", "whole"):
            raise ValueError("a step beside uniform or int alone")
        if self.choice is not None:
            if len({fingerprint(value) for value in self.choice}) < max(len(self.choice), 2):
                raise ValueError("at least two values, each once; a single one belongs into the recipe")
        elif self.bounds is not None:
            self._check_bounds(*self.bounds)
        return self

    def _check_bounds(self, low: float, high: float) -> None:
        """Raise ValueError for bounds between which there is nothing to search."""
        if not low < high < float("inf"):
            raise ValueError("[low, high] with low < high; a single value belongs into the recipe")
        if self.is_log and low <= 0:
            raise ValueError("bounds above 0 for a logarithmic range")
        if self.step is not None and low + self.step > high + 1e-9:
            raise ValueError("a step that fits between the bounds")
        if self.step is not None and not high - low < MOST_STEPS * self.step:
            raise ValueError("a step that fits between the bounds less than a thousand million times")
        if self.step is not None and self.whole and self.step != int(self.step):
            raise ValueError("a whole step beside int")

    @property
    def bounds(self) -> Interval | WholeInterval | None:
        """Both ends of a range of numbers; None for a choice and for a free threshold."""
        return self.uniform or self.log_uniform or self.whole or self.log_whole

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.whole is not None or self.log_whole is not None

    @property
    def is_log(self) -> bool:
        """Whether factors count and not differences."""
        return self.log_uniform is not None or self.log_whole is not None


class Objective(Options):
    """What is to be high: mIoU of pseudo labels or segmentation on masks of dev, or the classifier's mAP."""

    scored: Literal["pseudo_labels", "segmentation", "image_level"] = "pseudo_labels"
    policy: str = Field("held_out", description="held_out: all masks of dev; held_out(n): n of them")

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, content: object) -> object:
        if isinstance(content, str):
            content = {"policy": content}
        named = content.get("policy") if isinstance(content, dict) else content
        return {"scored": IMAGE_LEVEL, "policy": IMAGE_LEVEL} if named == IMAGE_LEVEL else content

    @model_validator(mode="after")
    def _no_oracle(self) -> Objective:
        if self.scored == IMAGE_LEVEL:
            if self.policy not in (IMAGE_LEVEL, "held_out"):
                raise ValueError("objective: image_level, which reads no mask, so without a policy")
            return self
        if self.policy == ORACLE:
            raise ValueError(
                "held_out or held_out(n): whoever searches on the reported masks has no score left to report"
            )
        check_policy(self.policy, "search.objective.policy")
        if not is_held_out(self.policy):
            raise ValueError("held_out or held_out(n): a search chooses, and so it needs masks to choose on")
        return self

    @property
    def is_image_level(self) -> bool:
        """Whether image-level labels alone decide."""
        return self.scored == IMAGE_LEVEL

    @property
    def masks(self) -> int | None:
        """On how many masks of dev it is measured; None: on all, or on none where `is_image_level`."""
        digits = "".join(filter(str.isdigit, self.policy))
        return int(digits) if digits else None


class Budget(Options):
    """What each searched recipe may use up; where several are given, the first that is used up ends it."""

    trials: int | None = Field(
        None, ge=1, le=MOST_TRIALS, description="the default configuration, which is trial 0, included"
    )
    stage_seconds: float | None = Field(None, gt=0, description="of stages that the search made, by their records")
    hours: float | None = Field(None, gt=0, description="by the clock, over all calls that continued the search")

    @model_validator(mode="after")
    def _bounded(self) -> Budget:
        if not any((self.trials, self.stage_seconds, self.hours)):
            raise ValueError("trials, stage_seconds or hours")
        return self


class Search(Options):
    """Which options of which recipes are searched, for what, by which rules."""

    ranges: dict[str, Range] = Field(min_length=1, description="by the option's path in a recipe; `seedbed components`")
    ranges_of: dict[str, dict[str, Range | None]] = Field(
        default_factory=dict, description="other ranges for one recipe, by its name; null takes one away"
    )
    recipes: tuple[str, ...] = Field((), description="those that are searched where the command names none")
    setting: str | None = Field(None, description="by its name in `settings`; default: the first")
    objective: Objective = Objective()
    budget: Budget = Budget(trials=40)
    sampler: Sampler = "prefix"
    stopping: Stopping = "asha"
    reduction: float = Field(3.0, gt=1, le=100, description="one in so many trials goes on after a rung")
    parallel: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="trials under way at once; default: 1 + two a slot of the first call, at least 4",
    )
    rng_seed: int = Field(0, ge=0, description="of the proposals; the trials' own is the recipe's first")

    @field_validator("ranges", mode="before")
    @classmethod
    def _without_nulls(cls, content: object) -> object:
        # As everywhere in suites: null takes away what an included file has.
        if isinstance(content, Mapping):
            return {path: written for path, written in content.items() if written is not None}
        return content

    def ranges_for(self, recipe: str) -> dict[str, Range]:
        """The ranges of one recipe: those of all, and its own over them."""
        own = {**self.ranges, **self.ranges_of.get(recipe, {})}
        return {path: written for path, written in own.items() if written is not None}
