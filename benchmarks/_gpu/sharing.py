"""Processes: nccl's own, stages that share a GPU by Ray's fractions, and two processes that train one network."""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch
from torch import distributed

import harness
from benchmarks._gpu.place import Place, complete
from benchmarks._gpu.report import Measure, at_most, is_true
from harness.reports.leaderboard import Finished
from harness.store.events import Ending, Event
from harness.store.store import Store

TITLE, LIMIT_S = "nccl, and processes that share a GPU", 60
SUITE = (
    "recipes={cam: {localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}, labeler: threshold}}",
    *("references=[]", "segmenter=none", "gallery=0", "dataset.val=2"),
)
HALVES = "resources={features: {gpu: 0.5}, localizer_fit: {gpu: 0.5}, localizer_apply: {gpu: 0.5}}"
MIOU = 0.05


def measures(place: Place) -> Iterator[Measure]:
    """One process of nccl (gloo in a rehearsal), two stages at once on half a GPU each, two processes that train."""
    backend = place.size("nccl", "gloo")
    meeting = f"file://{place.folder / 'meeting'}"
    distributed.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
    values = torch.arange(1000.0, device=place.device)
    distributed.all_reduce(values)
    yield is_true(
        f"{backend}, one process: a sum over all is that of one",
        bool((values.cpu() == torch.arange(1000.0)).all()),
        "yes",
    )
    distributed.destroy_process_group()
    alone = _run(place, "serial", "serial", 1)
    yield complete("one process, one stage at a time", alone)
    # A machine without a GPU has none to share out.
    shared = _run(place, "ray", "ray", 2, *place.size((HALVES,), ()))
    yield complete("two stages at once on half a GPU each, by Ray", shared)
    yield is_true("two were at work at one time", _at_once(shared) > 1, "yes")
    yield at_most("mIoU beside one at a time", _apart(alone, shared), MIOU, "apart")
    trained = _run(place, "serial", "team", 2, "compute.train_processes=2")
    yield complete("two processes train one network on one GPU", trained)
    yield at_most("mIoU beside one process", _apart(alone, trained), MIOU, "apart")


def _run(place: Place, executor: harness.execution.ExecutorName, name: str, slots: int, *overrides: str) -> Finished:
    # Several shards of 64 photos, so that two can be at work at one time.
    given = [f"compute.device={place.device}", f"dataset.train={place.size(400, 120)}"]
    return harness.run("smoke", place.folder / name, executor, [*SUITE, *given, *overrides], slots)


def _apart(one: Finished, other: Finished) -> float:
    """The largest difference of mIoU between rows of the same place."""
    pairs = zip(one.board.rows, other.board.rows, strict=True)
    return max(abs(a.miou - b.miou) for a, b in pairs)


def _at_once(finished: Finished) -> int:
    """The most processes that had a stage begun and not ended, by the run's log."""
    (log,) = Store(finished.run.store_folder).logs()
    by_process: dict[int, set[str]] = {}
    most = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == Event.STARTED:
            by_process.setdefault(event["pid"], set()).update(event["stages"])
        elif event["event"] == Ending.DONE:
            for stages in by_process.values():
                stages.difference_update(event["stages"])
        most = max(most, sum(1 for stages in by_process.values() if stages))
    return most
