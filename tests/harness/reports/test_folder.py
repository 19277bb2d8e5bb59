"""What is written into a leaderboard's folder."""

import os
import shutil
import time
from pathlib import Path

import pytest

from harness.execution.driver import Result
from harness.execution.running import Run
from harness.reports.files import LeaderboardFiles
from harness.reports.folder import LEFT_S, _write_curves, made_beside, move_all
from harness.reports.leaderboard import Finished
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.suite import load_suite


def test_curves_of_lost_fits_are_what_they_were(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.curves.plot_curves", lambda *_: None)
    plan, root = make_plan(load_suite("smoke")), tmp_path / "store"
    store = Store.at(root).create()
    for name in ("localizer_fit", "segmenter_fit"):
        shutil.copytree(smoke.folder.parent.parent / name, root / name)
    run, before = Run(plan, Result(), root, str(root), 0, 0.0), LeaderboardFiles(smoke.folder)
    expected = before.training_csv.read_text()
    _write_curves(run, store, LeaderboardFiles(tmp_path), before)
    assert (tmp_path / "training.csv").read_text() == expected
    for fit in root.glob("*_fit/*"):
        shutil.rmtree(fit)
        _write_curves(run, store, LeaderboardFiles(tmp_path), before)
        assert (tmp_path / "training.csv").read_text() == expected
    (tmp_path / "training.csv").unlink()
    _write_curves(run, store, LeaderboardFiles(tmp_path), LeaderboardFiles(tmp_path / "nothing"))
    assert not (tmp_path / "training.csv").exists()


def test_what_killed_writers_left_goes_and_what_others_are_making_stays(tmp_path: Path) -> None:
    for name, age in ((".partial-left", LEFT_S + 60), (".partial-busy", 0), ("kept", LEFT_S + 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.md").write_text("old")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with made_beside(tmp_path) as partial:
        (partial / "table.md").write_text("new")
        move_all(partial, tmp_path)
        (partial / "later").write_text("not moved")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-busy", "kept", "table.md"]
    assert (tmp_path / "table.md").read_text() == "new"
