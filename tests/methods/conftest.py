"""What methods are given, made by hand: surroundings, photos, and features with evidence at known places."""

import math
import multiprocessing
import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, FeatureRequest, Surroundings
from methods.sharing import Share
from settings.records import LabelSpace, Mask, Photo, WeakSet

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=8)
SPACE = LabelSpace(("class0", "class1", "class2"))


@dataclass(frozen=True)
class Noted(Surroundings):
    """Surroundings of the toy set that note what is reported."""

    label_space: LabelSpace = SPACE
    backbone: BackboneOptions = SMALL
    reports: list[tuple[int, int, str, Mapping[str, float]]] = field(default_factory=list)
    stops_after: float = math.inf
    """Reports, after which the run is asked to stop."""

    def progress(self, done: int, total: int, unit: str, **values: float) -> None:
        self.reports.append((done, total, unit, values))
        super().progress(done, total, unit, **values)

    def is_stopping(self) -> bool:
        return bool(self.reports) and len(self.reports) >= self.stops_after


@dataclass
class MemoryBank:
    """A FeatureBank: `features[level][photo id]` (C, h, w); a flipped request gets exactly the mirrored features."""

    features: Mapping[int, Mapping[str, np.ndarray]]
    sizes: Mapping[str, tuple[int, int]]
    asked: list[FeatureRequest] = field(default_factory=list)

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        self.asked += requests
        pairs = zip(ids, requests, strict=True)
        rows = [self.features[r.level][photo_id][:, :, :: -1 if r.flip else 1] for photo_id, r in pairs]
        return torch.from_numpy(np.stack(rows)).float()

    def image_size(self, photo_id: str) -> tuple[int, int]:
        return self.sizes[photo_id]


@dataclass
class Toy:
    """Photos of `side`² pixels whose classes fill known boxes; channel k of the features is high in class k's box."""

    weak: WeakSet
    bank: MemoryBank
    truth: Mapping[str, Mask]
    """At photo size, without unknown pixels."""
    small: Mapping[str, Mask]
    """On the grid of level 4."""


def make_photo(photo_id: str, labels: tuple[int, ...] = (), image: np.ndarray | None = None) -> Photo:
    pixels = np.zeros((32, 32, 3), np.uint8) if image is None else image
    return Photo(photo_id, labels, f"content of {photo_id}", lambda: pixels)


def make_toy(photos: int = 48, classes: int = 3, side: int = 64, grid: int = 8) -> Toy:
    """Levels 1–3 (side / 4, / 8, / 16) and 4 (`grid`), each with one channel a class and four of noise."""
    rng, between = np.random.default_rng(7), np.random.default_rng(8)
    records, small, truth = [], {}, {}
    features: dict[int, dict[str, np.ndarray]] = {1: {}, 2: {}, 3: {}, 4: {}}
    for index in range(photos):
        photo_id = f"p{index:03d}"
        mask = np.zeros((grid, grid), np.uint8)
        for label in rng.permutation(classes)[: 1 + index % 2]:
            top, left = rng.integers(0, grid - 3, 2)
            mask[top : top + 4, left : left + 4] = label + 1
        labels = tuple(int(value) - 1 for value in np.unique(mask) if value)
        records.append(make_photo(photo_id, labels, np.full((side, side, 3), index, np.uint8)))
        small[photo_id], truth[photo_id] = mask, mask.repeat(side // grid, 0).repeat(side // grid, 1)
        for level, cells in ((1, side // 4), (4, grid), (2, side // 8), (3, side // 16)):
            at_level = truth[photo_id][:: side // cells, :: side // cells]
            noise = 0.1 * (rng if level in (1, 4) else between).random((classes + 4, cells, cells))
            noise[:classes] += at_level == np.arange(1, classes + 1)[:, None, None]
            features[level][photo_id] = noise.astype(np.float32)
    space = LabelSpace(tuple(f"class{k}" for k in range(classes)))
    bank = MemoryBank(features, {photo.id: (side, side) for photo in records})
    return Toy(WeakSet(tuple(records), space), bank, truth, small)


@pytest.fixture
def surroundings(tmp_path: Path) -> Callable[..., Noted]:
    """Makes surroundings, with a checkpoint folder of their own each unless one is given."""
    made: list[Noted] = []

    def make(**changes: Any) -> Noted:
        made.append(Noted(**{"checkpoint_folder": tmp_path / f"checkpoints{len(made)}"} | changes))
        return made[-1]

    return make


def run_together(size: int, folder: Path, work: Callable[[Share], Any], sync_batch_norm: bool = True) -> list[Any]:
    """What `work` gives in each of so many forked processes that are one gloo group; what one raises is raised here."""
    fork = multiprocessing.get_context("fork")
    folder.mkdir(parents=True, exist_ok=True)

    def main(rank: int, sender: Any) -> None:
        try:
            store = torch.distributed.FileStore(str(folder / "rendezvous"), size)
            torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
            answer = work(Share(rank, size, sync_batch_norm)), ""
        except Exception as error:
            answer = error, traceback.format_exc()
        # Bytes: torch would have multiprocessing pass tensors through memory that ends with this process.
        sender.send_bytes(pickle.dumps(answer))

    pipes = [fork.Pipe(duplex=False) for _ in range(size)]
    processes = [fork.Process(target=main, args=(rank, pipe[1])) for rank, pipe in enumerate(pipes)]
    for process in processes:
        process.start()
    answers = [pickle.loads(receiver.recv_bytes()) for receiver, _ in pipes]
    for process in processes:
        process.join()
    for answer, trace in answers:
        if isinstance(answer, Exception):
            raise answer from RuntimeError(trace)
    return [answer for answer, _ in answers]


@pytest.fixture
def together(tmp_path: Path) -> Callable[..., list[Any]]:
    """Runs a function of a `Share` in several processes that train together: `run_together` with a folder a call."""
    calls: list[int] = []

    def run(size: int, work: Callable[[Share], Any], **how: Any) -> list[Any]:
        calls.append(size)
        return run_together(size, tmp_path / f"group{len(calls)}", work, **how)

    return run


@pytest.fixture
def photo() -> Callable[..., Photo]:
    return make_photo


@pytest.fixture(scope="session")
def toy() -> Toy:
    return make_toy()


@pytest.fixture
def memory_bank() -> type[MemoryBank]:
    return MemoryBank
