"""`seedbed stage` and `logs`: how a stage that is run alone ends, and which words name a stage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import main as cli
from harness.execution.descriptions import describe
from harness.reports.status import log_of, run_one, status_of
from harness.stages.graph import Stage
from harness.stages.labels import Label
from harness.store.events import Event
from harness.store.layout import FAILURES, document_of
from harness.store.store import Store
from settings.errors import UserError
from tests.harness.fakes import label_stage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def stage_of(number: int) -> Stage:
    label = f"cam · clean · rng seed 0 · pseudo labels {number}"
    return label_stage(number, label=label, group="cam · pseudo labels")


def fail(store: Store, stage: Stage, reason: str) -> None:
    content = {"label": stage.label, "reason": reason, "traceback": "Traceback …", "stage": stage.to_json()}
    store.write_documents({document_of(FAILURES, stage.key): json.dumps(content).encode()})


def ends(error: Exception) -> Callable[..., None]:
    def run(*_: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("out of luck"), 1), (UserError("labels.csv", "nothing", "labels"), 2)]
)
def test_a_stage_that_fails_alone_ends_otherwise_than_with_0(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    stage = stage_of(1)
    describe(store, [stage])
    run = store.begin_log("20260101-smoke")
    run.write(Event.RUN_STARTED, suite="smoke", executor="serial", groups={stage.key: stage.group})
    run.write(Event.RUN_FINISHED, failures=0, blocked=0, stopped=False)
    monkeypatch.setattr(Label, "run", ends(error))
    assert run_one(store.root, stage.key, debug=False).exit_code == code
    monkeypatch.setattr("sys.argv", ["seedbed", "stage", stage.key, "--store", str(store.root)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (code, "")
    assert shown.err.startswith(f"seedbed: {stage.label}: failed ") and str(error) in shown.err
    # Its log is no run's.
    assert status_of(store.root).startswith("smoke · serial · finished")
    assert str(error) in log_of(store.root, stage.key[:8])


def test_a_stage_is_found_by_what_status_prints(store: Store) -> None:
    stages = [stage_of(number) for number in (10, 1, 2)]
    for stage in stages:
        fail(store, stage, f"no map of {stage.label[-2:].strip()}")
    ten, one, _ = stages
    assert "no map of 1\n" in log_of(store.root, one.label)
    assert "more" not in log_of(store.root, one.label)
    assert "no map of 10\n" in log_of(store.root, f"  failed: {ten.label} ({ten.key[:12]}): no map of 10")
    # A group, as `status` sums stages up: one is told, and the others are named.
    told = log_of(store.root, "cam · pseudo labels")
    assert "Traceback …" in told and "'cam · pseudo labels' fits 2 more:" in told
    assert sum(stage.label in told for stage in stages) == 3


def test_what_cannot_be_told_is_one_line(store: Store) -> None:
    describe(store, [stage_of(1)])
    with pytest.raises(UserError, match=r"pseudo labels 1 \(\w{12}\), which has not ended yet"):
        log_of(store.root, "cam · pseudo labels")
    for nothing in ("", "pamr"):
        with pytest.raises(UserError, match="expected the key, label or group of a stage"):
            log_of(store.root, nothing)
