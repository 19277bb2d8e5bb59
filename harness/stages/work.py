"""What a running stage has at hand: its inputs, a folder to fill, and the surroundings that components are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from harness.stages.contract import DeclaredFeatures, named
from harness.stages.graph import Stage
from harness.stages.kind import DataRuntime, Identity, PhotosRuntime, Runtime
from harness.stages.planned import check_files, check_photos, check_weights
from harness.store.layout import FeatureFiles, FitFiles, StageFiles
from harness.store.store import Artefact, Attempt, Store
from harness.suites.data import Data, data_as_planned, offer_as_planned
from harness.suites.recipes import ComponentIdentity
from methods.base import Component, Surroundings
from methods.initial_weights import weight_files
from methods.sharing import ALONE, Share
from settings.components import build_component
from settings.dataset import Dataset
from settings.records import LabelSpace, Photo, WeakSet
from settings.setting import Offer
from settings.supervision import Gate, LedgerEntry, Purpose

if TYPE_CHECKING:
    from methods.base import FeatureBank, Weights

__all__ = ["AnyWork", "Process", "Work", "weights_in"]

Progress = Callable[[int, int, str, Mapping[str, float]], None]
SomeIdentity = TypeVar("SomeIdentity", bound=Identity, covariant=True)
SomeRuntime = TypeVar("SomeRuntime", bound=Runtime, covariant=True)
SomeFiles = TypeVar("SomeFiles", bound=StageFiles)
Item = TypeVar("Item")


def _says_nothing(done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
    """What `Process.report` does where nobody watches: a stage that is run alone, or in a test."""


@dataclass(frozen=True)
class Process:
    """What a stage may know of the process that runs it, and what it tells it."""

    checkpoint_folder: Path
    report: Progress = field(default=_says_nothing, repr=False)
    """Called with units done, units in all, the unit's name, and values to show beside."""
    stop_asked: Callable[[], bool] = field(default=lambda: False, repr=False)
    halvings: int = 0
    """How often batches of photos are halved, because a GPU had too little memory."""
    share: Share = ALONE
    """Which of the processes that train together this is."""


