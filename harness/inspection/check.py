"""`seedbed data check`: a data set is read photo by photo before a run pays for it, and all that is odd is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from results.plausibility import (
    ADD_NEGATIVES,
    Shown,
    contradiction,
    describe_contradiction,
    describe_never_absent,
    mend_of_contradiction,
    mend_of_void,
    mends,
    mismatch,
    never_absent,
    no_foreground,
)
from settings.dataset import Dataset
from settings.errors import UserError, counted
from settings.masks import StrayValues, by_colours
from settings.records import UNKNOWN, LabelSpace, Mask
from settings.supervision import Gate

__all__ = ["Facts", "Finding", "Place", "describe", "find", "gather_facts", "to_lines"]

TRAINED = ("train", "dev")
NAMED = 5
"""Ids that are named within one line; the others are counted."""


class Place(NamedTuple):
    """One photo in one split: a photo that stands in two lists is looked at twice."""

    split: str
    photo_id: str


Watch = Callable[[Sequence[Place]], Iterable[Place]]
"""What goes through the photos, and may show how far it is."""


@dataclass(frozen=True)
class Facts:
    """What was found out about one photo: `pixels` counts the 256 mask values, None where no mask was read.

    `stray` are all values of a mask that holds some which are no class; `coloured` are those that a palette with VOC's
    colours in another order stands for, and whether background is another one then.
    """

    place: Place
    labels: tuple[int, ...] = ()
    content: str = ""
    size: tuple[int, int] | None = None
    pixels: tuple[int, ...] | None = None
    has_mask: bool = True
    stray: tuple[int, ...] = ()
    coloured: tuple[int, ...] = ()
    has_other_background: bool = False
    errors: tuple[str, ...] = ()

    @property
    def shows_no_class(self) -> bool:
        """Whether the photo was opened and has no label."""
        return bool(self.content) and not self.labels

    @property
    def known(self) -> tuple[int, ...]:
        """The mask values of known pixels, background included."""
        seen = [value for value, count in enumerate(self.pixels or ()) if count]
        return tuple(value for value in seen if value != UNKNOWN)

    @property
    def shown(self) -> tuple[int, ...]:
        """The class ids whose pixels the mask holds."""
        return tuple(value - 1 for value in self.known if value)


IMPLAUSIBLE = "implausible data"
"""The kind of findings about all photos together, or all of a split."""


class Finding(NamedTuple):
    """One thing that is odd, or (`fails`) that a run would fail on; `kind` says which findings are alike."""

    kind: str
    text: str
    fails: bool = False


def gather_facts(dataset: Dataset, watch: Watch = iter) -> list[Facts]:
    """Read every photo and every mask, one at a time."""
    gate = Gate(dataset, "data check", "show")
    places = []
    for split, ids in dataset.splits.items():
        places += [Place(split, photo_id) for photo_id in ids]
    return [_facts(dataset, gate, place) for place in watch(places)]


def find(dataset: Dataset, facts: Sequence[Facts]) -> list[Finding]:
    """All that is odd about a data set, of which these facts were gathered; first what a run would fail on."""
    space = dataset.label_space
    findings = list(_implausible(space, facts))
    is_told = bool(findings)
    odd = {} if is_told else _odd_splits(space, facts)
    for split, found in odd.items():
        others = "; masks of the other splits are right" if len(odd) == 1 else ""
        findings.append(Finding(IMPLAUSIBLE, f"{split}: {found}{others}", fails=True))
    for one in facts:
        if (is_told or one.place.split in odd) and one.stray:
            continue
        for error in one.errors:
            findings.append(Finding(f"errors in {one.place.split}", error, fails=True))
    findings += (*_left_out(dataset), *_unread(dataset), *_missing_masks(facts), *_classes(space, facts))
    findings += (*_void_masks(facts), *_twins(facts))
    # Where all contradict in one way, or have no class, photo by photo says no more.
    if not is_told:
        findings += _labels_against_masks(space, [one for one in facts if one.place.split not in odd])
    return sorted(findings, key=lambda finding: not finding.fails)


def describe(dataset: Dataset, facts: Sequence[Facts]) -> list[str]:
    """The counts: one line for the data set, one for each split, one for each class with its share of the pixels."""
    space, by_split = dataset.label_space, _by_split(facts)
    lines = [f"{dataset.name}: {counted(space.foreground, 'class', 'classes')}, {counted(len(facts), 'photo')}"]
    lines += [_split_line(split, by_split.get(split, [])) for split in dataset.splits]
    # Shares are of the known pixels: void ones belong to no class.
    pixels = np.zeros(256, np.int64)
    for one in facts:
        if one.pixels:
            pixels += np.array(one.pixels)
    known = int(pixels[:UNKNOWN].sum())
    for class_id, name in enumerate(space.names):
        counts = []
        for split, group in by_split.items():
            labelled = sum(one.labels.count(class_id) for one in group)
            counts.append(f"{labelled} {split}")
        line = f"class {name}: labels of {', '.join(counts)}"
        if known:
            line += f" · {pixels[class_id + 1] / known:.1%} of the known pixels"
        lines.append(line)
    return lines


def to_lines(findings: Sequence[Finding], limit: int) -> list[str]:
    """One line a finding; of each kind the first `limit`, and how many more there are."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    lines = []
    for kind, alike in groups.items():
        # All of a kind fail, or none does.
        mark = "error" if alike[0].fails else "note"
        lines += [f"{mark}: {finding.text}" for finding in alike[:limit]]
        if len(alike) > limit:
            lines.append(f"… and {len(alike) - limit} more {kind}")
    return lines


