"""What is put into trackers: every epoch and row of a store once, and what a run makes while it goes on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from harness.reports.leaderboard import Finished
from harness.stages.fit import FitRuntime
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.suite import load_suite
from harness.tracking import following
from harness.tracking.following import track
from harness.tracking.tracker import Subject, Track, Tracker
from settings.discovery import TRACKERS
from settings.errors import UserError


class Notes(Track):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.values: dict[str, dict[int, float]] = {}
        self.facts: dict[str, str] = {}
        self.closed: list[bool] = []

    def last_step(self, series: str) -> int:
        return max(self.values.get(series, {}), default=-1)

    def log(self, series: str, step: int, value: float) -> None:
        assert step > self.last_step(series)
        self.values.setdefault(series, {})[step] = value

    def tell(self, facts: Mapping[str, str]) -> None:
        self.facts |= facts

    def flush(self) -> None: ...

    def close(self, is_over: bool) -> None:
        self.closed.append(is_over)


class Notebook(Tracker):
    """A note for each subject, by its name."""

    package = "json"

    def __init__(self) -> None:
        super().__init__("")
        self.notes: dict[str, Notes] = {}

    def open(self, subject: Subject) -> Track:
        return self.notes.setdefault(subject.name, Notes())

    def place(self) -> str:
        return "here"


def test_a_finished_run_is_told_once(smoke: Finished) -> None:
    tracker, suite = Notebook(), load_suite("smoke")
    found = track(suite, smoke.run.store_folder, tracker)
    curves = pd.read_csv(smoke.folder / "training.csv")
    points = 0
    for line in curves.itertuples():
        note = tracker.notes[f"{line.recipe} · {line.setting} · rng seed {line.rng_seed}"]
        assert note.values[f"{line.step}/{line.term}"][line.epoch] == pytest.approx(line.value, rel=1e-12)
        points += 1
    for row in smoke.board.rows:
        note = tracker.notes[f"{row.recipe} · {row.setting} · rng seed {row.rng_seed}"]
        title = f"{row.stage.replace('_', ' ')} {row.variant}".strip()
        assert note.values[f"mIoU/{title}/{row.policy}"] == {0: row.miou}
        assert note.facts["dataset"] == "scenes" and note.facts["tier"] == "recomputed here"
        points += 1
    assert found == (6, points, 6)
    assert all(note.closed == [True] for note in tracker.notes.values())
    assert track(suite, smoke.run.store_folder, tracker).points == 0


def test_epochs_of_a_training_that_goes_on_come_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, store, tracker = load_suite("smoke"), Store.at(tmp_path / "store").create(), Notebook()
    fits = [stage for stage in make_plan(suite).graph.values() if isinstance(stage.runtime, FitRuntime)]
    fit = next(stage for stage in fits if stage.kind.curve == "localizer" and stage.runtime.recipe == "cam")
    log: list[dict[str, float]] = []

    def one_epoch_more(*_: float) -> None:
        log.append({"epoch": len(log), "classification": 1 / (len(log) + 1)})
        path = store.checkpoint_folder(fit.ref) / "training.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": np.zeros(1, np.float32)}, path, {"log": json.dumps(log)})

    running = iter([True, True, True, False])
    monkeypatch.setattr(following, "is_running", lambda _: next(running))
    found = track(suite, store.root, tracker, one_epoch_more)
    assert tracker.notes["cam · clean · rng seed 0"].values == {"localizer/classification": {0: 1.0, 1: 0.5, 2: 1 / 3}}
    assert found == (1, 3, 0)
    assert [note.closed for note in tracker.notes.values()] == [[False]]


def test_without_a_store_or_a_tracker_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="found no store"):
        track(load_suite("smoke"), tmp_path / "nowhere", Notebook())
    assert TRACKERS.names() == ("mlflow", "tensorboard", "wandb")
    for name in TRACKERS.names():
        monkeypatch.setattr("harness.tracking.tracker.find_spec", lambda _: None)
        with pytest.raises(UserError, match=rf"--to: found {name}, which is not installed.*seedbed\[{name}\]"):
            TRACKERS.load(name).check_installed()


def opened(name: str, where: str) -> Callable[[], Track]:
    pytest.importorskip(name)
    subject = Subject("suite", "cam+(a)", "clean", 0, "k" * 64)
    return lambda: TRACKERS.load(name)(where).open(subject)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_tracker_knows_what_it_has(name: str, tmp_path: Path) -> None:
    where = {"tensorboard": str(tmp_path), "mlflow": f"sqlite:///{tmp_path}/mlflow.db"}[name]
    again = opened(name, where)
    for first in (0, 2):
        place = again()
        assert place.last_step("localizer/loss") == first - 1
        for step in range(first, first + 2):
            place.log("localizer/loss", step, 1 / (step + 1))
        place.log("mIoU/segmentation ss/held_out(8)", first, 0.5)
        place.tell({"dataset": "scenes", "true masks of val": "abc"})
        place.flush()
        place.close(True)
    assert again().last_step("localizer/loss") == 3
