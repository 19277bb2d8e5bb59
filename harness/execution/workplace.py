"""What surrounds a stage while a process runs it: opened inputs, threads and GPU, plug-ins, guarded masks, memory."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.stages.graph import Stage
from harness.stages.plugins import plugins_of
from harness.stages.work import AnyWork, Process, Work
from harness.store.events import EventLog
from harness.store.store import Artefact, Attempt, Store
from methods.sharing import ALONE, Share
from settings.guard import guarded
from settings.plugins import plugged_in

__all__ = ["PeakMemory", "at_work", "opened", "resident_bytes"]
SAMPLE_S = 0.1


def opened(
    stage: Stage,
    store: Store,
    log: EventLog,
    keys: list[str],
    attempt: Attempt,
    share: Share = ALONE,
    halvings: int = 0,
) -> AnyWork:
    """A stage with its inputs opened and verified, and with what this process gives it.

    `keys` are those of all stages that run together: progress is told of them all. Raises Lost for an input that
    cannot be used.
    """

    def report(done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
        # Of several processes, which all do as much, one is enough to be heard.
        if share.is_first:
            log.progress(keys, done, total, unit, values)

    inputs: dict[str, tuple[Artefact, ...]] = {}
    for role, refs in stage.inputs.items():
        inputs[role] = tuple(store.open(ref) for ref in refs)
    process = Process(store.checkpoint_folder(stage.ref), report, log.is_stopping, halvings, share)
    return Work(stage, inputs, attempt, process, store)


@contextmanager
def at_work(works: Sequence[AnyWork], gpu: int | None = None) -> Iterator[None]:
    """Whatever runs stages, one or a bundle, runs them in this block.

    Their plug-ins are found, they have the threads and the kind of device that they were planned with, and a true mask
    that is opened past the gate raises UserError. The stages of a bundle differ in nothing of this.
    """
    first, kind = works[0], works[0].stage.kind
    plugins = plugins_of(work.stage for work in works)
    # In this order: where the masks of a data set lie, its plug-in may have to say.
    with plugged_in(plugins), _computing(first.stage, gpu), guarded(kind.name, first.mask_folders()):
        yield


@contextmanager
def _computing(stage: Stage, gpu: int | None) -> Iterator[None]:
    """The stage's threads and GPU, and torch's arithmetic for it; afterwards the process is as it was."""
    import torch

    from methods.memory import kept_memory
    from methods.training import flushed_denormals

    # A worker runs stages of different numbers of threads, and the sums of floats depend on the number.
    before = torch.get_num_threads()
    torch.set_num_threads(stage.threads)
    on_gpu = stage.device == "cuda"
    if on_gpu and gpu is not None:
        torch.cuda.set_device(gpu)
    try:
        with flushed_denormals(), kept_memory():
            yield
    finally:
        torch.set_num_threads(before)
        # Other processes on this GPU cannot have what stays in this one's cache.
        if on_gpu:
            torch.cuda.empty_cache()


class PeakMemory:
    """The highest resident memory of this process while a block runs, in bytes, sampled ten times a second (Linux)."""

    # Sampled, since the kernel's own peak is that of the whole process: a reused worker would tell of earlier stages.

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident_bytes())
            if self._stop.wait(SAMPLE_S):
                return


def resident_bytes() -> int:
    """Resident memory of this process in bytes; its all-time peak where the kernel does not tell."""
    # The second field of `statm` counts pages; `getrusage` counts units of 1,024 bytes.
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
