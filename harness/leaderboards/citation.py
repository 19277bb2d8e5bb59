"""Numbers that were published elsewhere, beside those that were measured here and never ranked with them."""

from __future__ import annotations

import json
from pathlib import Path

from harness.leaderboards.merging import check_is_shared, joined, replaced
from harness.leaderboards.shared import Entry, Shared, changing, read_shared, write_shared
from harness.leaderboards.submission import SPLIT_OF, Declared
from harness.reports.files import LeaderboardFiles
from results.rows import Row
from results.shown import Table
from settings.errors import UserError
from settings.records import fingerprint

__all__ = ["cite"]


def cite(declared: Declared, miou: float, folder: Path, reason: str = "", at: str = "") -> tuple[Row, list[Table]]:
    """Add a published mIoU (0..1) to a leaderboard that has rows; returns its row and all tables.

    `declared.source` says where it stands. Raises UserError for what contradicts itself, for a number without a source,
    and for a leaderboard without rows, since these tell the data set.
    """
    declared.check()
    if not declared.source.strip():
        raise UserError("--source", "nothing", "where the number stands: paper, table, address")
    if not 0 <= miou <= 1:
        raise UserError("--miou", f"{miou:g}", "0..1", f"{miou:g} % is {miou / 100:g}" if miou <= 100 else "")
    check_is_shared(folder, "--leaderboard")
    if not LeaderboardFiles(folder).rows.exists():
        raise UserError("--leaderboard", f"'{folder}', which has no row", "one whose rows tell the data set")
    with changing(folder):
        before = read_shared(folder)
        row = _row(declared, miou, before.entries[0].row.dataset)
        new = Shared((Entry(row, None, folder),))
        found = replaced(before, new, reason, at) if reason else joined((before, new), at)
        return row, write_shared(found, folder)


def _row(declared: Declared, miou: float, dataset: str) -> Row:
    return Row(
        dataset=dataset,
        split=SPLIT_OF[declared.stage],
        recipe=declared.recipe,
        setting=declared.setting,
        training_mode=declared.training_mode,
        options=fingerprint([declared.recipe, declared.supervision, declared.source])[:8],
        rng_seed=declared.rng_seed,
        stage=declared.stage,
        variant=declared.variant if declared.stage == "segmentation" else "",
        policy=declared.policy,
        tier="published",
        miou=miou,
        # Nobody knows on which masks: it is compared with nothing.
        evaluation_fingerprint="",
        training_fingerprint="",
        supervision=declared.supervision,
        masks_chosen=declared.masks_chosen,
        masks_declared=declared.masks_chosen,
        masks_trained=declared.masks_trained,
        provenance=json.dumps({"source": declared.source}),
    )
