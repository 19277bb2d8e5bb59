"""Galleries as stages: sheets of photo, maps, pseudo label, prediction and truth that a run draws of each recipe.

Photos of train and of val are drawn; without true masks too, then without a column of truth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.labels import plan_pseudo_labels
from harness.stages.line import Line
from harness.stages.localizer import plan_maps
from harness.stages.refiner import plan_final_maps
from harness.stages.scoring import plan_main_choice, plan_scores, reported_shards
from harness.stages.segmenter import plan_predictions
from harness.stages.source import Source, once, photo_ids, spread
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.stages.work import Work
from harness.store.layout import CountFiles, GalleryFiles, MapFiles, MaskFiles, Ref
from settings.records import Photo

if TYPE_CHECKING:
    from harness.drawing.sheet import Column, Row

__all__ = [
    *("MAPS_DRAWN", "MASKS_DRAWN", "Gallery", "GalleryIdentity", "GalleryRuntime"),
    *("drawn_photos", "drawn_predictions", "plan_sheets", "sheet_name"),
]

VERSION = 6
"""Raised when the drawing changes: it is part of a picture's key."""

MAPS_DRAWN = {"maps": "localization maps", "refined": "refined"}
MASKS_DRAWN = {"pseudo_labels": "pseudo label", "masks": "prediction"}
"""What is drawn of a photo, in the order in which it comes about: the head of its column by the role of the input."""


@dataclass(frozen=True, kw_only=True)
class GalleryIdentity(Identity):
    """Which photos are drawn: those that are named, with their masks; or `count`, which the scores pick."""

    photos: tuple[str, ...] | None = None
    dataset: Mapping[str, object] | None = None
    masks: str | None = None
    count: int | None = None
    version: int


@dataclass(frozen=True, kw_only=True)
class GalleryRuntime(PhotosRuntime):
    """The photos that may be drawn, what the sheet is called, and the split that the gate reads true masks of."""

    name: str
    """Of the file in the leaderboard's folder."""
    title: str
    split: str
    # Stages of galleries were described without these by older versions.
    recipe: str = ""
    setting_name: str = ""
    """Of the line whose sheet it is."""


class Gallery(StageKind[GalleryIdentity, GalleryRuntime]):
    """Photo | maps | pseudo label | prediction | truth, one line a photo, as PNGs; what there is none of has no column.

    Where scores are among the inputs, the photos are the best, the median and the worst by them, else all of the stage.
    """

    name = "gallery"
    identity = GalleryIdentity
    runtime = GalleryRuntime
    writes = GalleryFiles
    seconds_a_photo = 0.05
    sources = "harness.drawing.sheet"

    def run(self, work: Work[GalleryIdentity, GalleryRuntime]) -> None:
        """Draw the sheet; where photos are not ours, once over them, for the user, and once over their outlines."""
        # matplotlib is imported by those that draw alone: a plan imports this module too.
        from harness.drawing.overlays import outlines
        from harness.drawing.sheet import masks_column, to_png

        rows = _rows(work)
        gate = work.gate("show")
        columns = _columns(work, {row.photo.id for row in rows})
        # Photos that scores have picked have masks, and identities that name some.
        if work.identity.masks is not None or "scores" in work.inputs:
            columns.append(masks_column("truth", partial(gate.mask, work.runtime.split)))
        files, space, title = work.files(GalleryFiles), work.dataset.label_space, work.runtime.title
        if work.dataset.photos_are_ours:
            files.gallery.write_bytes(to_png(rows, columns, space, title))
        else:
            files.photos.write_bytes(to_png(rows, columns, space, title))
            files.gallery.write_bytes(to_png(rows, columns, space, title, outlines))
        work.write_ledger(gate.entries())