def _facts(dataset: Dataset, gate: Gate, place: Place) -> Facts:
    """Photo, image and mask in this order; what follows one that cannot be read is not looked at."""
    facts = Facts(place, has_mask=dataset.has_mask(place.photo_id))
    try:
        photo = dataset.photo(place.photo_id)
        facts = replace(facts, labels=photo.labels, content=photo.content)
        height, width = photo.image().shape[:2]
        facts = replace(facts, size=(height, width))
        # A mask is held against its photo: without one, the photo's error says it all.
        if facts.has_mask:
            mask_HW = gate.mask(*place)
            counts = np.bincount(mask_HW.ravel(), minlength=256)
            facts = _with_colours(replace(facts, pixels=tuple(counts.tolist())), dataset, mask_HW)
    except StrayValues as error:
        facts = replace(facts, errors=(str(error),), stray=error.present)
    except UserError as error:
        facts = replace(facts, errors=(str(error),))
    return facts


def _with_colours(facts: Facts, dataset: Dataset, mask_HW: Mask) -> Facts:
    """The facts with what the palette of the mask's file says, where that is another thing."""
    file = dataset.mask_file(facts.place.photo_id)
    coloured_HW = None
    if file is not None:
        coloured_HW = by_colours(file)
    if coloured_HW is None:
        return facts
    other_background = not np.array_equal(coloured_HW == 0, mask_HW == 0)
    return replace(facts, coloured=tuple(np.unique(coloured_HW).tolist()), has_other_background=other_background)


def _split_line(split: str, group: Sequence[Facts]) -> str:
    masks = sum(one.pixels is not None for one in group)
    parts = [f"{split}: {counted(len(group), 'photo')}"]
    # Of val labels need not be given.
    negatives = sum(one.shows_no_class for one in group if one.place.split in TRAINED)
    if negatives:
        parts.append(f"{negatives} without a class")
    parts.append(counted(masks, "readable mask"))
    sizes = sorted({one.size for one in group if one.size}, key=lambda size: size[0] * size[1])
    if sizes:
        # One where all photos are of one size.
        smallest_and_largest = dict.fromkeys((sizes[0], sizes[-1]))
        parts.append(" to ".join(f"{width}×{height}" for height, width in smallest_and_largest))
    return " · ".join(parts)


def _missing_masks(facts: Sequence[Facts]) -> Iterator[Finding]:
    if not any(one.has_mask for one in facts):
        found = "no photo has a mask: there is nothing to score; a run ends with pseudo labels and predictions"
        yield Finding("splits without masks", found)
        return
    for split, group in _by_split(facts).items():
        lacking = [one.place.photo_id for one in group if not one.has_mask]
        if len(lacking) == len(group):
            yield Finding("splits without masks", f"{split}: no photo has a mask: there is nothing to score on it")
        elif split in TRAINED and lacking:
            yield Finding("splits without some masks", f"{split}: {_share(lacking, len(group))} without a mask")
        else:
            what = "no mask, which others of val have; add it, or take the photo out of val.txt"
            for photo_id in lacking:
                yield Finding(f"missing masks in {split}", f"{split}: photo '{photo_id}' has {what}", True)


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    for split, ids in dataset.left_out.items():
        if ids:
            total = len(ids) + len(dataset.splits[split])
            yield Finding("photos left out", f"{split}: {_share(ids, total)} without a class, left out")


def _unread(dataset: Dataset) -> Iterator[Finding]:
    """Misnamed masks would otherwise look like none at all."""
    for unread in dataset.unread():
        yield Finding("kinds of files that nothing reads", str(unread))


def _classes(space: LabelSpace, facts: Sequence[Facts]) -> Iterator[Finding]:
    trained = [one for one in facts if one.place.split in TRAINED]
    scored = [one for one in facts if one.place.split == "val" and one.pixels]
    # The labels of a training photo that cannot be opened are unknown, not absent.
    are_labels_known = all(one.content for one in trained if one.errors)
    taught = set().union(*(one.labels for one in trained))
    seen = set().union(*(one.shown for one in scored))
    for class_id, name in enumerate(space.names):
        if are_labels_known and class_id not in taught:
            untaught = f"class '{name}' is no label of any photo of train and dev"
            if class_id == 0:
                untaught += "; if it is the background, take it out of classes.txt"
            yield Finding("classes that nothing teaches", untaught, fails=True)
        if scored and class_id not in seen:
            yield Finding("classes absent from val", f"class '{name}' is in no mask of val: its IoU is 0 or undefined")
    everywhere = never_absent([one.labels for one in trained], space.foreground)
    if are_labels_known and everywhere:
        found = describe_never_absent(everywhere, len(trained), space)
        is_all = len(everywhere) == space.foreground
        yield Finding("classes without a negative", f"{found}; {ADD_NEGATIVES}", fails=is_all)


