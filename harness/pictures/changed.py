"""Sheets of the photos that changed most between two lines: photo, true mask, and what either side made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.drawing.sheet import Column, masks_column, to_png
from harness.drawing.sheet import Row as SheetRow
from harness.pictures.columns import KINDS
from harness.pictures.compare import PHOTOS_SHEET, SHEET
from harness.pictures.request import Request, Selection, select
from harness.pictures.show import Shelf, truth_column
from harness.reports.sides import MaskOptions, Sides
from harness.stages.plugins import read_plugins
from harness.stages.scoring import plan_choice, plan_main_choice
from harness.store.backends.urls import Location
from harness.store.store import Store
from harness.suites.suite import load_suite
from methods.segmenting import variant_of
from results.pair import Change
from results.rows import Row
from settings.config import existing_folder
from settings.errors import UserError
from settings.images import read_photo
from settings.masks import read_mask
from settings.photo_ids import files_below, id_of
from settings.plugins import plugged_in
from settings.records import Image, LabelSpace, Mask, Photo

__all__ = ["MaskDrawing", "SuiteDrawing"]

COLUMN_OF_STAGE = {"maps": "maps", "refined": "refined", "pseudo_labels": "pseudo_labels", "segmentation": "prediction"}
"""What a sheet shows of a scored stage."""
GREY = 200
"""What is drawn over where there is no photo."""


def _note(change: Change) -> str:
    return f"mIoU {change.a:.3f} and {change.b:.3f}"


@dataclass(frozen=True)
class MaskDrawing:
    """Draws masks of two folders beside the true ones, over photos where a folder of them is given."""

    masks: MaskOptions
    photos: Path | None = None

    def __post_init__(self) -> None:
        if self.photos is not None and existing_folder(self.photos) is None:
            raise UserError("--photos", f"no folder '{self.photos}'", "a folder of photos, named as the masks")

    def __call__(self, sides: Sides, changes: Sequence[Change]) -> tuple[str, bytes]:
        """The sheet; photos that are given are not ours, and the name of the file says so."""
        photos = self._photos_by_id()
        rows = [
            SheetRow(Photo(change.image, (), "", partial(self._image, photos, change.image)), _note(change))
            for change in changes
        ]
        heads = (
            ("truth", self.masks.truth),
            (f"A\n{sides.a.name}", self.masks.a),
            (f"B\n{sides.b.name}", self.masks.b),
        )
        columns = [masks_column(head, _masks_of(folder)) for head, folder in heads]
        title = f"{sides.a.name} and {sides.b.name}: the photos that changed most"
        png = to_png(rows, columns, LabelSpace(sides.a.classes[1:]), title)
        return SHEET if self.photos is None else PHOTOS_SHEET, png

    def _photos_by_id(self) -> Mapping[str, Path]:
        folder = self.photos and existing_folder(self.photos)
        return {id_of(path): folder / path for path in files_below(folder)} if folder else {}

    def _image(self, photos: Mapping[str, Path], name: str) -> Image:
        """The photo; a grey one of the mask's size where none is given."""
        if self.photos is not None:
            if name not in photos:
                raise UserError(self.photos, f"no photo '{name}'", "a photo for each mask, named by its id")
            return read_photo(photos[name])
        size = _masks_of(self.masks.truth)(name).shape
        blank: Image = np.full((*size, 3), GREY, np.uint8)
        return blank


def _masks_of(folder: Path) -> Callable[[str], Mask]:
    """The masks of a folder by photo id."""
    return lambda name: read_mask(folder / f"{name}.png")


@dataclass(frozen=True)
class SuiteDrawing:
    """Draws what a store holds of two recipes of a suite, of the first rng seed that both have."""

    suite: str
    overrides: Sequence[str]
    location: Location

    def __call__(self, sides: Sides, changes: Sequence[Change]) -> tuple[str, bytes]:
        """The sheet; the name of the file says where photos are not ours."""
        assert sides.first_rows is not None
        suite, store = load_suite(self.suite, self.overrides), Store.at(self.location)
        shelf = Shelf(store, f"run `seedbed run {self.suite}` first")
        with plugged_in(read_plugins(suite.plugins)):
            chosen = [select(suite, _request(row, changes)) for row in sides.first_rows]
            columns = [truth_column(chosen[0])]
            for letter, name, row, selection in zip(
                "AB", (sides.a.name, sides.b.name), sides.first_rows, chosen, strict=True
            ):
                columns += _columns(f"{letter}\n{name}", row, selection, shelf)
            dataset = chosen[0].dataset
            notes = {change.image: _note(change) for change in changes}
            rows = [SheetRow(photo, notes[photo.id]) for photo in chosen[0].subject.photos]
            title = f"{sides.a.name} and {sides.b.name}: the photos that changed most, {sides.scored}"
            png = to_png(rows, columns, dataset.label_space, title)
        return SHEET if dataset.photos_are_ours else PHOTOS_SHEET, png


def _request(row: Row, changes: Sequence[Change]) -> Request:
    ids = tuple(change.image for change in changes)
    return Request(photos=ids, split=row.split, recipes=(row.recipe,), setting=row.setting, rng_seed=row.rng_seed)


def _columns(head: str, row: Row, selection: Selection, shelf: Shelf) -> list[Column]:
    """What was scored of one side; of several refiners the last one's maps."""
    kind, (line,) = COLUMN_OF_STAGE[row.stage], selection.lines
    segmenter = line.components.segmenter
    is_other_variant = row.variant and segmenter is not None and variant_of(segmenter) != row.variant
    has_labels = row.stage in ("pseudo_labels", "segmentation")
    is_other_choice = has_labels and plan_choice(line, row.policy) != plan_main_choice(line)
    needs = KINDS[kind].needs(line, selection.subject)
    if is_other_variant or is_other_choice or not needs:
        found = f"no pictures of {row.stage} {row.variant} of {row.split}, policy {row.policy}"
        raise UserError(row.recipe, found, "those that `show` draws")
    shelf.check({(line, kind): needs})
    drawn = KINDS[kind].draw(line, selection.subject, shelf.take(needs))
    return [drawn[-1]._replace(head=head)]
