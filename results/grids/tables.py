"""Tables of grids: the ablation table as papers print it, effects with intervals, and shares of variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from results.grids.design import FULL, ONE_AT_A_TIME, CellLevels, Design, Factor
from results.grids.effects import Effect
from results.grids.measured import GridBoard, GridCell, GridVariance
from results.selection import chooser, is_held_out
from results.shown import Table
from results.statistics import Difference, Verdict
from results.verdict_tables import p_shown
from settings.errors import counted

__all__ = ["ON_AND_OFF", "ablation_table", "effect_tables", "level_shown", "seeds_shown", "variance_table"]

ON_AND_OFF = (("on", "off"), ("yes", "no"), ("true", "false"))
"""Levels that are shown as ✓ and –."""
TOGETHER: dict[Verdict, str] = {"better": "more than the sum", "worse": "less than the sum"}
"""Verdicts on interactions."""


def ablation_table(board: GridBoard, folder: str = "FOLDER") -> Table:
    """A line a cell, the full method first: its levels, mIoU, and what it lacks or gains beside the full method.

    `folder` is the leaderboard's, for the command that tells what is behind a cell.
    """
    design, title = board.design, board.column.title
    deltas = ("Δ", "95 % interval", "verdict", "detectable")
    head = (*(factor.name for factor in design.factors), title, *deltas, "rng seeds", "seconds")
    lines = []
    for name, cell in board.cells.items():
        levels = [level_shown(*each) for each in zip(design.factors, design.cells[name], strict=True)]
        lines.append((*levels, _value(board, cell), *_difference_shown(cell.against_full), *_cost(cell)))
    return Table(
        f"Ablation of {design.base} · {_place(board)}",
        head,
        tuple(lines),
        tuple(_ablation_notes(board, folder)),
        tuple(_ablation_record(board, name, cell) for name, cell in board.cells.items()),
        common=_thresholds(board.policy, design),
    )


def effect_tables(board: GridBoard) -> list[Table]:
    """Main effects, and interactions of two factors; those that there are."""
    found = []
    for order, title in ((1, "Main effects"), (2, "Interactions of two factors")):
        told = [(effect, each) for effect, each in board.effects if len(effect.factors) == order]
        if told:
            found.append(_effect_table(board, f"{title} in {board.design.base} · {_place(board)}", told))
    return found


def variance_table(variance: GridVariance, design: Design) -> Table:
    """A line a source of variance: its share, the interval, and the deviation of mIoU that it alone would make."""
    lines, records = [], []
    for share in variance.shares:
        mean, low, high = share.interval
        lines.append((share.name, f"{mean:.1%}", f"[{low:.1%}, {high:.1%}]", f"{share.deviation:.3f}"))
        records.append(
            {
                "dataset": variance.dataset,
                "setting": variance.setting,
                "stage": variance.column.stage,
                "variant": variance.column.variant,
                "source": share.name,
                "share": mean,
                "share_low": low,
                "share_high": high,
                "deviation": share.deviation,
            }
        )
    where = f"{variance.dataset} · {variance.setting} · {variance.column.title}"
    notes = (
        f"share: of the sum of squares of mIoU over {counted(variance.cells, 'cell')} and rng seeds "
        f"{seeds_shown(variance.rng_seeds)}; shares add up to 100 %; deviation: of mIoU by this source alone",
        f"95 % interval: over rng seeds (jackknife) and {counted(variance.images, 'photo')} (resampled); of a share "
        "that is 0 in truth the estimate is above it, and the interval may leave it out",
        f"threshold policies: {', '.join(variance.policies)}",
        *variance.notes,
    )
    return Table(
        f"What explains the variance of {design.base} · {where}",
        ("source of variance", "share", "95 % interval", "deviation"),
        tuple(lines),
        notes,
        tuple(records),
    )


def level_shown(factor: Factor, level: str | None) -> str:
    """✓ and – for on and off, the level's own name else; a dot where the factor means nothing."""
    if level is None:
        return "·"
    for on, off in ON_AND_OFF:
        if set(factor.levels) == {on, off}:
            return "✓" if level == on else "–"
    return level


