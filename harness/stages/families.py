"""The kinds of stage: what each reads, does and writes. Every kind is one function of the `Work` it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from harness.stages import weak_set as offered
from harness.stages.diagnosing import DIAGNOSTIC_STAGES
from harness.stages.filters import FILTER_STAGES, read_kept
from harness.stages.scoring import ROW_STAGES
from harness.stages.stored import MapShards, MaskFolders, stored_maps
from harness.stages.work import Work
from methods.base import FeatureRequest, Fit, Localized, PseudoLabelled
from settings.masks import write_mask
from settings.records import Mask
from settings.saliency import write_saliency
from settings.supervision import LedgerEntry

if TYPE_CHECKING:
    from harness.drawing.sheet import Row


def run_together(works: Sequence[Work]) -> None:
    """Run the stages of one job: a bundle of features shares its passes, everything else is alone."""
    if works[0].stage.kind == "features":
        features(works)
    else:
        (work,) = works
        STAGES[work.stage.kind](work)


def weak_set(work: Work) -> None:
    """Write down what methods see: photos, sources, labels, fingerprint."""
    filters = work.inputs.get("filter", ())
    kept = {photo_id for artefact in filters for photo_id in read_kept(artefact)} if filters else None
    content = offered.to_json(work.offer, kept)
    work.attempt.path(offered.NAME).write_text(json.dumps(content), encoding="utf-8")
    ids: dict[str, list[str]] = {}
    for photo in content["photos"]:
        ids.setdefault("train and dev" if photo["source"] == "target" else photo["source"], []).append(photo["id"])
    work.write_ledger(
        tuple(LedgerEntry("image_labels", split, "train", work.stage.kind, tuple(of)) for split, of in ids.items())
    )


def features(works: Sequence[Work]) -> None:
    """Photos → stored features; the works differ in scale, flip and level alone."""
    from methods.features import BATCH, compute, write_shard
    from methods.networks.backbones import build
    from methods.training import part_of

    first = works[0]
    requests = [_request(work) for work in works]
    fitted = part_of(first.weights("backbone"), "backbone") if first.inputs.get("backbone") else None
    levels = sorted({request.level for request in requests})
    backbone = build(first.backbone, levels, fitted).for_inference().to(first.context.device)
    context = first.context
    computed = compute(backbone, first.photos(), requests, context.device, first.progress, context.batch(BATCH))
    for work, request in zip(works, requests, strict=True):
        path = work.attempt.path("features.safetensors")
        write_shard(path, request, computed.shard, computed.features[request])


def localizer_fit(work: Work) -> None:
    """Weak set (and stored features) → a localizer's weights."""
    localizer = work.component("localizer")
    bank = work.bank() if work.identity["training_mode"] == "frozen" else None
    _write_fit(work, localizer.fit(work.weak_set, bank, work.backbone, work.context))


def localizer_apply(work: Work) -> None:
    """Weights and features of a shard → localization maps."""
    from methods.localization import write_maps

    localizer = work.component("localizer")
    weights = work.weights()
    records = localizer.apply(work.photos(), work.weak_set, weights, work.bank(), work.context)
    write_maps(work.attempt.path("maps.safetensors"), _counted(work, records))


def refiner_fit(work: Work) -> None:
    """Localization maps and stored features → a refiner's weights."""
    refiner, weak = work.component("refiner"), work.weak_set
    maps = MapShards(work.inputs["maps"])
    known = tuple(photo for photo in weak.photos if photo.id in maps)
    data = Localized(replace(weak, photos=known), maps.of)
    _write_fit(work, refiner.fit(data, work.bank(), work.backbone, work.context))


def refiner_apply(work: Work) -> None:
    """Localization maps of a shard → refined ones."""
    from methods.localization import write_maps

    refiner, maps = work.component("refiner"), MapShards(work.inputs["maps"])
    records = refiner.apply(work.photos(), maps.of, work.weights(), work.bank(), work.context)
    write_maps(work.attempt.path("maps.safetensors"), _counted(work, records))


def label(work: Work) -> None:
    """Localization maps of a shard → pseudo labels."""
    from methods.localization import read_maps

    labeler = work.component("labeler")
    if "select" in work.inputs:
        (choice,) = work.inputs["select"]
        labeler = labeler.with_threshold(json.loads(choice.path("choice.json").read_text())["threshold"])
    shards = work.inputs.get("maps", ())
    maps = {record.photo_id: record for shard in shards for record in read_maps(shard.path("maps.safetensors"))}
    saliency = MaskFolders(work.inputs.get("cue", ()))
    masks = ((p.id, labeler.label(p, maps.get(p.id), saliency.saliency(p.id))) for p in work.photos())
    _write_masks(work, masks)


def cue_fit(work: Work) -> None:
    """Stored features of the setting's photos, without their labels → a cue's weights."""
    photos = [photo.without_labels() for photo in work.weak_set.photos]
    _write_fit(work, work.component("cue").fit(photos, work.bank(), work.backbone, work.context))


def cue(work: Work) -> None:
    """Photos of a shard → saliency maps; those that are simulated from true masks read them through the gate."""
    part, photos = work.component("cue"), work.photos()
    if part.reads_masks:
        gate = work.gate("simulate")
        maps = (part.simulate(photo.id, gate.mask_of(photo.id)) for photo in photos)
    else:
        maps = part.apply(photos, work.weights(), work.bank(), work.context)
    for done, (photo, map_HW) in enumerate(zip(photos, maps, strict=True), 1):
        write_saliency(work.attempt.path(f"{photo.id}.png"), map_HW)
        work.progress(done)
    if part.reads_masks:
        work.write_ledger(gate.entries())


