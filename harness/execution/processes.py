"""The launcher for one machine: a team's processes as children of this one, which meet through a file.

The parent supervises and does not train: it can always end a child that waits for a dead one. Children that outlive it
end by themselves, since the pipe that is their input closes with it; they are a session of their own, so that Ctrl-C
reaches the parent alone, which lets a running stage finish.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory

from harness.execution.team import Report, Team
from harness.stages.provenance import ROOT
from settings.files import write_json

GRACE_S = 5.0
"""How long the others have to tell their side after one process has failed; then they are ended."""
Child = subprocess.Popen[bytes]


def in_processes(team: Team) -> list[Report]:
    """Start a team as processes of this machine and wait for all; see `harness.execution.team.Launch`."""
    with TemporaryDirectory(prefix="seedbed-team-") as name:
        folder = Path(name)
        write_json(folder / "team.json", asdict(team))
        children: list[Child] = []
        try:
            for rank in range(team.size):
                children.append(_start(folder, rank))
            ended = _wait(children)
        finally:
            for child in children:
                child.kill()
                child.wait()
                if child.stdin:
                    child.stdin.close()
        return [_report(folder, rank, child, rank in ended) for rank, child in enumerate(children)]


def _start(folder: Path, rank: int) -> Child:
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if Path("/sys/class/net/lo").exists():
        # They talk among themselves: nobody else needs to hear, and the host's name need not lead anywhere.
        environment |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    with (folder / f"errors-{rank}.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.execution.rank", str(folder), str(rank)],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )


def _wait(children: Sequence[Child]) -> set[int]:
    """The ranks that ended by themselves: all, or some once one of them has failed and the others had their time."""
    ends: Queue[int] = Queue()
    for rank, child in enumerate(children):
        threading.Thread(target=_watch, args=(child, rank, ends), daemon=True).start()
    ended: set[int] = set()
    deadline: float | None = None
    while len(ended) < len(children):
        try:
            rank = ends.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        ended.add(rank)
        if children[rank].returncode and deadline is None:
            deadline = time.monotonic() + GRACE_S
    return ended


def _watch(child: Child, rank: int, ends: Queue[int]) -> None:
    child.wait()
    ends.put(rank)


def _report(folder: Path, rank: int, child: Child, by_itself: bool) -> Report:
    try:
        content = json.loads((folder / f"report-{rank}.json").read_text(encoding="utf-8"))
        return Report(**content)
    except (OSError, ValueError, TypeError):
        pass
    if not by_itself:
        return Report(rank, reason="ended because another process had failed", follows=True)
    return Report(rank, reason=_last_words(folder / f"errors-{rank}.txt", child.returncode), died=True)


def _last_words(errors: Path, code: int) -> str:
    """The signal that killed a process, or its exit code and the last line that it wrote."""
    if code < 0:
        return signal.Signals(-code).name
    lines = errors.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"exit code {code}" + (f", {last.strip()}" if last else "")
