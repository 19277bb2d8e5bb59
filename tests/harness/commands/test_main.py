"""The command: exit codes, one line for a user's mistake, JSON that is nothing but JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import results
from harness.commands import main as cli
from harness.commands import progress
from harness.reports.leaderboard import Finished
from harness.store.events import EventLog
from harness.store.lease import this_process
from methods.localizers.cam import Cam
from methods.training import TrainingDiverged
from settings.masks import write_mask
from tests.harness.conftest import ONLY_CAM


class Ended(Exception):
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def seedbed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    monkeypatch.setattr("sys.argv", ["seedbed", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    return Ended(int(ended.value.code or 0), shown.out, shown.err)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: seedbed(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "smok"], "did you mean 'smoke'?"),
        (["run", "smoke", "--set", "recipes.cam.localizer.hiden=3"], "did you mean 'hidden'?"),
        (["run", "nowhere.yaml"], "no such file"),
        (["run"], "Missing argument"),
        (["run", "smoke", "--executor", "slurm"], "--executor"),
        (["score", "a"], "--dataset SUITE (or a data set), or --truth FOLDER"),
        (["score", "a", "--dataset", "smoke", "--names", "b"], "--names: found --dataset beside it"),
        (["score", "a", "--truth", "b", "--classes", "3", "--split", "val"], "--dataset instead has splits"),
        (["score", "a", "--dataset", "smok"], "unknown name or folder 'smok'"),
        (["score", "nowhere", "--truth", "nowhere", "--classes", "3"], "nowhere"),
        (["fly"], "No such command"),
        (["status", "--store", "nowhere"], "no run"),
        (["stage", "abc", "--store", "nowhere"], "0 stages"),
        (["logs", "abc", "--store", "/"], "'abc'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    command, tmp_path, monkeypatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("seedbed: ") and ended.err.count("\n") == 1
    assert words in ended.err
    assert list(tmp_path.iterdir()) == []


def test_score_prints_nothing_but_json(command, tmp_path: Path) -> None:
    for name, value in (("predictions", 1), ("masks", 1)):
        (tmp_path / name).mkdir()
        mask = np.full((4, 5), value, np.uint8)
        mask[0] = 0 if name == "masks" else 1
        write_mask(tmp_path / name / "one.png", mask)
    ended = command("score", tmp_path / "predictions", "--truth", tmp_path / "masks", "--classes", 2, "--json")
    assert ended.code == 0
    # Class 1: 15 of 20 pixels right; background: 0 of 5.
    assert json.loads(ended.out)["miou"] == pytest.approx((15 / 20 + 0) / 2)


def test_plan_prints_nothing_but_json(command, tmp_path: Path) -> None:
    ended = command("plan", "smoke", "--store", tmp_path, "--json")
    content = json.loads(ended.out)
    assert content["to_do"] == content["stages"] == sum(group["stages"] for group in content["groups"])
    assert list(tmp_path.iterdir()) == []


def test_a_finished_suite_prints_its_table_again(command, smoke: Finished) -> None:
    ended = command("run", "smoke", "--store", smoke.run.store_folder)
    assert ended.code == 0
    row = next(row for row in smoke.board.rows if row.stage == "segmentation" and row.recipe == "cam")
    assert f"{row.miou:.3f}" in ended.out
    assert "0 stages" in ended.err


def test_a_failed_stage_is_a_hole_with_a_reason_and_exit_code_1(command, tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise TrainingDiverged("epoch 1, step 2: the loss is not finite")

    changes = [part for change in (*ONLY_CAM, "gallery=0") for part in ("--set", change)]
    run = ["run", "smoke", "--store", tmp_path, "--executor", "serial", *changes]
    with monkeypatch.context() as patch:
        patch.setattr(Cam, "fit", broken)
        ended = command(*run)
        assert ended.code == 1
        assert "✗" in ended.out and "epoch 1, step 2: the loss is not finite" in " ".join(ended.out.split())
        logs = command("logs", "cam · clean · rng seed 0 · localizer fit", "--store", tmp_path)
        assert "Traceback" in logs.out and "TrainingDiverged" in logs.out
        assert "failed" in command("status", "--store", tmp_path).out
        floor = results.load(tmp_path)
        assert set(floor["recipe"]) == {"all-background"}
    mended = command(*run)
    assert mended.code == 0
    assert "✗" not in mended.out


def test_a_damaged_photo_in_a_run_is_one_line_and_exit_code_2(command, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    for photo_id in "abcd":
        Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(root / "images" / f"{photo_id}.png")
    (root / "images" / "b.png").write_bytes((root / "images" / "b.png").read_bytes()[:60])
    (root / "classes.txt").write_text("cat\n")
    (root / "train.txt").write_text("a\nb\nc\n")
    (root / "val.txt").write_text("d\n")
    (root / "labels.csv").write_text("id,labels\na,cat\nb,cat\nc,\n")
    (tmp_path / "s.yaml").write_text(f"include: smoke\ndataset: {{name: folder, root: {root}, dev_share: 0}}\n")
    changes = [part for change in ONLY_CAM for part in ("--set", change)]
    ended = command("run", tmp_path / "s.yaml", "--store", tmp_path / "store", "--executor", "serial", *changes)
    assert ended.code == 2
    (line,) = (line for line in ended.err.splitlines() if line.startswith("seedbed: "))
    assert "images/b.png" in line and "unreadable image" in line


def test_status_tells_how_the_run_ended(command, smoke: Finished) -> None:
    ended = command("status", "--store", smoke.run.store_folder)
    assert ended.code == 0
    assert "finished" in ended.out and "0 failed" in ended.out
    assert "rows: 14 done" in ended.out


@pytest.mark.parametrize(
    ("driver", "end", "words"),
    [
        ({"start": "1"}, [], "killed"),
        ({}, [], "running, last event"),
        ({}, [{"event": "run_finished", "stopped": True, "failures": 0, "blocked": 0}], "stopped"),
    ],
)
def test_status_tells_a_killed_run_from_a_stopped_and_a_living_one(
    command, tmp_path: Path, driver: dict[str, str], end: list[dict[str, object]], words: str
) -> None:
    (tmp_path / "events").mkdir()
    log = EventLog(tmp_path / "events" / "one.jsonl")
    log.write("run_started", suite="s", executor="serial", groups={"k": "g"}, driver={**this_process(), **driver})
    for event in end:
        log.write(**event)
    assert words in command("status", "--store", tmp_path).out


def test_one_stage_runs_in_this_process(command, smoke: Finished) -> None:
    fit, *_ = (stage for stage in smoke.run.plan.graph.values() if stage.kind.name == "localizer_fit")
    ended = command("stage", fit.key[:16], "--store", smoke.run.store_folder, "--debug")
    assert ended.code == 0
    assert "nothing was published" in ended.out


def test_a_line_each_interval(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tell = progress.Patience("planning")
    for done, moment in enumerate((101.0, 104.9, 105.1, 106.0, 111.0), 1):
        now[0] = moment
        tell(done, 9, "photos hashed")
    assert capsys.readouterr().err == "planning: 3/9 photos hashed\nplanning: 5/9 photos hashed\n"
