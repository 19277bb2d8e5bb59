"""The stages that measure what the rows do not show: classifier and maps of a localizer on dev, and a cue's shapes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from harness.stages.stored import MaskFolders
from harness.stages.work import Work
from methods.base import LocalizationMaps
from results.metrics.classification import mean_average_precision
from results.metrics.flatness import Flatness, flatness, mean_flatness
from results.metrics.foreground import Overlap, foreground_iou, overlap
from results.metrics.miou import nullable
from settings.records import Mask, WeakSet
from settings.supervision import LedgerEntry


def examine(work: Work) -> None:
    """The weights of the held-out fit and features of the photos it left out → scores, and their mAP.

    `scores.npz` has ids (N), scores_NK (logits) and labels_NK (multi-hot); no mask is read. A localizer that gives no
    scores with these options has no measure.
    """
    photos, space = work.photos(), work.weak_set.label_space
    scores_NK = work.component("localizer").scores_NK(photos, work.surroundings())
    if scores_NK is None:
        _write(work, {})
        return
    labels_NK = WeakSet(photos, space).labels_NK()
    ids = tuple(photo.id for photo in photos)
    np.savez(work.attempt.path("scores.npz"), ids=np.array(ids), scores_NK=scores_NK, labels_NK=labels_NK)
    result = mean_average_precision(scores_NK, labels_NK)
    _write(
        work,
        {"classifier mAP": result.mean},
        per_class=dict(zip(space.names, map(nullable, result.per_class), strict=True)),
        undefined=[space.names[class_id] for class_id in result.undefined],
    )
    work.write_ledger((LedgerEntry("image_labels", "dev", "choose", work.stage.kind, ids),))


def diagnose(work: Work) -> None:
    """Stored maps and views of dev photos against true masks → flatness by kind of map; and the localizer's measures.

    `views` gets what was trained on; `measures` the measured photos alone, so that it finds features of all of them.
    """
    from methods.localization import read_maps

    localizer, photos, weak = work.component("localizer"), work.photos(), work.weak_set
    gate, surroundings = work.gate("score"), replace(work.surroundings(), weak=weak)
    shards = (read_maps(shard.path("maps.safetensors")) for shard in work.inputs["maps"])
    final = {record.photo_id: record for shard in shards for record in shard}
    found: dict[str, list[Flatness]] = defaultdict(list)
    for done, photo in enumerate(photos, 1):
        truth_HW = gate.mask("dev", photo.id)
        views = localizer.views(photo, surroundings)
        for name, maps in {"maps": final[photo.id], **views}.items():
            found[name] += _by_label(maps, truth_HW)
        work.progress(done)
    measures = {
        f"flatness {where}, {name}": value
        for name, values in found.items()
        for where, value in mean_flatness(values)._asdict().items()
    }
    measured = replace(surroundings, weak=WeakSet(photos, weak.label_space))
    own = localizer.measures(photos, measured)
    _write(work, {**measures, **own})
    work.write_ledger(gate.entries())


def examine_cue(work: Work) -> None:
    """Saliency maps against true masks → foreground IoU of each split."""
    saliency, gate = MaskFolders(work.inputs["cue"]), work.gate("score")
    splits, overlaps = work.dataset.splits, dict[str, list[Overlap]]()
    split_of = {photo_id: split for split in ("dev", "train") for photo_id in splits[split]}
    for done, photo in enumerate(work.photos(), 1):
        split, map_HW = split_of[photo.id], saliency.saliency(photo.id)
        assert map_HW is not None
        overlaps.setdefault(split, []).append(overlap(map_HW, gate.mask(split, photo.id)))
        work.progress(done)
    _write(work, {f"foreground IoU of the cue, {split}": foreground_iou(of) for split, of in sorted(overlaps.items())})
    work.write_ledger(gate.entries())


def _by_label(maps: LocalizationMaps, truth_HW: Mask) -> list[Flatness]:
    """One for each label of the photo, at photo size."""
    from methods.upsampling import upsample

    pairs = zip(upsample(maps), maps.class_ids, strict=True)
    return [flatness(map_HW, truth_HW, class_id) for map_HW, class_id in pairs]


def _write(work: Work, measures: Mapping[str, float], **more: object) -> None:
    content = {"measures": {name: nullable(float(value)) for name, value in measures.items()}, **more}
    work.attempt.path("measures.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


DIAGNOSTIC_STAGES: Mapping[str, Callable[[Work], None]] = {
    "examine": examine,
    "diagnose": diagnose,
    "examine_cue": examine_cue,
}