def _labels_against_masks(space: LabelSpace, facts: Sequence[Facts]) -> Iterator[Finding]:
    for one in facts:
        # Labels that are not given (a val photo may have none) contradict nothing.
        are_given = bool(one.labels) or one.place.split in TRAINED
        if one.pixels and are_given and set(one.labels) != set(one.shown):
            labels = ", ".join(space.names[class_id] for class_id in one.labels) or "with no class"
            shown = ", ".join(space.names[class_id] for class_id in one.shown) or "nothing"
            where = f"{one.place.split}: photo '{one.place.photo_id}'"
            yield Finding(f"such photos in {one.place.split}", f"{where} is labelled {labels}, its mask shows {shown}")


def _implausible(space: LabelSpace, facts: Sequence[Facts]) -> Iterator[Finding]:
    """What contradicts itself over all photos: masks without any class, labels and masks that never agree."""
    lacks_classes = False
    for split, group in _by_split(facts).items():
        pixels = np.zeros(UNKNOWN + 1, np.int64)
        for one in group:
            if one.pixels:
                pixels += np.array(one.pixels)
        found = no_foreground(pixels)
        # Masks of dev may be few, and are not reported.
        if found and split != "dev":
            lacks_classes = True
            yield Finding(IMPLAUSIBLE, f"{split}: {found}; {mend_of_void(space, bool(pixels[UNKNOWN]))}", fails=True)
    if lacks_classes:
        # Labels can agree with no such masks, and that is no further finding.
        return
    by_value = [_shown(one) for one in facts]
    by_colour = [Shown(one.labels, one.coloured or one.stray or _present(one)) for one in facts]
    values = contradiction(by_value, space.foreground)
    if values:
        found = f"{describe_contradiction(values, space)}; {mend_of_contradiction(values)}"
        yield Finding(IMPLAUSIBLE, found, fails=True)
    elif mended := mends(by_value, by_colour, sum(one.has_other_background for one in facts)):
        mend = "`seedbed data import-masks` makes class indices of colours"
        found = f"palettes in another order: {mended} masks are right by VOC's colours and wrong by their values"
        yield Finding(IMPLAUSIBLE, f"{found}; {mend}", fails=True)
    elif found := mismatch(by_value):
        yield Finding(IMPLAUSIBLE, f"{found}; are labels.csv and masks of the same photos?", fails=True)


def _odd_splits(space: LabelSpace, facts: Sequence[Facts]) -> dict[str, str]:
    """What contradicts itself in single splits: their masks may come from elsewhere, as those of VOC's dev do."""
    odd = {}
    for split, group in _by_split(facts).items():
        photos = [_shown(one) for one in group]
        if values := contradiction(photos, space.foreground):
            odd[split] = describe_contradiction(values, space)
        elif found := mismatch(photos):
            odd[split] = found
    return odd


def _shown(one: Facts) -> Shown:
    return Shown(one.labels, one.stray or _present(one))


def _present(one: Facts) -> tuple[int, ...]:
    return tuple(value for value, count in enumerate(one.pixels or ()) if count)


def _void_masks(facts: Sequence[Facts]) -> Iterator[Finding]:
    scored = [one for one in facts if one.place.split == "val" and one.pixels]
    if scored and not any(one.known for one in scored):
        found = f"val: no mask has a known pixel, all are {UNKNOWN}: nothing can be scored; give pixels their classes"
        yield Finding("splits without a known pixel", found, fails=True)
    for one in facts:
        if one.pixels and not one.known:
            found = f"{one.place.split}: mask '{one.place.photo_id}' is all {UNKNOWN}"
            yield Finding("masks without a known pixel", found)


def _twins(facts: Sequence[Facts]) -> Iterator[Finding]:
    same: dict[str, list[Facts]] = {}
    for one in facts:
        if one.content:
            same.setdefault(one.content, []).append(one)
    for group in same.values():
        if len(group) > 1:
            names = ", ".join(f"'{one.place.photo_id}' ({one.place.split})" for one in group[:NAMED])
            splits = {one.place.split for one in group}
            found = f"photos {names} are one file"
            if "val" in splits and len(splits) > 1:
                found += "; what is scored was trained on"
            yield Finding("equal photos", found)


def _by_split(facts: Sequence[Facts]) -> dict[str, list[Facts]]:
    groups: dict[str, list[Facts]] = {}
    for one in facts:
        groups.setdefault(one.place.split, []).append(one)
    return groups


def _share(ids: Sequence[str], total: int) -> str:
    """How many of all photos these are, the first of them by name."""
    shown = ", ".join(ids[:NAMED])
    if len(ids) > NAMED:
        shown += ", …"
    return f"{len(ids)} of {total} photos ({shown})"
