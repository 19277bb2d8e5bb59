"""Another build of Seedbed beside this one: an older commit checked out, suites run, and what each took of the CPU."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["HERE", "OLD", "Build", "Run", "checked_out", "install_missing"]

OLD = "c3d8e38"
"""The build that issue 16 measures against."""
ROOT = Path(__file__).parent.parent
PROBE = Path(__file__).parent / "_probe"
SAMPLE_S = 0.5


@dataclass(frozen=True)
class Run:
    """What one run took, in seconds of the wall clock and of CPU (user and system)."""

    wall: float
    cpu: float
    """Of all processes that it started."""
    workers_cpu: float
    """Of those among them that ran stages; the rest are Ray's own, and the driver where it runs none."""
    stages: dict[str, float] = field(default_factory=dict)
    """CPU seconds by the key of the stage; stages of one job have an equal part of it each."""
    peak_memory_bytes: int = 0
    """The most resident memory of one process."""


@dataclass(frozen=True)
class Build:
    """One build: what it is called here, and the folder that its packages lie in."""

    name: str
    root: Path
    packages: Path | None = None
    """Where packages lie that it needs and that are not installed here."""

    @property
    def search_path(self) -> str:
        """What comes first where Python looks for modules."""
        folders = [self.root] if self.packages is None else [self.root, self.packages]
        return os.pathsep.join(map(str, folders))

    @property
    def entry(self) -> str:
        """The module of its command line."""
        if (self.root / "harness" / "commands" / "main.py").is_file():
            return "harness.commands.main"
        return "harness.cli"

    def environment(self, **more: str) -> dict[str, str]:
        """The variables for a process that is to import this build: one thread, its packages before all others."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": self.search_path, **more}

    def suite(self, suite: str, store: Path, *options: str) -> Run:
        """Run a suite on a store; raises RuntimeError with the last lines that it printed where it fails."""
        with tempfile.TemporaryDirectory() as place:
            search_path = os.pathsep.join([str(PROBE), self.search_path])
            environment = self.environment(PYTHONPATH=search_path, SEEDBED_PROBE=place)
            # By `-c`: a module that is run by `-m` would be imported a second time where it is named.
            call = f"import sys; from {self.entry} import main; sys.argv[0] = 'seedbed'; main()"
            command = [sys.executable, "-c", call, "run", suite, "--store", str(store), *options]
            log = Path(place) / "log.txt"
            start = time.perf_counter()
            with log.open("wb") as file:
                process = subprocess.Popen(command, cwd=self.root, env=environment, stdout=file, stderr=file)
            family = _Family(place)
            family.watch(process)
            if process.returncode:
                raise RuntimeError(f"{self.name}: {suite} ended with {process.returncode}\n{log.read_text()[-2000:]}")
            return _told(Path(place), family, time.perf_counter() - start)


HERE = Build("new", ROOT)


@contextmanager
def checked_out(commit: str = OLD) -> Iterator[Build]:
    """An older commit of this repository in a folder of its own, as a worktree that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="seedbed-old-"))
    git = ["git", "-C", str(ROOT), "worktree"]
    added = subprocess.run([*git, "add", "--detach", str(folder), commit], capture_output=True, text=True)
    if added.returncode:
        raise SystemExit(f"{commit}: {added.stderr.strip()} (of a shallow clone: git fetch --unshallow)")
    packages = Path(tempfile.mkdtemp(prefix="seedbed-old-packages-"))
    try:
        install_missing(folder, packages)
        yield Build(commit, folder, packages)
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=False, capture_output=True)
        for one in (folder, packages):
            shutil.rmtree(one, ignore_errors=True)


def install_missing(root: Path, packages: Path) -> None:
    """Install into `packages` what the checkout at `root` declares and this environment lacks, without what that needs.

    Raises SystemExit with pip's last line where it cannot be had.
    """
    declared: list[str] = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    missing = [requirement for requirement in declared if not _is_installed(requirement)]
    if not missing:
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *missing]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{', '.join(missing)}: {done.stderr.strip().splitlines()[-1]}")


def _is_installed(requirement: str) -> bool:
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


class _Family:
    """All processes that carry a run's variable, sampled twice a second: Ray's start in sessions of their own."""

    def __init__(self, mark: str) -> None:
        self._mark = f"SEEDBED_PROBE={mark}".encode()
        self.cpu: dict[int, float] = {}
        """CPU seconds by process id, as last seen."""
        self.peak_memory_bytes = 0

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Sample until the process has ended."""
        while process.poll() is None:
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    # It may end while it is looked at, or be somebody else's.
                    with suppress(OSError, ValueError, IndexError):
                        self._look_at(folder)
            time.sleep(SAMPLE_S)

    def _look_at(self, folder: Path) -> None:
        if self._mark not in (folder / "environ").read_bytes():
            return
        # After the name, which may contain spaces: user and system time are the 12th and 13th fields.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        self.cpu[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.peak_memory_bytes = max(self.peak_memory_bytes, resident)


def _told(place: Path, family: _Family, wall: float) -> Run:
    """A run, from the samples and from what the probe wrote in its processes."""
    stages: dict[str, float] = {}
    workers: set[int] = set()
    cpu, peak = dict(family.cpu), family.peak_memory_bytes
    for path in place.glob("*.jsonl"):
        pid = int(path.stem)
        for line in path.read_text().splitlines():
            told = json.loads(line)
            # Exact, where a sample misses up to its interval; a process that was killed tells nothing.
            if "whole" in told:
                cpu[pid], peak = told["whole"], max(peak, told["peak"])
                continue
            workers.add(pid)
            for key in told["stages"]:
                stages[key] = stages.get(key, 0.0) + told["cpu"] / len(told["stages"])
    of_workers = sum(seconds for pid, seconds in cpu.items() if pid in workers)
    return Run(wall, sum(cpu.values()), of_workers, stages, peak)