def _columns(work: Work[GalleryIdentity, GalleryRuntime], ids: Collection[str]) -> list[Column]:
    """A column for each kind of artefact among the inputs, in the order in which they come about."""
    from harness.drawing.sheet import maps_column, masks_column

    columns = []
    # The maps of the drawn photos alone: shards hold many more, and a sheet of large ones would fill the memory.
    for role, head in MAPS_DRAWN.items():
        if role in work.inputs:
            columns.append(maps_column(head, maps_of_photos(work.read(role, MapFiles), ids).get))
    for role, head in MASKS_DRAWN.items():
        if role in work.inputs:
            columns.append(masks_column(head, StoredMasks(work.read(role, MaskFiles)).mask))
    return columns


def _rows(work: Work[GalleryIdentity, GalleryRuntime]) -> list[Row]:
    """The photos of the sheet, line by line: all that the stage names, or the picks of the scores with their place."""
    from harness.drawing.sheet import Row
    from results.per_image import joined, read_table
    from results.photo_scores import best_median_worst, miou_by_image

    photos = {photo.id: photo for photo in work.photos()}
    if "scores" not in work.inputs:
        return [Row(photo) for photo in photos.values()]
    assert work.identity.count is not None
    table = joined([read_table(files.counts) for files in work.read("scores", CountFiles)])
    scores = miou_by_image(table, work.dataset.label_space.foreground + 1)
    # The scores count more photos than the stage may draw: those that show no class have nothing to look at.
    scores = {image: score for image, score in scores.items() if image in photos}
    picks = best_median_worst(scores, work.identity.count)
    return [Row(photos[pick.image], f"{pick.place}: mIoU {pick.miou:.3f}") for pick in picks]


def sheet_name(file: str, runtime: GalleryRuntime) -> str:
    """What one of a stage's sheets is called in a leaderboard's folder, where those of all lines lie side by side."""
    return f"{Path(file).stem}-{runtime.name}{Path(file).suffix}"


def plan_sheets(line: Line) -> list[Ref]:
    """The sheets that a run draws of a line: photos spread over train, those picked by score, and some of val."""
    photos, reported = drawn_photos(line), line.blueprint.reported
    if not photos:
        return []
    inputs = _drawn(line, line.source.shards_of(photo_ids(photos)))
    sheets = [_plan_spread(line, line.source, photos, reported.maps, "", inputs)]
    reported_ids = frozenset(_reported_ids(line))
    scored = [photo for photo in line.source.photos if photo.id in reported_ids and photo.labels]
    if scored and line.last_step in ("pseudo_labels", "segmentation"):
        sheets.append(_plan_by_score(line, scored))
    val = line.blueprint.val
    ids = spread(photo_ids(val.photos), line.blueprint.suite.gallery)
    predictions = _predictions(line, val, val.shards_of(ids))
    # Where dev is reported, both are its photos.
    if predictions and val.name != reported.maps:
        drawn = [photo for photo in val.photos if photo.id in ids]
        sheets.append(_plan_spread(line, val, drawn, val.name, f"-{val.name}", {"masks": predictions}))
    return sheets


@once
def drawn_photos(line: Line) -> tuple[Photo, ...]:
    """Photos spread over those whose maps are reported, the same ones for every recipe; without masks over the split.

    None where there are no maps, and for all rng seeds but the first.
    """
    suite, components = line.blueprint.suite, line.components
    has_maps = components.localizer is not None and components.labeler is not None
    is_first = line.rng_seed == suite.seeds_of(line.recipe, line.source.name)[0]
    if not (has_maps and is_first):
        return ()
    members = frozenset(line.blueprint.dataset.splits[line.blueprint.reported.maps])
    of_split = [photo.id for photo in line.source.photos if photo.id in members]
    chosen = frozenset(spread(_reported_ids(line) or of_split, suite.gallery))
    return tuple(photo for photo in line.source.photos if photo.id in chosen)


def drawn_predictions(line: Line) -> tuple[Ref, ...]:
    """The segmentation of the shards that hold the drawn photos; none where nothing is segmented."""
    return _predictions(line, line.source, line.source.shards_of(photo_ids(drawn_photos(line))))


