"""What a running stage has at hand: its inputs, a folder to fill, and the surroundings that methods are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.stages.graph import Stage
from harness.stages.held_out import held_out_ids, without
from harness.stages.weak_set import kept_of
from harness.store.store import Artefact, Attempt, Store
from harness.suites.data import dataset_of, offer_of
from harness.suites.recipes import build_component
from methods.base import BackboneOptions
from methods.sharing import ALONE, Share
from settings.dataset import Dataset
from settings.records import Photo, WeakSet
from settings.setting import Offer
from settings.supervision import Gate, LedgerEntry, Purpose

if TYPE_CHECKING:
    import torch

    from methods.features import StoredFeatures

Progress = Callable[[int, int, str, Mapping[str, float]], None]


@dataclass(frozen=True)
class Context:
    """The StageContext that methods receive."""

    device: str
    precision: Literal["float32", "bfloat16"]
    rng_seed: int
    checkpoint_folder: Path
    report: Progress = field(repr=False)
    stop_asked: Callable[[], bool] = field(default=lambda: False, repr=False)
    halvings: int = 0
    share: Share = ALONE

    def progress(self, done: int, total: int, unit: str, **values: float) -> None:
        """Report that `done` of `total` units are finished."""
        self.report(done, total, unit, values)

    def is_stopping(self) -> bool:
        """Whether the run is asked to stop."""
        return self.stop_asked()

    def batch(self, photos: int) -> int:
        """How many photos go through a network at once: `photos`, or less where a GPU had too little memory."""
        return max(1, photos >> self.halvings)


@dataclass(frozen=True)
class Work:
    """One stage with its opened inputs, about to be run."""

    stage: Stage
    inputs: Mapping[str, tuple[Artefact, ...]]
    attempt: Attempt
    context: Context
    store: Store

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the outcome."""
        return self.stage.identity

    @property
    def dataset(self) -> Dataset:
        """The data set that the stage reads."""
        return dataset_of(self.stage.runtime["dataset"])

    def mask_folders(self) -> tuple[Path, ...]:
        """Where true masks lie that this stage might come across; a stage without a data set has none."""
        return self.dataset.mask_folders() if "dataset" in self.stage.runtime else ()

    @property
    def weak_set(self) -> WeakSet:
        """The photos and labels of the stage's setting; for a held-out fit without those that it leaves out.

        Where a filter decides which extra photos stay, the `weak_set` among the inputs tells.
        """
        weak = self.offer.weak
        for artefact in self.inputs.get("weak_set", ()):
            weak = kept_of(weak, artefact)
        return without(weak, held_out_ids(self.dataset)) if self.stage.runtime.get("held_out") else weak

    @property
    def offer(self) -> Offer:
        """What the stage's setting offers, before any filter."""
        return offer_of(self.stage.runtime["dataset"], self.stage.runtime["setting"])

    @property
    def backbone(self) -> BackboneOptions:
        """The suite's backbone."""
        return BackboneOptions.model_validate(self.stage.runtime["backbone"])

    def component(self, role: str) -> Any:
        """The stage's component, with the options of its key and those that say where its files lie."""
        content = self.identity["component"]
        options = {**content["options"], **self.stage.runtime.get("places", {})}
        return build_component(role, {**content, "options": options}, role)

    def photos(self) -> tuple[Photo, ...]:
        """The stage's photos: with labels under a setting, without them on val."""
        ids = self.stage.runtime["ids"]
        if "setting" not in self.stage.runtime:
            return tuple(self.dataset.photo(photo_id).without_labels() for photo_id in ids)
        by_id = {photo.id: photo for photo in self.offer.weak.photos}
        return tuple(by_id[photo_id] for photo_id in ids)

    def bank(self) -> StoredFeatures:
        """The stored features among the inputs."""
        from methods.features import StoredFeatures

        return StoredFeatures([artefact.path("features.safetensors") for artefact in self.inputs.get("features", ())])

    def weights(self, role: str = "weights") -> dict[str, torch.Tensor]:
        """The weights among the inputs; empty where there are none."""
        from safetensors.torch import load_file

        paths = [artefact.path("weights.safetensors") for artefact in self.inputs.get(role, ())]
        return {name: tensor for path in paths for name, tensor in load_file(path).items()}

    def gate(self, purpose: Purpose) -> Gate:
        """The way to masks; what was read is put on record by `write_ledger`."""
        return Gate(self.dataset, self.stage.kind, purpose)

    def write_ledger(self, entries: tuple[LedgerEntry, ...]) -> None:
        """Put what was read into the artefact's record."""
        ledger = tuple(entry.to_json() for entry in entries)
        self.attempt.record = replace(self.attempt.record, ledger=ledger)

    def progress(self, done: int, total: int | None = None) -> None:
        """Photos done."""
        self.context.progress(done, total or self.stage.photos, "photos")
