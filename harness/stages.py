"""The kinds of stage: what each reads, does and writes. Every kind is one function of the `Work` it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.context import Work
from harness.parts import build_component
from harness.scoring import ROW_STAGES
from harness.store import Artefact
from methods.base import FeatureRequest, Fit, PseudoLabelled
from settings.masks import read_mask, write_mask
from settings.records import Mask
from settings.supervision import LedgerEntry

if TYPE_CHECKING:
    import torch

    from methods.features import StoredFeatures


def run_together(works: Sequence[Work]) -> None:
    """Run the stages of one job: a bundle of features shares its passes, everything else is alone."""
    if works[0].stage.kind == "features":
        features(works)
    else:
        (work,) = works
        STAGES[work.stage.kind](work)


def weak_set(work: Work) -> None:
    """Write down what methods see: photos, sources, labels, fingerprint."""
    weak = work.weak_set
    photos = [{"id": p.id, "source": p.source, "labels": p.labels, "content": p.content} for p in weak.photos]
    content = {"classes": weak.label_space.names, "fingerprint": weak.fingerprint, "photos": photos}
    work.attempt.path("photos.json").write_text(json.dumps(content), encoding="utf-8")
    ids = tuple(photo.id for photo in weak.photos)
    work.write_ledger((LedgerEntry("image_labels", "train and dev", "train", work.stage.kind, ids),))


def features(works: Sequence[Work]) -> None:
    """Photos → stored features; the works differ in scale, flip and level alone."""
    from methods.features import compute, write_shard
    from methods.networks.backbones import build
    from methods.training import part_of

    first = works[0]
    requests = [_request(work) for work in works]
    fitted = part_of(_weights(first.inputs["backbone"]), "backbone") if first.inputs.get("backbone") else None
    levels = sorted({request.level for request in requests})
    backbone = build(first.backbone, levels, fitted).for_inference().to(first.context.device)
    computed = compute(backbone, first.photos(), requests, first.context.device, first.progress)
    for work, request in zip(works, requests, strict=True):
        path = work.attempt.path("features.safetensors")
        write_shard(path, request, computed.shard, computed.features[request])


def localizer_fit(work: Work) -> None:
    """Weak set (and stored features) → a localizer's weights."""
    localizer = build_component("localizer", work.identity["component"], "localizer")
    bank = _bank(work) if work.identity["training_mode"] == "frozen" else None
    _write_fit(work, localizer.fit(work.weak_set, bank, work.backbone, work.context))


def localizer_apply(work: Work) -> None:
    """Weights and features of a shard → localization maps."""
    from methods.localization import write_maps

    localizer = build_component("localizer", work.identity["component"], "localizer")
    records = localizer.apply(work.photos(), _weights(work.inputs["weights"]), _bank(work), work.context)
    write_maps(work.attempt.path("maps.safetensors"), _counted(work, records))


def label(work: Work) -> None:
    """Localization maps of a shard → pseudo labels."""
    from methods.localization import read_maps

    labeler = build_component("labeler", work.identity["component"], "labeler")
    if "select" in work.inputs:
        (choice,) = work.inputs["select"]
        labeler = labeler.with_threshold(json.loads(choice.path("choice.json").read_text())["threshold"])
    shards = work.inputs.get("maps", ())
    maps = {record.photo_id: record for shard in shards for record in read_maps(shard.path("maps.safetensors"))}
    masks = ((photo.id, labeler.label(photo, maps.get(photo.id))) for photo in work.photos())
    _write_masks(work, masks)


def segmenter_fit(work: Work) -> None:
    """Pseudo labels (and stored features) → a segmentation network's weights."""
    segmenter = build_component("segmenter", work.identity["component"], "segmenter")
    bank = _bank(work) if work.identity["training_mode"] == "frozen" else None
    weak = work.weak_set
    masks = MaskFolders(work.inputs["pseudo_labels"])
    data = PseudoLabelled(weak.photos, weak.label_space, masks.read)
    _write_fit(work, segmenter.fit(data, bank, work.backbone, work.context))


def segment(work: Work) -> None:
    """A segmentation network over photos without labels → predictions."""
    from settings.records import LabelSpace

    segmenter = build_component("segmenter", work.identity["component"], "segmenter")
    weights = _weights(work.inputs["weights"]) if "weights" in work.inputs else {}
    photos = [photo.without_labels() for photo in work.photos()]
    space = LabelSpace(tuple(work.stage.runtime["classes"]))
    predictions = segmenter.apply(photos, space, weights, _bank(work), work.backbone, work.context)
    _write_masks(work, zip([photo.id for photo in photos], predictions, strict=True))


def gallery(work: Work) -> None:
    """Photo | maps | pseudo label | prediction | truth, one line a photo, as PNGs.

    `gallery.png` may be given away: it shows outlines in place of photos that are not ours; `photos.png` is for the
    user's own eyes then.
    """
    from harness.gallery import Panel, draw, outlines
    from methods.localization import read_maps

    shards = (read_maps(shard.path("maps.safetensors")) for shard in work.inputs["maps"])
    maps = {record.photo_id: record for shard in shards for record in shard}
    gate = work.gate("show")
    labels, predictions = MaskFolders(work.inputs["pseudo_labels"]), MaskFolders(work.inputs["masks"])
    panels = [
        Panel(p.id, p.image(), maps[p.id], labels.read(p.id), predictions.read(p.id), gate.mask("train", p.id))
        for p in work.photos()
    ]
    pictures = {"gallery.png": panels}
    if not work.dataset.photos_are_ours:
        bare = [panel._replace(image=outlines(panel.image)) for panel in panels]
        pictures = {"photos.png": panels, "gallery.png": bare}
    for name, shown in pictures.items():
        draw(work.attempt.path(name), shown, work.dataset.label_space, work.stage.runtime["name"])
    work.write_ledger(gate.entries())


class MaskFolders:
    """Masks of several shards by photo id."""

    def __init__(self, artefacts: Sequence[Artefact]) -> None:
        self._paths = {name: artefact.path(name) for artefact in artefacts for name in artefact.record["files"]}

    def read(self, photo_id: str) -> Mask:
        """uint8 (H, W)."""
        return read_mask(self._paths[f"{photo_id}.png"])


def _request(work: Work) -> FeatureRequest:
    return FeatureRequest(work.identity["scale"], work.identity["flip"], work.identity["level"])


def _bank(work: Work) -> StoredFeatures:
    from methods.features import StoredFeatures

    return StoredFeatures([artefact.path("features.safetensors") for artefact in work.inputs.get("features", ())])


def _weights(artefacts: Sequence[Artefact]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (artefact,) = artefacts
    return load_file(artefact.path("weights.safetensors"))


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
    "label": label,
    "segmenter_fit": segmenter_fit,
    "segment": segment,
    "gallery": gallery,
    **ROW_STAGES,
}