@dataclass(frozen=True)
class Work(Generic[SomeIdentity, SomeRuntime]):
    """One stage with its opened inputs, about to be run."""

    stage: Stage
    inputs: Mapping[str, tuple[Artefact, ...]]
    """The artefacts that it reads, by role, verified."""
    attempt: Attempt
    """The folder that it fills."""
    process: Process
    store: Store

    @property
    def identity(self) -> SomeIdentity:
        """What decides the outcome. `Stage` has checked that it is the identity of the stage's kind."""
        return cast("SomeIdentity", self.stage.identity)

    @property
    def runtime(self) -> SomeRuntime:
        """What the stage needs to run. `Stage` has checked that it is the runtime of the stage's kind."""
        return cast("SomeRuntime", self.stage.runtime)

    def files(self, kind: type[SomeFiles]) -> SomeFiles:
        """Where the stage's own files are to be written: in the attempt, which is published when `run` is through."""
        return kind(self.attempt.folder)

    def read(self, role: str, kind: type[SomeFiles]) -> list[SomeFiles]:
        """The files of the artefacts that have a role for this stage; none where there are no such inputs."""
        return [kind(artefact.folder) for artefact in self.inputs.get(role, ())]

    @cached_property
    def dataset(self) -> Dataset:
        """The data set that the stage reads, as it was planned; AssertionError for a stage without data."""
        return self._opened.dataset

    @cached_property
    def offer(self) -> Offer:
        """The photos and labels that the stage's setting offers, before any filter; raises AssertionError on val."""
        place = self._data.place
        assert place.setting is not None
        return offer_as_planned(self._opened, place.setting, place.setting_seen)

    def mask_folders(self) -> tuple[Path, ...]:
        """Where true masks lie that this stage might come across; a stage without a data set has none."""
        if not isinstance(self.stage.runtime, DataRuntime):
            return ()
        return self.dataset.mask_folders()

    def photos(self) -> tuple[Photo, ...]:
        """The stage's photos: with labels under a setting, without them on val.

        Raises UserError for one that has become another since the run was planned.
        """
        runtime = self._photos_runtime
        if runtime.place.setting is None:
            photos = tuple(self.dataset.photo(photo_id).without_labels() for photo_id in runtime.ids)
        else:
            # With the setting's labels, which may be others than the data set's own: those of `shuffled` are.
            by_id = {photo.id: photo for photo in self.offer.weak.photos}
            photos = tuple(by_id[photo_id] for photo_id in runtime.ids)
        check_photos(photos, runtime.photo_contents)
        return photos

    # Any: which base class a role has is known where the role is, and every caller names it.
    def component(self, identity: ComponentIdentity) -> Any:
        """The stage's component, with the options of its key and those that say where its files lie."""
        content = {"name": identity.name, "options": {**identity.options, **(self._data.places or {})}}
        return build_component(identity.role, content, identity.role)

    def check_files(self, component: Component) -> None:
        """Raise UserError where files of other programs, which were read, are not those that the key names."""
        runtime = self._photos_runtime
        check_files(component, self.photos(), runtime.file_contents)

    def check_backbone(self, backbone: Mapping[str, object]) -> None:
        """Raise UserError where the backbone's weights, which were read, are not those that this identity names."""
        planned = backbone.get("weight_files")
        # Descriptions of older versions name weights, and not what is in them.
        if isinstance(planned, (list, tuple)):
            check_weights(weight_files(self._data.place.backbone), planned)

    def bank(self) -> FeatureBank:
        """The stored features among the inputs, of all their shards; nothing is read before it is asked for."""
        from methods.features import StoredFeatures

        bank = StoredFeatures([files.features for files in self.read("features", FeatureFiles)])
        component = getattr(self.identity, "component", None)
        if not isinstance(component, ComponentIdentity):
            return bank
        return DeclaredFeatures(bank, named(component))

    def weights(self, role: str = "weights") -> Weights:
        """The weights among the inputs, by tensor name; empty where there are none."""
        return weights_in(self.read(role, FitFiles))

    def surroundings(
        self,
        label_space: LabelSpace,
        *,
        weak: WeakSet | None = None,
        bank: FeatureBank | None = None,
        weights: Weights | None = None,
    ) -> Surroundings:
        """What a component is given beside its data: this stage's weights, features, arithmetic and process."""
        numerics, process = self.stage.numerics, self.process
        # On a CPU it is called by what is rounded there.
        precision: Literal["float32", "bfloat16"] = "float32"
        if numerics.precision.startswith("bfloat16"):
            precision = "bfloat16"
        # What draws nothing has no rng seed in its key, so that all rng seeds share it.
        rng_seed = getattr(self.identity, "rng_seed", None) or 0
        return Surroundings(
            label_space=label_space,
            backbone=self._data.place.backbone,
            weights=weights or {},
            bank=bank,
            weak=weak,
            device=numerics.device,
            precision=precision,
            rng_seed=rng_seed,
            checkpoint_folder=process.checkpoint_folder,
            share=process.share,
            report=process.report,
            stop_asked=process.stop_asked,
            halvings=process.halvings,
        )

    def gate(self, purpose: Purpose) -> Gate:
        """The way to true masks; what was read through it is put on record by `write_ledger`."""
        planned: Mapping[str, str] = {}
        runtime = self._photos_runtime
        if runtime.mask_contents is not None:
            planned = dict(zip(runtime.ids, runtime.mask_contents, strict=True))
        return Gate(self.dataset, self.stage.kind.name, purpose, planned)

    def write_ledger(self, entries: tuple[LedgerEntry, ...]) -> None:
        """Put on the artefact's record which labels or masks were read, and why: rows sum that up over ancestors."""
        ledger = tuple(entry.to_json() for entry in entries)
        self.attempt.record = replace(self.attempt.record, ledger=ledger)

    def progress(self, done: int, total: int | None = None) -> None:
        """Report that so many photos are done, of `total` or of all that the stage has."""
        self.process.report(done, total or self.stage.photos, "photos", {})

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items as they come, one a photo, with progress reported after each."""
        for done, item in enumerate(items, 1):
            yield item
            self.progress(done)

    @cached_property
    def _opened(self) -> Data:
        place = self._data.place
        return data_as_planned(place.dataset, place.dataset_seen)

    @property
    def _photos_runtime(self) -> PhotosRuntime:
        assert isinstance(self.stage.runtime, PhotosRuntime)
        return self.stage.runtime

    @property
    def _data(self) -> DataRuntime:
        assert isinstance(self.stage.runtime, DataRuntime)
        return self.stage.runtime


# Any: for those that hand a stage on, whatever its kind, and look neither at identity nor at runtime.
AnyWork = Work[Any, Any]


def weights_in(fits: Iterable[FitFiles]) -> Weights:
    """All tensors of some fits by name; they are loaded into main memory."""
    from safetensors.torch import load_file

    weights: Weights = {}
    for fit in fits:
        weights |= load_file(fit.weights)
    return weights