def _reported_ids(line: Line) -> list[str]:
    found: list[str] = []
    for _, ids in reported_shards(line):
        found += ids
    return found


def _plan_spread(
    line: Line, source: Source, photos: Sequence[Photo], split: str, suffix: str, inputs: Mapping[str, tuple[Ref, ...]]
) -> Ref:
    """A sheet of photos that are named, which lie in a source and a split; with their true masks where all have one."""
    ids, dataset = photo_ids(photos), line.blueprint.dataset
    masks = None
    if all(map(dataset.has_mask, ids)):
        masks = line.blueprint.mask_contents(ids)
    identity = GalleryIdentity(photos=ids, dataset=dataset.identity(), masks=masks, version=VERSION)
    return _plan_gallery(line, source, identity, inputs, photos, split, suffix, "photos spread over")


def _plan_by_score(line: Line, photos: Sequence[Photo]) -> Ref:
    """The sheet of best, median and worst photos; which these are is known when the pseudo labels are scored."""
    # Neither photos nor masks are in the key: the scores among the inputs decide the ones and hang on the others.
    identity = GalleryIdentity(count=min(line.blueprint.suite.gallery, len(photos)), version=VERSION)
    shards = [shard for shard, _ in reported_shards(line)]
    inputs = {**_drawn(line, shards), "scores": plan_scores(line, line.blueprint.main_policy)}
    what, split = "best, median and worst pseudo labels of", line.blueprint.reported.maps
    return _plan_gallery(line, line.source, identity, inputs, photos, split, "-by-score", what)


def _plan_gallery(
    line: Line,
    source: Source,
    identity: GalleryIdentity,
    inputs: Mapping[str, tuple[Ref, ...]],
    photos: Sequence[Photo],
    split: str,
    suffix: str,
    what: str,
) -> Ref:
    setting, drawn = line.source.name, len(photos)
    mask_contents = None
    if all(map(line.blueprint.dataset.has_mask, photo_ids(photos))):
        mask_contents = line.blueprint.short_masks(photo_ids(photos))
    if identity.count is not None:
        drawn = identity.count
    runtime = GalleryRuntime(
        place=source.place,
        ids=photo_ids(photos),
        photo_contents=source.short_contents(photos),
        mask_contents=mask_contents,
        name=f"{line.recipe}-{setting}{suffix}",
        title=f"{line.recipe} · {setting} · {what} {split}",
        split=split,
        recipe=line.recipe,
        setting_name=setting,
    )
    return line.blueprint.add(
        Gallery(),
        identity,
        runtime,
        inputs=inputs,
        label=f"{line.recipe} · {setting} · gallery{suffix.replace('-', ' ')}",
        group="pictures",
        photos=drawn,
    )


def _drawn(line: Line, shards: Sequence[int]) -> dict[str, tuple[Ref, ...]]:
    """The artefacts that the columns show, by role: those of whole shards, of which the stage takes its photos."""
    inputs = {"maps": tuple(plan_maps(line, shard) for shard in shards)}
    if line.components.refiners:
        inputs["refined"] = tuple(plan_final_maps(line, shard) for shard in shards)
    choice = plan_main_choice(line)
    inputs["pseudo_labels"] = tuple(plan_pseudo_labels(line, shard, choice) for shard in shards)
    if predictions := _predictions(line, line.source, shards):
        inputs["masks"] = predictions
    return inputs


def _predictions(line: Line, source: Source, shards: Sequence[int]) -> tuple[Ref, ...]:
    """The segmentation of whole shards, since the photos that are picked by score are not known yet."""
    segmenter = line.components.segmenter
    # A sheet trains nothing that no row asks for.
    if segmenter is None or segmenter.knows_scored_photos_alone or line.last_step != "segmentation":
        return ()
    return plan_predictions(line, source, shards, plan_main_choice(line))
