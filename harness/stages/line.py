"""A line of a leaderboard: one recipe under one setting with one rng seed. The families of stages plan from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.stages.blueprint import Blueprint
from harness.stages.source import Memo, Source
from harness.suites.recipes import RecipeComponents
from methods.base import TrainingMode

__all__ = ["Line"]


@dataclass(frozen=True, eq=False)
class Line:
    """What the planning functions of all families are given; two lines are equal where they are one object."""

    blueprint: Blueprint
    """The graph that grows, and what the line shares with others."""
    source: Source
    """The photos of the setting."""
    recipe: str
    components: RecipeComponents
    rng_seed: int
    memo: Memo = field(default_factory=dict, repr=False)
    """The stages that were planned already: see `source.once`."""

    @property
    def mode(self) -> TrainingMode:
        """Whether the recipe's networks learn on stored features of a frozen backbone, or train the backbone along."""
        return self.components.training_mode

    @property
    def last_step(self) -> str | None:
        """How far the main policy is followed: maps, pseudo labels or segmentation; None: not at all."""
        return self.blueprint.policies.get(self.blueprint.main_policy)

    def group(self, step: str) -> str:
        """The name under which a display and `plan` sum up this recipe's stages of a step."""
        return f"{self.recipe} · {step}"

    def label(self, step: str) -> str:
        """How people are told of one stage: recipe, setting, rng seed and step."""
        return f"{self.recipe} · {self.source.name} · rng seed {self.rng_seed} · {step}"
