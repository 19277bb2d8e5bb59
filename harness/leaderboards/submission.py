"""Masks that anybody made as a row of a leaderboard: checked, scored here, and kept to be scored again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Literal, TypeAlias

from harness.leaderboards.merging import check_is_shared, joined, replaced
from harness.leaderboards.shared import Entry, Shared, changing, read_shared, write_shared
from harness.reports.files import LeaderboardFiles
from harness.stages.provenance import provenance
from harness.store.layout import MaskFiles
from results.counted import Counted
from results.lines import VARIANTS
from results.mask_folders import masks_in
from results.measured import label_fields, measured_fields
from results.per_image import total_label_counts
from results.protocols import VOC, protocol
from results.rows import CEILING, Row
from results.scoring import Beside, FolderScore, score_split
from results.selection import is_held_out, is_ranked
from results.shown import Table
from settings.config import existing_folder
from settings.dataset import Dataset
from settings.effort import label_seconds
from settings.errors import UserError, unknown_name
from settings.masks import read_mask, write_mask
from settings.photo_ids import file_of, files_below
from settings.records import fingerprint
from settings.stems import names_alike, told_renames
from settings.value_maps import lookup_table

__all__ = ["SPLIT_OF", "Declared", "Submitted", "scored", "submit"]

Stage: TypeAlias = Literal["segmentation", "pseudo_labels"]
SPLIT_OF: Mapping[Stage | str, str] = MappingProxyType({"segmentation": "val", "pseudo_labels": "train"})
"""The stages that masks can be handed in for, and the split that each is reported on."""
SHOWN = 5
"""So many missing photos are named."""
LETTERS = re.compile(r"[A-Z]\w*(\+[A-Z]\w*)*")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What whoever hands masks in says of them: nothing of it can be seen in the masks."""

    recipe: str
    supervision: str
    stage: Stage = "segmentation"
    variant: str = "ss"
    setting: str = "clean"
    training_mode: str = "fine_tuned"
    policy: str = "fixed"
    rng_seed: int = 0
    masks_chosen: int = 0
    masks_trained: int = 0
    source: str = ""
    """Who made them: a paper, a repository, a commit."""
    values: Mapping[int, int] = field(default_factory=dict)
    """What values of the files stand for; others stay."""

    def check(self) -> None:
        """Raise UserError for what contradicts itself, or what no board has."""
        if not self.recipe.strip():
            raise UserError("--recipe", "nothing", "a name")
        if not LETTERS.fullmatch(self.supervision):
            expected = "letters joined by +: I image-level labels, S saliency, L language, M true masks"
            raise UserError("--supervision", f"'{self.supervision}'", expected, "I+S, say")
        if self.stage not in SPLIT_OF:
            raise unknown_name("--stage", "stage", self.stage, SPLIT_OF)
        known = [name for name in VARIANTS if name]
        if self.stage == "segmentation" and self.variant not in known:
            raise unknown_name("--variant", "variant", self.variant, known)
        if not is_ranked(self.policy):
            raise UserError("--policy", f"'{self.policy}'", "fixed, held_out or held_out(n)")
        if is_held_out(self.policy) and not self.masks_chosen:
            found = f"0 beside the policy {self.policy}"
            raise UserError("--masks-chosen", found, "how many true masks thresholds were chosen on")
        if (self.masks_trained > 0) != (CEILING in self.supervision.split("+")):
            found = f"{self.masks_trained} beside the supervision {self.supervision}"
            expected = f"more than 0 beside {CEILING}, which is training on true masks, and 0 beside any other"
            raise UserError("--masks-trained", found, expected)


@dataclass(frozen=True)
class Submitted:
    """What became of masks that were handed in."""

    row: Row
    score: FolderScore
    tables: Sequence[Table]
    """Of the whole leaderboard; none where nothing was written."""
    is_new: bool
    """False where the very same row was there already."""


def submit(
    masks: Path,
    declared: Declared,
    dataset: Dataset,
    folder: Path,
    *,
    opened_by: Mapping[str, object] = MappingProxyType({}),
    reason: str = "",
    at: str = "",
    dry_run: bool = False,
) -> Submitted:
    """Check masks `<id>.png`, score them, and add them to a leaderboard, which is made where it is not there yet.

    `opened_by` is how the data set was named, for those who score the masks again; `reason` lets a row take the place
    of another result, at the time `at`. With `dry_run` nothing is written. Raises UserError for masks that are not
    there or not valid, and for what `merge` refuses.
    """
    declared.check()
    check_is_shared(folder, "--leaderboard")
    score = scored(masks, declared.stage, dataset, declared.values)
    row = _row(declared, dataset, SPLIT_OF[declared.stage], score, opened_by)
    with TemporaryDirectory() as temporary:
        kept = Path(temporary)
        assert score.per_image is not None
        entry = Entry(row, Counted(False, score.per_image.counts), masks, kept)
        if dry_run:
            _, is_new = _added(entry, folder, reason, at)
            return Submitted(row, score, (), is_new)
        _keep(masks, kept, score, declared.values)
        # Only now: others would wait as long as the scoring takes.
        with changing(folder):
            found, is_new = _added(entry, folder, reason, at)
            return Submitted(row, score, write_shared(found, folder), is_new)


