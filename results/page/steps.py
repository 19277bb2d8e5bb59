"""What becomes of each line's mIoU on its way from maps to segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from results.rows import STAGES

__all__ = ["Step", "Steps", "steps_of"]


class Step(NamedTuple):
    """mIoU at one stage, and the difference to the stage before; None where there is none."""

    miou: float | None
    change: float | None

    @property
    def told(self) -> str:
        """The difference in words; empty for none."""
        if self.change is None:
            return ""
        text = f"{self.change:+.3f}"
        return "±0.000" if float(text) == 0 else text


@dataclass(frozen=True)
class Steps:
    """The stages of a board, and a step of each line at each of them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Step, ...]], ...]


def steps_of(records: Sequence[Mapping[str, Any]]) -> Steps | None:
    """From the records of a board's table; None where no line was scored at two stages."""
    scored = [record for record in records if record["miou"] is not None]
    stages = sorted({(STAGES.index(record["stage"]), record["variant"]) for record in scored})
    by_line: dict[tuple[str, str, str], dict[tuple[int, str], float]] = {}
    for record in scored:
        line = (record["recipe"], record["setting"], record["options"])
        by_line.setdefault(line, {})[STAGES.index(record["stage"]), record["variant"]] = record["miou"]
    rows = []
    for (recipe, setting, _), values in by_line.items():
        before: float | None = None
        steps = []
        for stage in stages:
            value = values.get(stage)
            steps.append(Step(value, None if value is None or before is None else value - before))
            before = before if value is None else value
        rows.append((f"{recipe} · {setting}", tuple(steps)))
    if not any(step.change is not None for _, steps in rows for step in steps):
        return None
    titles = tuple(f"{STAGES[place].replace('_', ' ')} {variant}".strip() for place, variant in stages)
    return Steps(titles, tuple(rows))
