"""What the facts of a data set's photos say: counts, class balance, and all that is odd."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.inspection.inspecting import Facts
from settings.dataset import Dataset
from settings.errors import counted
from settings.records import UNKNOWN, LabelSpace

TRAINED = ("train", "dev")
NAMED = 5
"""More ids than these are counted, not named, within one line."""


class Finding(NamedTuple):
    """One thing that is odd, or (`fails`) that a run would fail on; `kind` says which findings are alike."""

    kind: str
    text: str
    fails: bool = False


def find(dataset: Dataset, facts: Sequence[Facts]) -> list[Finding]:
    """All findings, those that a run would fail on first."""
    space = dataset.label_space
    errors = (Finding(f"errors in {f.place.split}", error, True) for f in facts for error in f.errors)
    whole = (*_left_out(dataset), *_unread(dataset), *_missing_masks(facts), *_classes(space, facts))
    single = (*_void_masks(facts), *_twins(facts), *_labels_against_masks(space, facts))
    return sorted((*errors, *whole, *single), key=lambda finding: not finding.fails)


def describe(dataset: Dataset, facts: Sequence[Facts]) -> list[str]:
    """The counts: one line for the set, one a split, one a class."""
    space, by_split = dataset.label_space, _by_split(facts)
    lines = [f"{dataset.name}: {counted(space.foreground, 'class', 'classes')}, {counted(len(facts), 'photo')}"]
    lines += [_split_line(split, by_split.get(split, [])) for split in dataset.splits]
    pixels = np.array([(0,) * 256, *(f.pixels for f in facts if f.pixels)], np.int64).sum(0)
    known = int(pixels[:UNKNOWN].sum())
    labels = {split: Counter(class_id for f in group for class_id in f.labels) for split, group in by_split.items()}
    for class_id, name in enumerate(space.names):
        counts = ", ".join(f"{counter[class_id]} {split}" for split, counter in labels.items())
        share = f" · {pixels[class_id + 1] / known:.1%} of the known pixels" if known else ""
        lines.append(f"class {name}: labels of {counts}{share}")
    return lines


def to_lines(findings: Sequence[Finding], limit: int) -> list[str]:
    """One line a finding; of each kind the first `limit`, and how many more there are."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    lines = []
    for kind, alike in groups.items():
        lines += [f"{'error' if finding.fails else 'note'}: {finding.text}" for finding in alike[:limit]]
        if len(alike) > limit:
            lines.append(f"… and {len(alike) - limit} more {kind}")
    return lines


def _split_line(split: str, group: Sequence[Facts]) -> str:
    masks = sum(f.pixels is not None for f in group)
    parts = [f"{split}: {counted(len(group), 'photo')}", counted(masks, "readable mask")]
    sizes = sorted({f.size for f in group if f.size}, key=lambda size: size[0] * size[1])
    if sizes:
        parts.append(" to ".join(f"{width}×{height}" for height, width in dict.fromkeys((sizes[0], sizes[-1]))))
    return " · ".join(parts)


def _missing_masks(facts: Sequence[Facts]) -> Iterator[Finding]:
    if not any(f.has_mask for f in facts):
        found = "no photo has a mask: there is nothing to score; a run ends with pseudo labels and predictions"
        yield Finding("splits without masks", found)
        return
    for split, group in _by_split(facts).items():
        lacking = [f.place.photo_id for f in group if not f.has_mask]
        if len(lacking) == len(group):
            yield Finding("splits without masks", f"{split}: no photo has a mask: there is nothing to score on it")
        elif split in TRAINED and lacking:
            yield Finding("splits without some masks", f"{split}: {_counted(lacking, len(group))} without a mask")
        else:
            what = "no mask, which others of val have; add it, or take the photo out of val.txt"
            yield from (Finding(f"missing masks in {split}", f"{split}: photo '{i}' has {what}", True) for i in lacking)


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    for split, ids in dataset.left_out.items():
        if ids:
            total = len(ids) + len(dataset.splits[split])
            yield Finding("photos left out", f"{split}: {_counted(ids, total)} without a label, left out")


def _unread(dataset: Dataset) -> Iterator[Finding]:
    """Misnamed masks would otherwise look like none at all."""
    for unread in dataset.unread():
        yield Finding("kinds of files that nothing reads", str(unread))


def _classes(space: LabelSpace, facts: Sequence[Facts]) -> Iterator[Finding]:
    # The labels of a training photo that cannot be opened are unknown, not absent.
    is_told = all(f.labels for f in facts if f.place.split in TRAINED and f.errors)
    taught = {class_id for f in facts if f.place.split in TRAINED for class_id in f.labels}
    scored = [f for f in facts if f.place.split == "val" and f.pixels]
    seen = {class_id for f in scored for class_id in f.shown}
    for class_id, name in enumerate(space.names):
        if is_told and class_id not in taught:
            untaught = f"class '{name}' is no label of any photo of train and dev"
            yield Finding("classes that nothing teaches", untaught, fails=True)
        if scored and class_id not in seen:
            yield Finding("classes absent from val", f"class '{name}' is in no mask of val: its IoU is 0 or undefined")


def _labels_against_masks(space: LabelSpace, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Labels that are not given (a val photo may have none) contradict nothing."""
    for f in facts:
        if f.pixels and f.labels and set(f.labels) != set(f.shown):
            labels, shown = (", ".join(space.names[i] for i in ids) or "nothing" for ids in (f.labels, f.shown))
            where = f"{f.place.split}: photo '{f.place.photo_id}'"
            yield Finding(f"such photos in {f.place.split}", f"{where} is labelled {labels}, its mask shows {shown}")


def _void_masks(facts: Sequence[Facts]) -> Iterator[Finding]:
    scored = [f for f in facts if f.place.split == "val" and f.pixels]
    if scored and not any(f.known for f in scored):
        found = f"val: no mask has a known pixel, all are {UNKNOWN}: nothing can be scored; give pixels their classes"
        yield Finding("splits without a known pixel", found, fails=True)
    for f in facts:
        if f.pixels and not f.known:
            yield Finding("masks without a known pixel", f"{f.place.split}: mask '{f.place.photo_id}' is all {UNKNOWN}")


def _twins(facts: Sequence[Facts]) -> Iterator[Finding]:
    same: Mapping[str, list[Facts]] = defaultdict(list)
    for f in facts:
        if f.content:
            same[f.content].append(f)
    for group in same.values():
        if len(group) > 1:
            names = ", ".join(f"'{f.place.photo_id}' ({f.place.split})" for f in group[:NAMED])
            splits = {f.place.split for f in group}
            leak = "; what is scored was trained on" if "val" in splits and len(splits) > 1 else ""
            yield Finding("equal photos", f"photos {names} are one file{leak}")


def _by_split(facts: Sequence[Facts]) -> dict[str, list[Facts]]:
    groups: dict[str, list[Facts]] = {}
    for f in facts:
        groups.setdefault(f.place.split, []).append(f)
    return groups


def _counted(ids: Sequence[str], total: int) -> str:
    shown = ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")
    return f"{len(ids)} of {total} photos ({shown})"
