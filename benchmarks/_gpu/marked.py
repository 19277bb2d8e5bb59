"""Every test that is marked `cuda`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from benchmarks._gpu.place import Place
from benchmarks._gpu.report import Measure, at_most, is_true

TITLE, LIMIT_S = "Tests marked cuda", 30
TESTS = Path("tests")


def measures(place: Place) -> Iterator[Measure]:
    """How many passed, failed and were skipped; in a rehearsal all are skipped."""
    results = place.folder / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", f"--junitxml={results}"]
    # Their files alone: to collect the whole suite takes longer than these tests.
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if "mark.cuda" in path.read_text(encoding="utf-8")]
    ended = subprocess.run([*command, *files], capture_output=True, text=True)
    if not results.exists():
        raise RuntimeError(ended.stdout[-2000:] + ended.stderr[-2000:])
    counts = ElementTree.parse(results).getroot()[0].attrib
    tests, skipped = int(counts["tests"]), int(counts["skipped"])
    yield is_true("there are such tests", tests > 0, "yes")
    yield Measure("passed", tests - skipped - int(counts["failures"]) - int(counts["errors"]), "tests")
    yield at_most("failed", int(counts["failures"]) + int(counts["errors"]), 0, "tests")
    if place.tiny:
        yield Measure("skipped", skipped, "tests")
    else:
        yield at_most("skipped", skipped, 0, "tests")
