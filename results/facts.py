"""What is told of a table's lines beside their scores: a column where lines differ, else a word for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from results.lines import Line

__all__ = ["EPOCHS", "Fact", "Facts", "facts_of"]

EPOCHS = ("pretraining_epochs", "localizer_epochs", "refiner_epochs", "cue_epochs", "segmenter_epochs")
"""The fields of `results.rows.Row` that tell how long networks were trained."""


class Fact(NamedTuple):
    """One thing that may be told of each line; its value is empty for a line that it does not concern."""

    title: str
    value: Callable[[Line], str]


@dataclass(frozen=True)
class Facts:
    """The facts of some lines: those by which they differ, which want a column, and the others, in words."""

    differing: tuple[Fact, ...]
    common: str
    """`all rows: …`, and what those rows have in common that a fact concerns; empty where there is nothing to tell."""

    @property
    def has_settings(self) -> bool:
        """Whether the lines are of several settings."""
        return any(fact.title == "setting" for fact in self.differing)


def facts_of(lines: Iterable[Line]) -> Facts:
    """Sort what there is to tell of the lines by whether all of them agree in it."""
    lines = list(lines)
    differing = []
    of_all, of_some = [], []
    for fact in FACTS:
        values = [fact.value(line) for line in lines]
        known = set(values) - {""}
        if len(known) > 1:
            differing.append(fact)
        elif known:
            told = f"{fact.title} {known.pop()}"
            if "" in values:
                of_some.append(told)
            else:
                of_all.append(told)
    parts = []
    if of_all:
        parts.append(f"all rows: {', '.join(of_all)}")
    if of_some:
        parts.append(f"all rows that have one: {', '.join(of_some)}")
    return Facts(tuple(differing), "; ".join(parts))


def _backbone(line: Line) -> str:
    if not line.option_set.backbone:
        return ""
    seen = list(dict.fromkeys(row.inputs for row in line.rows if row.inputs not in ("", "square")))
    at = f"{line.option_set.backbone} at {line.option_set.backbone_size} px"
    return f"{at} ({'; '.join(seen)})" if seen else at


def _threshold(line: Line) -> str:
    """The background threshold of the maps; from the least to the largest, where rng seeds have their own."""
    found = sorted({row.threshold for row in line.rows if row.threshold is not None})
    if not found:
        return ""
    return "–".join(dict.fromkeys(f"{value:.3g}" for value in (found[0], found[-1])))


def _epochs(field: str) -> Fact:
    def value(line: Line) -> str:
        epochs = max(getattr(row, field) for row in line.rows)
        return str(epochs or "")

    return Fact(field.replace("_", " "), value)


FACTS = (
    Fact("setting", lambda line: line.setting),
    Fact("backbone", _backbone),
    *map(_epochs, EPOCHS),
    Fact("threshold", _threshold),
    Fact("rng seeds", lambda line: str(len(line.rng_seeds))),
    Fact("masks (choose+train)", lambda line: f"{line.masks_chosen}+{line.masks_trained}"),
    Fact("label hours", lambda line: f"{line.label_hours:.1f}"),
)
"""In the order in which they are told."""
