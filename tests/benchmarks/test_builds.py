"""What benchmarks that run two builds make of what they are told; the probe in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._builds import HERE, PROBE, Run, _Family, _told
from benchmarks.growth import Point, straightness
from benchmarks.guesses import Compared
from benchmarks.leaderboard import Measured, least, mean_lines, recorded, tell_moves
from benchmarks.steps import Steps, summary
from harness.store.layout import Ref
from harness.store.record import Record

CODE = """
import sys, time
from pathlib import Path
from harness.store.events import Ending, Event, EventLog

log = EventLog(Path(sys.argv[1]))
log.write(Event.STARTED, stages=["a", "b"], pid=1)
start = time.process_time()
while time.process_time() < start + 0.2:
    pass
log.write(Ending.DONE, stages=["a"], seconds=0)
"""


def test_the_probe_tells_of_jobs_and_of_the_whole_process(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    search_path = os.pathsep.join([str(PROBE), str(HERE.root)])
    environment = HERE.environment(PYTHONPATH=search_path, SEEDBED_PROBE=str(tmp_path))
    subprocess.run([sys.executable, "-c", CODE, str(log)], env=environment, check=True)
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["started", "finished"]
    (path,) = (path for path in tmp_path.glob("*.jsonl") if path != log)
    log.unlink()
    job, whole = (json.loads(line) for line in path.read_text().splitlines())
    assert job["stages"] == ["a"] and 0.2 <= job["cpu"] <= whole["whole"]
    family = _Family("nowhere")
    family.cpu = {int(path.stem): 0.1, 7: 3.0}
    run = _told(tmp_path, family, 5.0)
    assert run == Run(5.0, 3.0 + whole["whole"], whole["whole"], {"a": job["cpu"]}, whole["peak"])


def test_steps_are_summed_up_step_by_step() -> None:
    one = Steps(0.5, (1.0, 4.0), 20, {})
    other = Steps(0.25, (3.0, 2.0), 30, {})
    found = summary([one, other, other])
    # Least: 1 and 2; medians: 3 and 2.
    assert (found.least, found.median, found.first, found.memory) == (1.5, 2.5, 0.25, 20)


def test_a_line_is_found_and_what_misses_it() -> None:
    assert straightness([Point("x", n, 5 + 2 * n) for n in (1, 2, 4)]) == pytest.approx((5, 2, 0))
    bent = [Point("x", 1, 1.0), Point("x", 2, 4.0), Point("x", 3, 1.0)]
    assert straightness(bent) == pytest.approx((2, 0, 1.0))


def test_a_guess_is_off_beyond_a_factor_of_a_half_more() -> None:
    assert not Compared(1, 14.0, 10.0).is_off() and not Compared(1, 7.0, 10.0).is_off()
    assert Compared(1, 16.0, 10.0).is_off() and Compared(1, 6.0, 10.0).is_off()


def test_the_cheapest_run_speaks_for_its_build() -> None:
    runs = [Measured(Run(0, cpu, cpu), {}, {}, {}) for cpu in (3.0, 1.0, 2.0, 4.0)]
    assert least(runs).whole.cpu == 1.0


def test_a_recorded_store_is_read_by_kind(tmp_path: Path) -> None:
    identities = ({"component": {"name": "cam"}}, {"component": {"name": "cam"}}, {})
    for number, (kind, identity) in enumerate(zip(("localizer_fit", "localizer_fit", "row"), identities, strict=True)):
        ref = Ref(kind, f"{number}" * 64)
        folder = tmp_path / kind / ref.key
        folder.mkdir(parents=True)
        record = Record(*ref, "attempt-1", {}, identity=dict(identity), seconds=number + 1.0)
        (folder / "done.json").write_text(record.to_json())
    found = recorded(tmp_path)
    assert found.kinds == {"localizer_fit cam": 3.0, "row": 3.0} and found.counts == {"localizer_fit cam": 2, "row": 1}
    assert found.whole.cpu == 6.0 and found.lines == {} == mean_lines([])


def test_the_line_that_moved_most_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    old = {("clean", "cam", "maps"): 0.5, ("clean", "cam", "segmentation"): 0.6, ("web", "gone", "maps"): 0.1}
    tell_moves(old, {("clean", "cam", "maps"): 0.51, ("clean", "cam", "segmentation"): 0.57})
    told = capsys.readouterr().out
    assert "mIoU of 2 lines: at most 0.0300 apart, median 0.0200" in told
    assert "clean, cam, segmentation: 0.6000 → 0.5700" in told and "one of the two lacks: 1" in told
