"""Rows of masks that were handed in are scored again, and compared with what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.leaderboards.log import row_id
from harness.leaderboards.shared import Entry, check_masks, read_shared
from harness.leaderboards.submission import scored
from results.measured import label_fields, measured_fields
from results.per_image import total_label_counts
from results.rows import TIERS, Row
from settings.dataset import Dataset
from settings.errors import UserError, unknown_name

__all__ = ["Verified", "verify"]


class Verified(NamedTuple):
    """A row whose masks were scored again."""

    row: Row
    differences: tuple[str, ...]
    """A line for each field that came out otherwise; none where all is as the row says."""


def verify(name: str, folder: Path, dataset_of: Callable[[Row], Dataset]) -> list[Verified]:
    """Score the stored masks of a row again: of the one whose id begins with `name`, or of all rows of that recipe.

    `dataset_of` opens the data set of a row. Raises UserError for an unknown row, for one that has no stored masks, and
    for masks that are missing or are not those of their row.
    """
    entries = read_shared(folder).entries
    meant = _meant(name, entries)
    kept = [entry for entry in meant if entry.masks is not None]
    if not kept:
        row = meant[0].row
        found, expected = f"{row.recipe}, {TIERS[row.tier]}", "a row of masks that were handed in"
        mend = f"`seedbed report {folder}` holds each other row against its stored counts"
        raise UserError("ROW", found, expected, mend)
    for entry in kept:
        check_masks(entry)
    return [Verified(entry.row, tuple(_differences(entry, dataset_of(entry.row)))) for entry in kept]


def _meant(name: str, entries: tuple[Entry, ...]) -> list[Entry]:
    of_recipe = [entry for entry in entries if entry.row.recipe == name]
    if of_recipe:
        return of_recipe
    found = [entry for entry in entries if name and row_id(entry.row).startswith(name)]
    if len(found) != 1:
        if found:
            raise UserError("ROW", f"'{name}', the beginning of {len(found)} rows' ids", "more digits")
        known = {entry.row.recipe for entry in entries if entry.masks is not None}
        raise unknown_name("ROW", "row", name, known or {entry.row.recipe for entry in entries})
    return found


def _differences(entry: Entry, dataset: Dataset) -> list[str]:
    row, masks = entry.row, entry.masks
    assert masks is not None
    score = scored(masks, row.stage, dataset, {})
    assert score.per_image is not None
    classes = dataset.label_space.mask_names
    measured = measured_fields(score.counts, classes)
    if row.stage == "pseudo_labels":
        measured = label_fields(total_label_counts(score.per_image.counts, len(classes)), classes)
    found = {
        "evaluation_fingerprint": score.fingerprint,
        "classes": list(classes),
        "masks_sha256": score.per_image.masks_sha256,
        "photos": score.photos,
        **measured,
    }
    return [f"{name}: {getattr(row, name)} in the row, {value} now" for name, value in found.items()
            if getattr(row, name) != value]  # fmt: skip