def reveal(work: Work) -> None:
    """True masks, handed to a ceiling as its pseudo labels."""
    gate = work.gate("train")
    _write_masks(work, ((photo.id, gate.mask_of(photo.id)) for photo in work.photos()))
    work.write_ledger(gate.entries())


def segmenter_fit(work: Work) -> None:
    """Pseudo labels (and stored features) → a segmentation network's weights."""
    segmenter = work.component("segmenter")
    bank = work.bank() if work.identity["training_mode"] == "frozen" else None
    weak = work.weak_set
    masks = MaskFolders(work.inputs["pseudo_labels"])
    pool = [p for p in weak.photos if p.source == "target" or work.identity.get("extra_in_stage_2")]
    labelled = [photo for photo in pool if photo.id in masks]
    # Stage 2 has the same budget for every method: with fewer masks than photos, each comes more often.
    photos = tuple(islice(cycle(labelled), max(len(labelled), len(pool))))
    data = PseudoLabelled(photos, weak.label_space, masks.read)
    _write_fit(work, segmenter.fit(data, bank, work.backbone, work.context))


def segment(work: Work) -> None:
    """A segmentation network over photos without labels → predictions."""
    from settings.records import LabelSpace

    segmenter = work.component("segmenter")
    weights = work.weights()
    photos = [photo.without_labels() for photo in work.photos()]
    space = LabelSpace(tuple(work.stage.runtime["classes"]))
    predictions = segmenter.apply(photos, space, weights, work.bank(), work.backbone, work.context)
    _write_masks(work, zip([photo.id for photo in photos], predictions, strict=True))


def gallery(work: Work) -> None:
    """Photo | maps | pseudo label | prediction | truth, one line a photo, as PNGs.

    Where scores are among the inputs, the photos are the best, the median and the worst by them, else all of the stage.
    `gallery.png` may be given away: it shows outlines in place of photos that are not ours; `photos.png` is for the
    user's own eyes then.
    """
    from harness.drawing.overlays import outlines
    from harness.drawing.sheet import maps_column, masks_column, to_png

    rows = _gallery_rows(work)
    gate, split = work.gate("show"), work.stage.runtime["split"]
    maps = stored_maps(work.inputs["maps"], {row.photo.id for row in rows})
    columns = [maps_column("localization maps", maps.get)]
    if "refined" in work.inputs:
        columns.append(maps_column("refined", stored_maps(work.inputs["refined"], {row.photo.id for row in rows}).get))
    for role, head in {"pseudo_labels": "pseudo label", "masks": "prediction"}.items():
        if role in work.inputs:
            columns.append(masks_column(head, MaskFolders(work.inputs[role]).read))
    columns.append(masks_column("truth", partial(gate.mask, split)))
    bases = {"gallery.png": None} if work.dataset.photos_are_ours else {"photos.png": None, "gallery.png": outlines}
    for name, base in bases.items():
        png = to_png(rows, columns, work.dataset.label_space, work.stage.runtime["title"], base)
        work.attempt.path(name).write_bytes(png)
    work.write_ledger(gate.entries())


def _gallery_rows(work: Work) -> list[Row]:
    from harness.drawing.sheet import Row
    from results.per_image import joined, read_table
    from results.photo_scores import best_median_worst, miou_by_image

    photos = {photo.id: photo for photo in work.photos()}
    if "scores" not in work.inputs:
        return [Row(photo) for photo in photos.values()]
    table = joined([read_table(artefact.path("counts.parquet")) for artefact in work.inputs["scores"]])
    scores = miou_by_image(table, work.dataset.label_space.foreground + 1)
    picks = best_median_worst(scores, work.identity["count"])
    return [Row(photos[pick.image], f"{pick.place}: mIoU {pick.miou:.3f}") for pick in picks]


def _request(work: Work) -> FeatureRequest:
    return FeatureRequest(work.identity["scale"], work.identity["flip"], work.identity["level"])


def _write_fit(work: Work, fit: Fit) -> None:
    from safetensors.torch import save_file

    save_file(fit.weights, work.attempt.path("weights.safetensors"))
    work.attempt.path("log.json").write_text(json.dumps([dict(row) for row in fit.log]), encoding="utf-8")


def _write_masks(work: Work, masks: Iterator[tuple[str, Mask]]) -> None:
    for done, (photo_id, mask) in enumerate(masks, 1):
        write_mask(work.attempt.path(f"{photo_id}.png"), mask)
        work.progress(done)


def _counted(work: Work, records: Iterator[Any]) -> Iterator[Any]:
    for done, record in enumerate(records, 1):
        yield record
        work.progress(done)


STAGES: Mapping[str, Callable[[Work], None]] = {
    "weak_set": weak_set,
    "localizer_fit": localizer_fit,
    "localizer_apply": localizer_apply,
    "cue_fit": cue_fit,
    "cue": cue,
    "reveal": reveal,
    "refiner_fit": refiner_fit,
    "refiner_apply": refiner_apply,
    "label": label,
    "segmenter_fit": segmenter_fit,
    "segment": segment,
    "gallery": gallery,
    **FILTER_STAGES,
    **ROW_STAGES,
    **DIAGNOSTIC_STAGES,
}
