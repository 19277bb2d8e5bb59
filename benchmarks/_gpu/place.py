"""Where a part of the GPU check computes, at which size, and how it takes times there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from benchmarks._gpu.report import Measure
from harness.reports.leaderboard import Finished
from settings.dataset import Dataset
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.datasets.voc12 import Voc12, Voc12Options

ANIMALS = ("cat", "cow", "dog", "horse", "sheep", "person")
Size = TypeVar("Size")


@dataclass(frozen=True)
class Place:
    """A device; `tiny` is a rehearsal, whose numbers say nothing. `folder` is empty and goes afterwards."""

    device: str
    tiny: bool
    folder: Path

    def size(self, whole: Size, tiny: Size) -> Size:
        """The whole size on a GPU, the tiny one in a rehearsal."""
        return tiny if self.tiny else whole

    def wait(self) -> None:
        """Return when the GPU has done what it was asked for."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, step: Callable[[], object], rounds: int = 5) -> float:
        """Median seconds of a step, after two that warm up (one in a rehearsal)."""
        times = []
        warm, rounds = self.size((2, rounds), (0, 1))
        for _ in range(warm + rounds):
            self.wait()
            start = time.perf_counter()
            step()
            self.wait()
            times.append(time.perf_counter() - start)
        return median(times[warm:])

    def peak_bytes(self, step: Callable[[], object]) -> int:
        """The most memory of the GPU that tensors take while a step runs; 0 on a CPU, which is not measured."""
        if self.device != "cuda":
            step()
            return 0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step()
        self.wait()
        return torch.cuda.max_memory_allocated()

    def animals(self) -> Dataset:
        """voc12-animals below SEEDBED_REAL_DATA; rendered scenes where it is absent, and in a rehearsal."""
        root = self.animals_root()
        if root is None:
            return Scenes(ScenesOptions(train=self.size(437, 6), dev=self.size(1000, 2), val=2))
        return Voc12(Voc12Options(root=root, subset="voc12-animals", classes=ANIMALS))

    def animals_root(self) -> Path | None:
        """The folder of voc12-animals; None where it is absent, and in a rehearsal."""
        root = Path(os.environ["SEEDBED_REAL_DATA"]) / "voc12-animals"
        return None if self.tiny or not root.is_dir() else root


def complete(name: str, finished: Finished) -> Measure:
    """Whether a run made all of its suite; where it did not, the reason of its first failure."""
    if finished.exit_code == 0:
        return Measure(name, "complete", "", True, "complete")
    reasons = [*finished.run.result.failures.values(), "stopped, or not written"]
    return Measure(name, f"not complete: {reasons[0]}", "", False, "complete")


def memory(name: str, used: int) -> Measure:
    """Peak memory of the GPU as a measure; that of a CPU is not measured."""
    if not used:
        return Measure(f"{name}: peak memory", "not measured")
    return Measure(f"{name}: peak memory", round(used / 2**20), "MiB")
