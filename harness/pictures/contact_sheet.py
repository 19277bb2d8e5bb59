"""Contact sheets: many photos in a grid, small, each with a caption.

Of a data set they show photos under their masks, the quickest way to see that both fit; of an audit what was dropped,
each photo beside the one that it shows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.drawing.overlays import reduced, with_mask
from harness.drawing.sheet import check_png, legend, png_of, write_png
from harness.stages.source import spread
from settings.audit import Drop
from settings.dataset import Dataset
from settings.errors import UserError
from settings.records import UNKNOWN, Image, Photo
from settings.setting import Offer
from settings.supervision import Gate

__all__ = ["choose", "write_audit_sheet", "write_contact_sheet"]

COLUMNS = 6
SIDE = 256
"""Photos are made at most this long before they are laid out, in pixels."""
MAX_CAPTION = 44
MAX_DROPS = 48
"""Drops that are drawn; near-duplicates come first."""
ORDER = ("near duplicate", "exact duplicate", "tiny", "unreadable")


class Tile(NamedTuple):
    """One photo of a contact sheet, None where it cannot be read."""

    caption: str
    image: Image | None


def choose(dataset: Dataset, count: int) -> list[tuple[str, str]]:
    """(split, id) of `count` photos: as many of each split as it has, spread evenly over it; all where there are fewer.

    Each split gets an equal share; what a small split leaves of its own goes to the larger ones.
    """
    chosen = []
    left = count
    by_size = sorted(dataset.splits, key=lambda split: len(dataset.splits[split]))
    shares = {}
    for position, split in enumerate(by_size):
        # The smallest split comes first: what it lacks of an equal share is left for the others.
        shares[split] = min(len(dataset.splits[split]), left // (len(by_size) - position))
        left -= shares[split]
    for split, ids in dataset.splits.items():
        chosen += [(split, photo_id) for photo_id in spread(ids, shares[split])]
    return chosen


def write_contact_sheet(path: Path, dataset: Dataset, photos: Iterable[tuple[str, str]]) -> None:
    """Write the photos, (split, id), under their masks as one PNG; raises UserError where that cannot be written."""
    check_png(path)
    gate = Gate(dataset, "data show", "show")
    tiles = [_under_mask(dataset, gate, split, photo_id) for split, photo_id in photos]
    title = f"{dataset.name}: {len(tiles)} photos, void white"
    _write(path, tiles, title, legend(range(1, UNKNOWN), dataset.label_space))


def write_audit_sheet(path: Path, offers: Sequence[Offer], evaluation: Sequence[Photo]) -> str:
    """Write what the audits of some settings dropped, and say so; nothing is written where nothing was dropped.

    `evaluation` are the photos of which extra photos must not be twins. Raises UserError for an unwritable PNG.
    """
    check_png(path)
    drops = []
    for offer in offers:
        if offer.audit:
            drops += [(offer, drop) for drop in offer.audit.drops]
    if not drops:
        return "nothing was dropped: no picture"
    # Where not all fit, those that were taken for twins of scored photos matter most.
    drops.sort(key=lambda pair: ORDER.index(pair[1].reason))
    tiles: list[Tile] = []
    for offer, drop in drops[:MAX_DROPS]:
        tiles += _beside_twin(offer, drop, evaluation)
    title = f"{len(drops)} extra photos dropped, each beside its twin"
    if len(drops) > MAX_DROPS:
        title += f" (the first {MAX_DROPS})"
    _write(path, tiles, title)
    return f"wrote {path}"


def _under_mask(dataset: Dataset, gate: Gate, split: str, photo_id: str) -> Tile:
    caption = _short(f"{split} · {photo_id}")
    try:
        photo = dataset.photo(photo_id)
        names = ", ".join(dataset.label_space.names[class_id] for class_id in photo.labels)
        caption += f"\n{_short(names or 'no label')}"
        image = photo.image()
        if dataset.has_mask(photo_id):
            image = with_mask(image, gate.mask(split, photo_id))
        else:
            caption += " · no mask"
        return Tile(caption, reduced(image, SIDE))
    except UserError:
        return Tile(f"{_short(f'{split} · {photo_id}')}\nunreadable: see seedbed data check", None)


def _beside_twin(offer: Offer, drop: Drop, evaluation: Sequence[Photo]) -> Iterator[Tile]:
    declared = {photo.id: photo for photo in offer.declared}
    what: str = drop.reason
    if drop.distance:
        what += f", {drop.distance} bits"
    yield _tile(declared, drop.photo_id, what)
    if drop.twin:
        # A twin is another extra photo, or one of those that are scored.
        yield _tile(declared | {photo.id: photo for photo in evaluation}, drop.twin, "twin")


def _tile(photos: Mapping[str, Photo], photo_id: str, what: str) -> Tile:
    caption = f"{_short(photo_id)}\n{what}"
    try:
        return Tile(caption, reduced(photos[photo_id].image(), SIDE))
    except UserError:
        return Tile(caption, None)


def _write(path: Path, tiles: Sequence[Tile], title: str, handles: Sequence[Patch] = ()) -> None:
    """Write the tiles as one PNG, six a row, under a title; raises UserError where that cannot be written."""
    rows = max(1, ceil(len(tiles) / COLUMNS))
    figure = Figure(figsize=(2 * COLUMNS, 2.1 * rows + 1), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    grey = np.full((2, 3, 3), 200, np.uint8)
    for axis, tile in zip_longest(axes, tiles):
        axis.set_axis_off()
        if tile:
            # Ids may hold `$`, which matplotlib reads as mathematics.
            axis.set_title(tile.caption, fontsize=6, parse_math=False)
            image = tile.image
            if image is None:
                image = grey
            axis.imshow(image)
    figure.suptitle(title, fontsize=10, parse_math=False)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    write_png(path, png_of(figure))


def _short(text: str) -> str:
    """The text cut to the width of a tile."""
    if len(text) <= MAX_CAPTION:
        return text
    return text[: MAX_CAPTION - 1] + "…"
