"""What a store knows of a suite's trainings and results, put into a tracker, and on while a run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from harness.reports.folder import drawn_fits
from harness.reports.gathering import read_row
from harness.reports.status import is_running
from harness.stages.fit import FitIdentity, FitRuntime
from harness.stages.graph import Stage
from harness.stages.planning import make_plan
from harness.stages.rows import RowIdentity
from harness.store.backends.urls import Location, absolute
from harness.store.layout import FitFiles, Ref
from harness.store.store import Lost, Store
from harness.suites.suite import Suite
from harness.tracking.tracker import Subject, Track, Tracker
from results.lines import Column
from results.rows import TIERS, Row
from settings.errors import UserError
from settings.records import fingerprint

__all__ = ["Tracked", "track"]

INTERVAL_S = 2.0


class Tracked(NamedTuple):
    """What was put into a tracker by one call."""

    subjects: int
    points: int
    """Values that were not there before."""
    complete: int
    """Subjects of which everything is there."""


def track(suite: Suite, location: Location, tracker: Tracker, wait: Callable[[float], None] = time.sleep) -> Tracked:
    """Put training curves and rows of a suite into a tracker; while a run goes on in the store, what it makes too.

    Epochs of a training that goes on come from its checkpoints, where these lie on this machine. Raises UserError where
    there is no store, and what planning and the tracker raise.
    """
    plan, store = make_plan(suite), Store.at(absolute(location))
    if not store.exists():
        raise UserError(store.name, "no store", "a folder or URL that the suite is run on", "see --store")
    lines = _lines(suite, plan.graph, plan.rows)
    try:
        while True:
            # Asked first: what is published before a run ends is seen by the look after it.
            goes_on = is_running(store)
            for line in lines:
                line.look(store, tracker)
            if not goes_on:
                break
            wait(INTERVAL_S)
    finally:
        for line in lines:
            line.close()
    opened = [line for line in lines if line.track is not None]
    return Tracked(len(opened), sum(line.points for line in opened), sum(line.is_complete for line in opened))


@dataclass
class _Line:
    """A subject with what is still to be put into the tracker of it."""

    subject: Subject
    fits: list[Stage] = field(default_factory=list)
    rows: list[Ref] = field(default_factory=list)
    track: Track | None = None
    points: int = 0

    @property
    def is_complete(self) -> bool:
        return not self.fits and not self.rows

    def look(self, store: Store, tracker: Tracker) -> None:
        """Put there what is new in the store."""
        for stage in list(self.fits):
            is_done = store.has(stage.ref)
            for series, epoch, value in _curve(store, stage, is_done):
                self._log(tracker, series, epoch, value)
            if is_done:
                self.fits.remove(stage)
        for ref in list(self.rows):
            if store.has(ref):
                self._log_row(tracker, store, ref)
                self.rows.remove(ref)
        if self.track is not None:
            self.track.flush()

    def close(self) -> None:
        """Tell the tracker that nothing more comes from here."""
        if self.track is not None:
            self.track.close(self.is_complete)

    def _log_row(self, tracker: Tracker, store: Store, ref: Ref) -> None:
        try:
            row = read_row(store, ref)
        except Lost:
            return
        if row.miou is not None:
            self._log(tracker, f"mIoU/{Column(row.stage, row.variant).title}/{row.policy}", 0, row.miou)
            assert self.track is not None
            self.track.tell(_facts(row))

    def _log(self, tracker: Tracker, series: str, step: int, value: float) -> None:
        # Not before there is something to put there: a line that never ran leaves no empty run.
        if self.track is None:
            self.track = tracker.open(self.subject)
        if step > self.track.last_step(series):
            self.track.log(series, step, value)
            self.points += 1


def _lines(suite: Suite, graph: Mapping[Ref, Stage], rows: tuple[Ref, ...]) -> list[_Line]:
    found: dict[tuple[str, str, int], tuple[list[Stage], list[Ref]]] = {}
    for stage in drawn_fits(graph):
        assert isinstance(stage.identity, FitIdentity) and isinstance(stage.runtime, FitRuntime)
        place = (stage.runtime.recipe, stage.runtime.place.setting_label, stage.identity.rng_seed)
        found.setdefault(place, ([], []))[0].append(stage)
    for ref in rows:
        identity = graph[ref].identity
        assert isinstance(identity, RowIdentity)
        place = (identity.row.recipe, identity.row.setting, identity.row.rng_seed)
        found.setdefault(place, ([], []))[1].append(ref)
    lines = []
    for (recipe, setting, rng_seed), (fits, refs) in found.items():
        key = fingerprint(sorted([*(stage.key for stage in fits), *(ref.key for ref in refs)]))
        lines.append(_Line(Subject(suite.name, recipe, setting, rng_seed, key), fits, refs))
    return lines


def _curve(store: Store, stage: Stage, is_done: bool) -> Iterator[tuple[str, int, float]]:
    """Series, epoch and value of all that a training has logged: in its artefact, or so far in its checkpoint."""
    if is_done:
        try:
            log = json.loads(FitFiles(store.open(stage.ref).folder).log.read_text(encoding="utf-8"))
        except Lost:
            return
    else:
        log = _logged_epochs(store.checkpoint_folder(stage.ref))
    for number, epoch in enumerate(log):
        for term, value in epoch.items():
            if term != "epoch":
                yield f"{stage.kind.curve}/{term}", int(epoch.get("epoch", number)), float(value)


def _logged_epochs(folder: Path) -> list[Mapping[str, float]]:
    """What a training that goes on has logged so far, a row an epoch; none before its first epoch is through."""
    for path in sorted(folder.glob("*.safetensors")):
        # Its header alone, without torch.
        try:
            with safe_open(path, framework="numpy") as file:
                log: list[Mapping[str, float]] = json.loads(file.metadata()["log"])
                return log
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            continue
    return []


def _facts(row: Row) -> dict[str, str]:
    """What the line is, by name; without what nobody knows of it."""
    names = ("dataset", "recipe", "setting", "supervision", "training_mode", "backbone", "backbone_size", "arithmetic")
    told = {name: str(getattr(row, name)) for name in names if getattr(row, name)}
    told[f"true masks of {row.split}"] = row.evaluation_fingerprint[:12]
    return {**told, "rng_seed": str(row.rng_seed), "tier": TIERS[row.tier]}
