"""What was measured of localizers and cues beside the rows: one record a measure, as a table and as CSV."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev

from results.shown import Table
from settings.errors import UserError

__all__ = ["Measured", "read_csv", "table", "write_csv"]


@dataclass(frozen=True)
class Measured:
    """One measure of one localizer or cue; where its stage failed there is a reason instead of a name and a value."""

    recipe: str
    setting: str
    training_mode: str
    rng_seed: int
    diagnostic: str
    measure: str
    value: float | None
    reason: str = ""

    @property
    def line(self) -> tuple[str, str, str, str]:
        """What a table's line has in common over rng seeds, but for the measure."""
        return (self.recipe, self.setting, self.training_mode, self.diagnostic)


def write_csv(path: Path, records: Sequence[Measured]) -> None:
    """One line a record, numbers unrounded, empty where there is none."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Measured)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(record) for record in records)


def read_csv(path: Path) -> list[Measured]:
    """The records of a file that `write_csv` wrote; raises UserError for any other."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_read(record) for record in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError(path, "no diagnostics", "the file that a run wrote", "run the suite again") from None


def _read(record: dict[str, str]) -> Measured:
    value = float(record["value"]) if record["value"] else None
    known = {name: record[name] for name in ("recipe", "setting", "training_mode", "diagnostic", "measure", "reason")}
    return Measured(**known, rng_seed=int(record["rng_seed"]), value=value)


def table(records: Sequence[Measured]) -> Table:
    """A line a recipe and measure: mean ± sample standard deviation over rng seeds.

    With a hole among its rng seeds a diagnostic has no means: it is one line with a mark, and the reasons below.
    """
    lines: list[tuple[str, ...]] = []
    notes = ["measured on dev where nothing else is said; mean ± standard deviation over rng seeds"]
    ordered = sorted(records, key=lambda record: record.line)
    for line, group in groupby(ordered, key=lambda record: record.line):
        members = list(group)
        *head, diagnostic = line
        if holes := [record for record in members if record.reason]:
            notes.append(f"[{len(notes)}] " + "; ".join(f"rng seed {hole.rng_seed}: {hole.reason}" for hole in holes))
            lines.append((*head, diagnostic, f"✗ [{len(notes) - 1}]", str(len(members))))
            continue
        for measure in dict.fromkeys(record.measure for record in members):
            values = [record.value for record in members if record.measure == measure]
            lines.append((*head, measure, _text(values), str(len(values))))
    head = ("recipe", "setting", "training mode", "measure", "value", "rng seeds")
    return Table("Diagnostics", head, tuple(lines), tuple(notes))


def _text(values: Sequence[float | None]) -> str:
    """Undefined for one rng seed is undefined for the mean."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return "–"
    return f"{fmean(defined):.3f}" + (f" ± {stdev(defined):.3f}" if len(defined) > 1 else "")
