"""Small pictures of single photos, and of what each line made of them, for the page: drawn once, when a run ends."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from harness.drawing.overlays import mask_colours, outlines, reduced, with_mask
from harness.drawing.sheet import MAX_LEGEND, Column, maps_column, masks_column
from harness.execution.running import Run
from harness.reports.files import LeaderboardFiles
from harness.reports.page import PICTURES_BYTES
from harness.stages.gallery import MAPS_DRAWN, MASKS_DRAWN, GalleryIdentity, GalleryRuntime
from harness.stages.plugins import read_plugins
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.store.layout import MapFiles, MaskFiles, Ref
from harness.store.store import Lost, Store
from harness.suites.data import dataset_of
from settings.dataset import Dataset
from settings.files import write_json
from settings.plugins import plugged_in
from settings.records import Image, Mask
from settings.supervision import Gate

if TYPE_CHECKING:
    from results.page import PhotoScores

__all__ = ["write_tiles"]

SIDE = 200
"""Pixels of a picture's longer side."""
A_GALLERY = 3
"""Photos for each one that the suite's gallery has: beside those spread over the split, those that scores pick."""
MOST_COMPARED = 8
"""Lines that are held against each other when photos are picked."""


def write_tiles(run: Run, store: Store, scores: Sequence[PhotoScores], files: LeaderboardFiles) -> None:
    """Draw photos, true masks, and what each line made of them; nothing where the run drew no galleries.

    The photos are those of the galleries, and those by which the lines of `scores` differ most. Where they are not
    ours, they are drawn once as they are, for the user, and once as outlines, which may be given away.
    """
    suite, lines = run.plan.suite, _lines(run, store)
    if not lines:
        return
    chosen = _chosen(lines, scores, A_GALLERY * suite.gallery)
    with plugged_in(read_plugins(suite.plugins)):
        dataset = dataset_of(suite.dataset)
        if dataset.photos_are_ours:
            write_json(files.tiles, _Drawing(dataset).tiles(store, lines, chosen))
        else:
            write_json(files.photo_tiles, _Drawing(dataset).tiles(store, lines, chosen))
            write_json(files.tiles, _Drawing(dataset, outlines).tiles(store, lines, chosen))


@dataclass
class _Line:
    """What a line made, by split: the artefacts by role, and the photos of its sheets that were named."""

    inputs: dict[str, dict[str, tuple[Ref, ...]]] = field(default_factory=dict)
    named: dict[str, dict[str, None]] = field(default_factory=dict)


def _lines(run: Run, store: Store) -> dict[str, _Line]:
    """The lines that the run drew sheets of, by name, with all artefacts that any of these sheets reads."""
    found: dict[str, _Line] = {}
    for ref in run.plan.pictures:
        stage = run.plan.graph[ref]
        runtime, identity = stage.runtime, stage.identity
        assert isinstance(runtime, GalleryRuntime) and isinstance(identity, GalleryIdentity)
        if not store.has(ref):
            continue
        line = found.setdefault(f"{runtime.recipe} · {runtime.setting_name}", _Line())
        line.named.setdefault(runtime.split, {}).update(dict.fromkeys(identity.photos or ()))
        own = line.inputs.setdefault(runtime.split, {})
        for role in (*MAPS_DRAWN, *MASKS_DRAWN):
            own[role] = tuple(dict.fromkeys((*own.get(role, ()), *stage.inputs.get(role, ()))))
    return found


def _chosen(lines: Mapping[str, _Line], scores: Sequence[PhotoScores], count: int) -> dict[str, list[str]]:
    """By split at most `count` photos: those that sheets name, then those that scores pick."""
    chosen: dict[str, dict[str, None]] = {}
    for line in lines.values():
        for split, ids in line.named.items():
            chosen.setdefault(split, {}).update(ids)
    for each in scores:
        if each.split in chosen:
            chosen[each.split].update(dict.fromkeys(_picked(each)))
    return {split: list(ids)[:count] for split, ids in chosen.items()}


