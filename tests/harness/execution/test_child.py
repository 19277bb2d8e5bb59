"""Stages with a time limit: ended with all that they started, and begun again; their process is kept otherwise."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness.execution import ExecutorName
from harness.execution.child import Child
from harness.execution.job import Job
from harness.execution.workers import Workers
from harness.reports.leaderboard import run_and_gather
from harness.store.events import EventReader
from harness.store.layout import Ref
from harness.store.lease import process_start
from harness.store.store import Store
from harness.suites.resources import Demand
from harness.suites.suite import load_suite
from tests.harness.fakes import label_stage

STUCK = """
import ctypes
import subprocess
from pathlib import Path

import numpy as np
from methods.labelers.all_background import AllBackgroundLabeler

class Stuck(AllBackgroundLabeler):
    "Hangs the first time, with the interpreter locked and a process of its own at work."

    def label(self, photo, maps, cue_HW=None):
        started = Path("{folder}/started")
        if not started.exists():
            process = subprocess.Popen(["sleep", "600"])
            started.write_text(str(process.pid))
            ctypes.PyDLL(None).sleep(600)
        return np.zeros(photo.image().shape[:2], np.uint8)
"""
SUITE = """
plugins: [stuck.py]
dataset: {name: scenes, classes: 2, size: 32, train: 3, dev: 1, val: 1}
policies: {fixed: pseudo_labels}
recipes: {stuck: {labeler: stuck}}
resources: {label: {timeout: 5 s}}
"""


IN_CHAOS = pytest.mark.skipif("SEEDBED_CHAOS_ROUNDS" not in os.environ, reason="takes half a minute: `make chaos`")


@pytest.mark.parametrize("executor", ["serial", pytest.param("ray", marks=IN_CHAOS)])
def test_a_stage_that_hangs_is_ended_and_begun_again(executor: ExecutorName, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK.replace("{folder}", str(tmp_path)))
    (tmp_path / "mine.yaml").write_text(SUITE)
    finished = run_and_gather(load_suite(tmp_path / "mine.yaml"), tmp_path / "store", Workers(executor, slots=2))
    assert finished.exit_code == 0
    log = Store(finished.run.store_folder).logs()[-1]
    reasons = [event["reason"] for event in EventReader(log).new() if event["event"] == "retried"]
    # Once; a machine that is busy with something else may need longer for the second try too.
    assert set(reasons) == {"not done after 5 s, its `timeout`"}
    assert process_start(int((tmp_path / "started").read_text())) is None or _is_zombie(tmp_path), "nothing is left"


def _is_zombie(folder: Path) -> bool:
    """Ended, and only not yet collected by whoever inherited it."""
    status = Path(f"/proc/{(folder / 'started').read_text()}/stat").read_text()
    return status.rsplit(")", 1)[1].split()[0] == "Z"


def job(store: Path) -> Job:
    """A stage whose input is absent: its outcome comes at once."""
    stage = label_stage(1, {"maps": (Ref("localizer_apply", "0" * 64),)}, label="a", demand=Demand(timeout_s=60.0))
    Store(store).create()
    (store / "events").mkdir(exist_ok=True)
    return Job((stage,), store, store / "events" / "log.jsonl")


def test_a_child_is_kept_until_it_dies_then_replaced_and_ends_with_its_parent(tmp_path: Path) -> None:
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = Child()
        told = []
        for is_killed in (False, False, True, False):
            if is_killed:
                os.kill(child.process.pid, signal.SIGKILL)
            (outcome,) = child.run(job(tmp_path))
            told.append((outcome.status, outcome.reason if is_killed else "", child.process and child.process.pid))
        os.write(write, json.dumps(told).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    told = json.loads(os.read(read, 2000))
    os.waitpid(parent, 0)
    assert [status for status, _, _ in told] == ["input_lost", "input_lost", "worker_died", "input_lost"]
    assert told[2][1] == "the worker ended: -9"
    first, second, _, last = (pid for _, _, pid in told)
    assert first == second != last
    deadline = time.monotonic() + 60
    while process_start(last) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process_start(last) is None