def seeds_shown(seeds: Sequence[int]) -> str:
    """`0–4` where they follow each other, else `0 2 5`."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return " ".join(map(str, seeds))


def _place(board: GridBoard) -> str:
    return f"{board.dataset} · {board.setting} · policy {board.policy}"


def _thresholds(policy: str, design: Design) -> str:
    """How the thresholds of all cells were set: by one rule, whatever the cell."""
    if is_held_out(policy):
        masks = chooser(policy).masks
        which = f"{masks} masks of dev" if masks else "the masks of dev"
        return f"Thresholds: chosen on {which}, for every cell alike"
    if design.declares:
        return f"Thresholds: declared before the run, one for each level of {', '.join(design.declares)}"
    return "Thresholds: declared before the run, the same for every cell"


def _value(board: GridBoard, cell: GridCell) -> str:
    column = cell.line.cells.get(board.column)
    mean = column.mean() if column else None
    if column is None or mean is None:
        return "✗" if column and column.holes else "–"
    std = column.std()
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def _cost(cell: GridCell) -> tuple[str, str]:
    return seeds_shown(cell.line.rng_seeds), f"{cell.line.seconds:.1f}"


def _difference_shown(found: Difference | None) -> tuple[str, str, str, str]:
    if found is None:
        return "–", "–", "–", "–"
    return (
        f"{found.mean:+.3f}{'' if found.seeds_tested else '°'}",
        f"[{found.low:+.3f}, {found.high:+.3f}]",
        found.verdict,
        f"{found.smallest_detectable:.3f}",
    )


def _ablation_notes(board: GridBoard, folder: str) -> list[str]:
    design = board.design
    told = [
        f"Δ: mIoU less that of the full method (first line), paired over rng seeds and {counted(board.images, 'photo')}"
        "; interval: of this Δ alone; verdict: at 5 % for all cells of the table (Holm)",
        "detectable: the true Δ that would be found in four of five cases, by one test at 5 %; seconds: of core time, "
        "with all that the cell shares with others, mean over rng seeds",
    ]
    if any(set(factor.levels) == set(words) for factor in design.factors for words in ON_AND_OFF):
        told.append("✓ on, – off")
    if any(level is None for levels in design.cells.values() for level in levels):
        told.append("·: means nothing in this cell")
    found = [cell.against_full for cell in board.cells.values() if cell.against_full is not None]
    if any(not each.seeds_tested for each in found):
        told.append("° one rng seed in common: it speaks of other photos, never of another training")
    told += _without_choice(board)
    supervision = {name: cell.line.rows[0].supervision for name, cell in board.cells.items()}
    if len(set(supervision.values())) > 1:
        by_kind = [
            f"{kind or 'none'} in {counted(sum(each == kind for each in supervision.values()), 'cell')}"
            for kind in sorted(set(supervision.values()))
        ]
        told.append(f"supervision differs between cells: {', '.join(by_kind)}")
    changed = next((name for name in board.cells if name != design.base), None)
    if changed:
        told.append(
            f"what is behind a Δ, by class and photo: seedbed compare {changed} {design.base} --leaderboard {folder} "
            f"--setting {board.setting} --policy '{board.policy}'"
        )
    skipped: dict[str, list[str]] = {}
    for name, reason in design.skipped.items():
        skipped.setdefault(reason, []).append(name)
    told += [f"skipped: {', '.join(names)}: {reason}" for reason, names in skipped.items()]
    return [*told, *_design_told(design), *board.notes]


def _without_choice(board: GridBoard) -> list[str]:
    """A note where thresholds were chosen and some cells label by a rule that has none."""
    if not is_held_out(board.policy):
        return []
    without = [name for name, cell in board.cells.items() if not any(row.masks_chosen for row in cell.line.rows)]
    return [f"{counted(len(without), 'cell')} without a threshold to choose"] if without else []


def _design_told(design: Design) -> list[str]:
    if design.words:
        shortest = min(map(len, design.words))
        words = ", ".join("·".join(word) for word in design.words)
        count = f"{len(design.cells)} of {2 ** len(design.factors)} cells"
        return [f"design: a fraction, {count}, resolution {shortest}; its defining relation: {words}"]
    if design.kind in (FULL, ONE_AT_A_TIME):
        return []
    return [f"design: {design.kind} takes all cells of these factors"]


def _ablation_record(board: GridBoard, name: str, cell: GridCell) -> dict[str, Any]:
    design, column, found = board.design, cell.line.cells.get(board.column), cell.against_full
    return {
        "dataset": board.dataset,
        "setting": board.setting,
        "policy": board.policy,
        "cell": name,
        **_levels(design.factors, design.cells[name]),
        "stage": board.column.stage,
        "variant": board.column.variant,
        "miou": column.mean() if column else None,
        "std": column.std() if column else None,
        **_numbers(found),
        "rng_seeds": " ".join(map(str, cell.line.rng_seeds)),
        "seconds": cell.line.seconds,
    }


def _levels(factors: Sequence[Factor], levels: CellLevels) -> dict[str, str | None]:
    return {f"factor {factor.name}": level for factor, level in zip(factors, levels, strict=True)}


def _numbers(found: Difference | None) -> dict[str, Any]:
    return {
        "difference": found.mean if found else None,
        "difference_low": found.low if found else None,
        "difference_high": found.high if found else None,
        "p_holm": found.p if found else None,
        "verdict": found.verdict if found else None,
        "smallest_detectable": found.smallest_detectable if found else None,
    }


def _effect_table(board: GridBoard, title: str, told: Sequence[tuple[Effect, Difference]]) -> Table:
    is_interaction, is_mixed = len(told[0][0].factors) > 1, any(effect.mixed_with for effect, _ in told)
    lines, records = [], []
    for effect, found in told:
        delta, interval, verdict, detectable = _difference_shown(found)
        if is_interaction:
            verdict = TOGETHER.get(found.verdict, found.verdict)
        mixed = [", ".join(effect.mixed_with) or "–"] if is_mixed else []
        shown = (effect.name, delta, interval, p_shown(found.p), verdict, detectable, str(len(effect.weights)))
        lines.append((*shown, *mixed))
        records.append(
            {
                "dataset": board.dataset,
                "setting": board.setting,
                "policy": board.policy,
                "stage": board.column.stage,
                "variant": board.column.variant,
                "effect": effect.name,
                **_numbers(found),
                "mixed_with": ", ".join(effect.mixed_with),
                "cells": len(effect.weights),
                "rng_seeds": " ".join(map(str, board.rng_seeds)),
            }
        )
    head = ["effect", "Δ", "95 % interval", "p (Holm)", "verdict", "detectable", "cells"]
    if is_mixed:
        head.append("mixed up with")
    return Table(title, tuple(head), tuple(lines), _effect_notes(board, is_interaction, is_mixed), tuple(records))


def _effect_notes(board: GridBoard, is_interaction: bool, is_mixed: bool) -> tuple[str, ...]:
    over = f"over rng seeds {seeds_shown(board.rng_seeds)} and {counted(board.images, 'photo')}"
    if is_interaction:
        about = (
            "Δ: how much more or less the change of one factor adds to mIoU where the other is changed too, mean over "
            f"fours of cells that differ in these two alone, {over}"
        )
    else:
        about = (
            "Δ: what the change of one factor adds to mIoU, mean over pairs of cells that differ in it alone, "
            f"{over}; verdict: better means that the change is"
        )
    told = [f"{about}; p and verdict: for all effects of this table together (Holm); cells: that it is read off"]
    if is_mixed:
        told.append("mixed up with: what this fraction cannot tell the effect apart from, up to two factors")
    return tuple(told)