def _picked(scores: PhotoScores) -> Iterator[str]:
    """The photos by which two lines differ most, and the best and the worst of each line: of each in turn."""
    score_LN = np.array([[np.nan if value is None else value for value in line] for line in scores.per_mille], float)
    best_first = [np.argsort(-np.nan_to_num(line_N), kind="stable") for line_N in score_LN]
    orders = [
        np.argsort(-np.nan_to_num(np.abs(one_N - other_N)), kind="stable")
        for one_N, other_N in combinations(score_LN[:MOST_COMPARED], 2)
    ]
    orders += [*best_first, *(order[::-1] for order in best_first)]
    for turn in zip(*orders, strict=True):
        yield from (scores.photos[n] for n in turn)


class _Drawing:
    """Pictures of a data set's photos, over the photos themselves or over what `base` makes of them."""

    def __init__(self, dataset: Dataset, base: Callable[[Image], Image] | None = None) -> None:
        self._dataset = dataset
        self._base = base
        # Through the gate, as everybody reads masks; its purpose "show" goes into no row's costs.
        self._gate = Gate(dataset, "show", "show")
        self._places: dict[str, int] = {}
        self._bytes = 0

    def tiles(self, store: Store, lines: Mapping[str, _Line], chosen: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """As JSON, see `results.page.Tiles`; photos that would go beyond PICTURES_BYTES are left out."""
        photos: dict[str, Any] = {}
        for split, ids in chosen.items():
            columns = {name: list(_columns(store, line.inputs.get(split, {}), ids)) for name, line in lines.items()}
            for photo_id in ids:
                if self._bytes < PICTURES_BYTES:
                    photos[photo_id] = self._photo(split, photo_id, columns)
        colours = {
            name: "#" + bytes(mask_colours()[value]).hex()
            for value, name in enumerate(self._dataset.label_space.names[:MAX_LEGEND], start=1)
        }
        return {"images": list(self._places), "photos": photos, "colours": colours}

    def _photo(self, split: str, photo_id: str, columns: Mapping[str, Sequence[Column]]) -> dict[str, Any]:
        image = reduced(self._dataset.photo(photo_id).image(), SIDE)
        if self._base:
            image = self._base(image)
        truth = None
        if self._dataset.has_mask(photo_id):
            truth = self._place(with_mask(image, self._gate.mask(split, photo_id)))
        made = {}
        for name, of_line in columns.items():
            cells = ((column.head, column.draw(photo_id, image)) for column in of_line)
            drawn = [(head, self._place(cell.image)) for head, cell in cells if cell is not None]
            if drawn:
                made[name] = drawn
        return {"photo": self._place(image), "truth": truth, "lines": made}

    def _place(self, image: Image) -> int:
        """The place of a picture among all; the same picture has one."""
        written = BytesIO()
        PillowImage.fromarray(image).save(written, "WEBP", quality=60, method=2)
        uri = f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
        if uri not in self._places:
            self._bytes += len(written.getvalue())
        return self._places.setdefault(uri, len(self._places))


def _columns(store: Store, inputs: Mapping[str, Sequence[Ref]], ids: Sequence[str]) -> Iterator[Column]:
    """What there is to draw of a line; a photo that a column has nothing of has no picture in it."""
    for role, head in MAPS_DRAWN.items():
        if inputs.get(role):
            yield maps_column(head, maps_of_photos((MapFiles(each) for each in _folders(store, inputs[role])), ids).get)
    for role, head in MASKS_DRAWN.items():
        if inputs.get(role):
            masks = StoredMasks(MaskFiles(each) for each in _folders(store, inputs[role]))
            yield masks_column(head, partial(_mask_or_none, masks))


def _mask_or_none(masks: StoredMasks, photo_id: str) -> Mask | None:
    return masks.mask(photo_id) if photo_id in masks else None


def _folders(store: Store, refs: Sequence[Ref]) -> list[Path]:
    """Of the artefacts that are there; one that was lost since has nothing to be drawn."""
    found = []
    for ref in refs:
        with suppress(Lost):
            found.append(store.open(ref).folder)
    return found