def _added(entry: Entry, folder: Path, reason: str, at: str) -> tuple[Shared, bool]:
    """A leaderboard with one entry more, and whether that is new to it; nothing is written."""
    before = read_shared(folder) if LeaderboardFiles(folder).rows.exists() else Shared(())
    _check_seeds(entry.row, before)
    known = {each.row.identity: each.row.masks_sha256 for each in before.entries}
    is_new = known.get(entry.row.identity) != entry.row.masks_sha256
    new = Shared((entry,))
    found = replaced(before, new, reason, at) if reason else joined((before, new), at)
    return found, is_new


def scored(masks: Path, stage: str, dataset: Dataset, values: Mapping[int, int]) -> FolderScore:
    """The score of masks that were handed in for a stage, with the counts of each photo; raises what it raises.

    Undecided pixels (255) may stand in pseudo labels alone.
    """
    _check_complete(masks, dataset, SPLIT_OF[stage])
    beside = Beside(per_image=True)
    if stage == "segmentation":
        return score_split(masks, dataset, SPLIT_OF[stage], VOC, "error", False, values, beside)
    return score_split(masks, dataset, SPLIT_OF[stage], VOC, "background", False, values, beside)


def _check_complete(masks: Path, dataset: Dataset, split: str) -> None:
    """Raise UserError that names what is missing: a leaderboard takes no score of a part."""
    if existing_folder(masks) is None:
        raise UserError(masks, "no folder", "a folder of masks, <id>.png")
    # An empty folder lacks all of them, and is told so.
    has_any = any(path.suffix.lower() == MaskFiles.SUFFIX for path in files_below(masks, follow_links=True))
    there = masks_in(masks, "mask") if has_any else {}
    wanted = [photo_id for photo_id in dataset.splits[split] if dataset.has_mask(photo_id)]
    missing = [photo_id for photo_id in wanted if photo_id not in there]
    if missing:
        listed = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
        found = f"no mask of {len(missing)} of the {len(wanted)} photos of {dataset.name}/{split}: {listed}"
        mend = "--dataset SUITE names the suite, where it is of other photos than the data set's own"
        if renames := names_alike(missing, there.keys()):
            mend = told_renames(renames, MaskFiles.SUFFIX)
        raise UserError(masks, found, "one for each", mend)


def _row(declared: Declared, dataset: Dataset, split: str, score: FolderScore, opened_by: Mapping[str, object]) -> Row:
    classes, kept = dataset.label_space.mask_names, score.per_image
    assert kept is not None
    measured = measured_fields(score.counts, classes)
    if declared.stage == "pseudo_labels":
        measured = label_fields(total_label_counts(kept.counts, len(classes)), classes)
    uses_labels = "I" in declared.supervision.split("+")
    labels_read = len(dataset.training_ids) if uses_labels else 0
    seconds = label_seconds("mask", declared.masks_chosen + declared.masks_trained, 1)
    seconds += label_seconds("target", labels_read, dataset.label_space.foreground)
    told = {**provenance(), **opened_by}
    if declared.source:
        told["source"] = declared.source
    return Row(
        dataset=dataset.name,
        split=split,
        recipe=declared.recipe,
        setting=declared.setting,
        training_mode=declared.training_mode,
        # Another supervision is another entry, whatever it is called.
        options=fingerprint([declared.recipe, declared.supervision])[:8],
        rng_seed=declared.rng_seed,
        stage=declared.stage,
        variant=declared.variant if declared.stage == "segmentation" else "",
        policy=declared.policy,
        tier="scored",
        **measured,
        classes=list(classes),
        masks_sha256=kept.masks_sha256,
        protocol_version=protocol(VOC).version,
        evaluation_fingerprint=score.fingerprint,
        training_fingerprint="",
        supervision=declared.supervision,
        labels_read=labels_read,
        label_hours=round(seconds / 3600, 3),
        masks_scored=score.photos,
        masks_chosen=declared.masks_chosen,
        masks_declared=declared.masks_chosen,
        masks_trained=declared.masks_trained,
        photos=score.photos,
        photos_of_split=len(dataset.splits[split]),
        provenance=json.dumps(told, sort_keys=True),
    )


def _check_seeds(row: Row, before: Shared) -> None:
    """Raise UserError where another rng seed of the same entry has the very same masks: no second measurement."""
    for entry in before.entries:
        same = replace(entry.row, rng_seed=row.rng_seed).identity == row.identity
        if same and entry.row.rng_seed != row.rng_seed and entry.row.masks_sha256 == row.masks_sha256:
            found = f"{row.rng_seed}, with the very masks of rng seed {entry.row.rng_seed}"
            raise UserError("--rng-seed", found, "the masks of a training of its own")


def _keep(masks: Path, kept: Path, score: FolderScore, values: Mapping[int, int]) -> None:
    """Write the scored masks as they were read: indices of classes, named by photo id."""
    files = masks_in(masks, "prediction")
    for photo_id in score.images.images:
        mask = lookup_table(values)[read_mask(masks / files[photo_id])]
        write_mask(file_of(kept, photo_id, MaskFiles.SUFFIX), mask)
