"""Pseudo labels as stages: maps (and saliency) → masks to train segmentation on; or true masks, for a ceiling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.stages.contract import checked_mask, named
from harness.stages.cue import plan_saliency
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.line import Line
from harness.stages.refiner import plan_final_maps
from harness.stages.source import once, photo_ids
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.stages.work import Work
from harness.store.layout import ChoiceFiles, MapFiles, MaskFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import Labeler
from settings.masks import write_mask
from settings.records import Photo

__all__ = ["Label", "Reveal", "plan_pseudo_labels", "plan_revealed", "read_threshold"]


@dataclass(frozen=True, kw_only=True)
class LabelIdentity(Identity):
    """The labeler and the photos; maps, saliency and a chosen threshold are among the inputs."""

    component: ComponentIdentity
    photos: str
    """sha256 over ids and photo contents."""
    labels: str | None = None
    """sha256 over ids and labels, for labelers that read no maps: maps are those of the labels already."""
    files: str | None = None
    """sha256 over the files of other programs that it reads for these photos."""


class Label(StageKind[LabelIdentity, PhotosRuntime]):
    """Localization maps of a shard → pseudo labels, one PNG a photo."""

    name = "label"
    identity = LabelIdentity
    runtime = PhotosRuntime
    writes = MaskFiles
    seconds_a_photo = 0.002
    bytes_a_photo = 20_000

    def run(self, work: Work[LabelIdentity, PhotosRuntime]) -> None:
        """Label photo by photo, at the declared threshold or at the one that a policy chose."""
        labeler: Labeler = work.component(work.identity.component)
        # The choice is an input and in no option: planning names this stage before the threshold is known.
        for choice in work.read("select", ChoiceFiles):
            labeler = labeler.with_threshold(read_threshold(choice))
        photos, files = work.photos(), work.files(MaskFiles)
        maps = maps_of_photos(work.read("maps", MapFiles), photo_ids(photos))
        saliency = StoredMasks(work.read("cue", MaskFiles))
        who, classes = named(work.identity.component), work.dataset.label_space.foreground
        for photo in work.counted(photos):
            found = maps.get(photo.id)
            mask = labeler.label(photo, found, saliency.saliency(photo.id))
            size = found.image_size if found else None
            write_mask(files.of(photo.id), checked_mask(who, photo, mask, classes, size))
        work.check_files(labeler)


@dataclass(frozen=True, kw_only=True)
class RevealIdentity(Identity):
    """The data set, and the contents of the true masks that a ceiling is trained on."""

    dataset: Mapping[str, object]
    masks: str
    """sha256 over ids and mask contents."""


class Reveal(StageKind[RevealIdentity, PhotosRuntime]):
    """True masks, handed to a ceiling as its pseudo labels."""

    name = "reveal"
    identity = RevealIdentity
    runtime = PhotosRuntime
    writes = MaskFiles
    sources = "settings.revealing"

    def run(self, work: Work[RevealIdentity, PhotosRuntime]) -> None:
        """Copy the masks through the gate, so that every row which comes of them counts them as trained on."""
        gate, files = work.gate("train"), work.files(MaskFiles)
        for photo in work.counted(work.photos()):
            write_mask(files.of(photo.id), gate.mask_of(photo.id))
        work.write_ledger(gate.entries())


@once
def plan_pseudo_labels(line: Line, shard: int, choice: Ref | None = None) -> Ref:
    """Pseudo labels of a shard, at the declared threshold or at the one that a policy's `choice` stage finds."""
    labeler = line.components.labeler
    assert labeler is not None
    photos = line.source.shards[shard]
    inputs: dict[str, tuple[Ref, ...]] = {}
    labels = None
    if labeler.needs_maps:
        inputs["maps"] = (plan_final_maps(line, shard),)
    else:
        labels = line.source.labels(shard)
    if labeler.needs_cue:
        inputs["cue"] = (plan_saliency(line, shard),)
    if choice is not None:
        inputs["select"] = (choice,)
    return line.blueprint.add(
        Label(),
        LabelIdentity(
            component=line.components.identity("labeler"),
            photos=line.source.content(shard),
            labels=labels,
            files=line.source.files(labeler, shard),
        ),
        line.source.runtime(photos, line.components.places("labeler"), line.source.short_files(labeler, shard)),
        inputs=inputs,
        label=line.label(f"pseudo labels {shard}"),
        group=line.group("pseudo labels"),
        photos=len(photos),
    )


@once
def plan_revealed(line: Line) -> tuple[Ref, ...]:
    """True masks in place of pseudo labels, for a ceiling, one artefact a shard; none for any other recipe."""
    count = line.components.reveal
    if count is None:
        return ()
    chosen = line.blueprint.revealed(count, line.rng_seed)
    found = []
    for shard in line.source.shards:
        if photos := [photo for photo in shard if photo.id in chosen]:
            found.append(_plan_reveal(line, photos))
    return tuple(found)


def _plan_reveal(line: Line, photos: Sequence[Photo]) -> Ref:
    dataset, ids = line.blueprint.dataset, photo_ids(photos)
    masks = line.blueprint.mask_contents(ids)
    return line.blueprint.add(
        Reveal(),
        RevealIdentity(dataset=dataset.identity(), masks=masks),
        line.source.runtime(photos, masks=line.blueprint.short_masks(ids)),
        label=line.label(f"true masks of {photos[0].id}…"),
        group=line.group("true masks"),
        photos=len(photos),
    )


def read_threshold(files: ChoiceFiles) -> float:
    """The threshold that a policy chose, in [0, 1], from the file of its `select` stage."""
    return float(json.loads(files.choice.read_text(encoding="utf-8"))["threshold"])
