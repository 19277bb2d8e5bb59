"""What of a suite is not run, and why: combinations that cannot be, and recipes that cannot be under a setting."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.suites.recipes import RecipeComponents, components_of
from harness.suites.suite import Suite
from settings.errors import Impossible


@dataclass(frozen=True)
class Skipped:
    """Recipes by reason, so that each reason is told once."""

    recipes: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    """(reason, setting) → names in the order of the suite; the setting is empty where the reason is another."""

    def add(self, recipe: str, reason: str, setting: str = "") -> None:
        """Note that a recipe is skipped, under one setting or all."""
        self.recipes.setdefault((reason, setting), {})[recipe] = None

    def notes(self) -> tuple[str, ...]:
        """A line a reason, which names the recipes."""
        return tuple(
            f"skipped: {', '.join(names)}{f' under {setting}' if setting else ''}: {reason}"
            for (reason, setting), names in self.recipes.items()
        )


def possible_recipes(suite: Suite, skipped: Skipped) -> dict[str, RecipeComponents]:
    """The parts of every recipe, by name, less those of `combine:` that cannot be.

    Raises UserError for a recipe that was written out and cannot be, and where none is left.
    """
    found: dict[str, RecipeComponents] = {}
    combined = suite.combine.names if suite.combine else frozenset()
    last: Impossible | None = None
    for name, recipe in suite.all_recipes().items():
        try:
            found[name] = components_of(name, recipe, suite)
        except Impossible as error:
            if name not in combined:
                raise
            skipped.add(name, error.reason)
            last = error
    if last is not None and not found:
        raise last
    return found
