"""The GPU check without a GPU: how it ends, what becomes of parts that fail or hang, and its report."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks._gpu import PARTS
from benchmarks._gpu.__main__ import MARK
from benchmarks._gpu.report import Measure, Part, Report, at_most, page, read

GOOD = MARK + json.dumps({"name": "a number", "value": 3, "unit": "ms", "ok": True, "expected": "≤ 4"})
BAD = MARK + json.dumps({"name": "another", "value": 0.5, "unit": "", "ok": False, "expected": "≤ 0.1"})
MACHINE = {"commit": "abc", "GPU": "<one>"}


def run(code: str, limit_s: float = 20) -> Part:
    return gpu_check.run_part("part", "Part", [sys.executable, "-c", code], limit_s)


def test_without_a_gpu_it_says_so_and_claims_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_check.main(["--output", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "no GPU is here" in told and "nothing is claimed" in told
    assert not (tmp_path / "out").exists()


def test_a_part_that_measures_what_is_expected_passes() -> None:
    part = run(f"print({GOOD!r}); print('a library says hello')")
    assert (part.status, part.reason) == ("passed", "")
    assert part.measures == (Measure("a number", 3, "ms", True, "≤ 4"),)


def test_a_measure_that_is_not_as_expected_fails_its_part() -> None:
    part = run(f"print({GOOD!r}); print({BAD!r})")
    assert (part.status, part.reason) == ("failed", "not as expected: another") and len(part.measures) == 2


def test_a_part_that_raises_is_told_with_its_reason_and_what_it_measured() -> None:
    part = run(f"print({GOOD!r}, flush=True); raise ValueError('no such kernel')")
    assert part.status == "failed" and len(part.measures) == 1
    assert part.reason.startswith("exit code 1\n") and part.reason.endswith("ValueError: no such kernel")


def test_a_part_that_hangs_is_stopped_with_all_that_it_started() -> None:
    child = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    part = run(f"print({GOOD!r}, flush=True); {child}", limit_s=0.5)
    assert part.status == "timed out" and part.seconds < 10
    assert part.reason == f"stopped after 0 s; it had measured {len(part.measures)} things"


def test_the_rest_goes_on_and_the_exit_code_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pretended(name: str, title: str, command: list[str], limit_s: float) -> Part:
        assert command[3:] == [name, "--device", "cpu", "--tiny"]
        return Part(name, title, "failed" if name == "memory" else "passed", 1.0, limit_s)

    monkeypatch.setattr(gpu_check, "run_part", pretended)
    assert gpu_check.main(["--rehearse", "--output", str(tmp_path)]) == 1
    found = read(tmp_path / "rehearsal.json")
    assert found.rehearsal and [part.name for part in found.parts] == list(PARTS) and found.failed == ["memory"]
    assert found.summary().startswith(f"{len(PARTS) - 1} of {len(PARTS)} parts passed; not: memory; a rehearsal")
    assert gpu_check.main(["--rehearse", "--only", "marked", "--output", str(tmp_path)]) == 0


def test_all_parts_fit_into_eight_minutes() -> None:
    limits = [import_module(f"benchmarks._gpu.{name}").LIMIT_S for name in PARTS]
    assert sum(limits) <= gpu_check.WHOLE_S == 480
    told = (gpu_check.KEPT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` .*\| (\d+) \|$", told, re.MULTILINE) == [
        (name, str(limit)) for name, limit in zip(PARTS, limits, strict=True)
    ]


def test_the_report_comes_back_and_its_page_stands_alone(tmp_path: Path) -> None:
    measures = (at_most("apart <b>", 0.5, 0.1, "ms"), Measure("memory", 123456, "MiB"), Measure("rule", "fused"))
    parts = (
        Part("steps", "Steps & more", "failed", 2.0, 60, "line <1>\nline 2", measures),
        Part("memory", "Memory", "timed out", 35.0, 35, "stopped"),
    )
    report = Report(MACHINE, False, parts)
    as_json, as_page = report.write(tmp_path, "gpu")
    assert read(as_json) == report
    html = as_page.read_text(encoding="utf-8")
    assert "rehearsal" not in html.partition("</style>")[2].lower()
    for shown in (
        "&lt;one&gt;",
        "Steps &amp; more",
        "apart &lt;b&gt;",
        "line &lt;1&gt;",
        "123,456 MiB",
        "≤ 0.1",
        "timed out",
    ):
        assert shown in html, shown
    assert not re.search(r"https?:|src=|@import|url\(", html)
    assert "No number here says anything about a GPU" in page(Report(MACHINE, True, parts))


def test_other_files_are_refused_and_nan_is_never_small(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"format": "other/1"}')
    with pytest.raises(ValueError, match="format 'other/1', expected seedbed-gpu-check/1"):
        read(tmp_path / "x.json")
    assert at_most("apart", float("nan"), 1).ok is False and at_most("apart", 1, 1).ok is True
