"""What becomes of each line's mIoU on its way from maps to segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from results.rows import STAGES

__all__ = ["Step", "Steps", "steps_of"]

MAPS, REFINED, SEGMENTATION = "maps", "refined", "segmentation"
NO_CHANGE = "±0.000"


class Step(NamedTuple):
    """mIoU at one stage, and the difference to the stage before; None where there is none."""

    miou: float | None
    change: float | None
    of: str = ""
    """The recipe that was scored in its stead: by its name the same without the refiners; rows do not tell more."""

    @property
    def told(self) -> str:
        """The difference in words; empty for none."""
        if self.change is None:
            return ""
        text = f"{self.change:+.3f}"
        return NO_CHANGE if float(text) == 0 else text


@dataclass(frozen=True)
class Steps:
    """The stages of a board, and a step of each line at each of them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Step, ...]], ...]
    splits: tuple[str, ...]
    """The photos that stages were scored on, from the first stage on."""

    @property
    def has_others(self) -> bool:
        """Whether maps of another recipe stand for some that were not scored."""
        return any(step.of for _, steps in self.rows for step in steps)


def steps_of(records: Sequence[Mapping[str, Any]]) -> Steps | None:
    """From the records of a board's table; None without two stages, and where these are one measurement in every line.

    A line whose maps were scored refined alone begins with those of the recipe that it adds refiners to.
    """
    scored = [record for record in records if record["miou"] is not None]
    stages = sorted({(STAGES.index(record["stage"]), record["variant"]) for record in scored})
    by_line: dict[tuple[str, str, str], dict[tuple[int, str], float]] = {}
    for record in scored:
        line = (record["recipe"], record["setting"], record["options"])
        by_line.setdefault(line, {})[STAGES.index(record["stage"]), record["variant"]] = record["miou"]
    maps = {_made_by(record): record for record in scored if record["stage"] == MAPS}
    bases = {
        (record["recipe"], record["setting"], record["options"]): base
        for record in scored
        if record["stage"] == REFINED and (base := _base(record, maps)) is not None
    }
    rows = []
    for (recipe, setting, options), values in by_line.items():
        base = bases.get((recipe, setting, options))
        before: float | None = None
        steps = []
        for stage in stages:
            value, of = values.get(stage), ""
            if value is None and base is not None and STAGES[stage[0]] == MAPS:
                value, of = base["miou"], base["recipe"]
            steps.append(Step(value, None if value is None or before is None else value - before, of))
            before = before if value is None else value
        rows.append((f"{recipe} · {setting}", tuple(steps)))
    told = {step.told for _, steps in rows for step in steps} - {""}
    # Pseudo labels that are cut out of maps at their threshold are these maps once more.
    if not told or (told == {NO_CHANGE} and not any(STAGES[place] == SEGMENTATION for place, _ in stages)):
        return None
    titles = tuple(f"{STAGES[place].replace('_', ' ')} {variant}".strip() for place, variant in stages)
    splits = {record["split"]: None for record in sorted(scored, key=lambda record: STAGES.index(record["stage"]))}
    return Steps(titles, tuple(rows), tuple(splits))


def _made_by(record: Mapping[str, Any]) -> tuple[object, ...]:
    """What two lines have in common whose maps, before any refiner, may be the same."""
    return tuple(record[name] for name in ("recipe", "setting", "backbone", "inputs", "localizer_epochs", "rng_seeds"))


def _base(record: Mapping[str, Any], maps: Mapping[tuple[object, ...], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The maps of the recipe whose name this one's begins with: combinations are named `localizer+refiners+labeler`."""
    name = str(record["recipe"])
    while "+" in name:
        name = name.rpartition("+")[0]
        found = maps.get(_made_by({**record, "recipe": name}))
        if found is not None:
            return found
    return None
