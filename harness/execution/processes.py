"""The launcher of teams for one machine: processes that are children of this one and meet through a file.

The parent supervises and does not train: it can always end a child that waits for a dead one. Children that outlive it
end by themselves, since the pipe that is their input closes with it; they are a session of their own, so that Ctrl-C
reaches the parent alone, which lets a running stage finish.

`python -m harness.execution.processes FOLDER RANK` is a child.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory

from harness.execution.team import PATIENCE, Report, Team, run_rank
from harness.stages.provenance import ROOT
from settings.files import write_json

__all__ = ["in_processes"]

GRACE_S = 5.0
"""How long the others have to tell their side after one process has failed; then they are ended."""
LOOPBACK = Path("/sys/class/net/lo")
_Child = subprocess.Popen[bytes]


class _TeamFolder:
    """What the processes of a team leave for each other in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.team = folder / "team.json"
        self.meeting = folder / "meeting"

    def report(self, rank: int) -> Path:
        """Where a process tells how it ended; absent where it was killed, or ended without a word."""
        return self.folder / f"report-{rank}.json"

    def output(self, rank: int) -> Path:
        """Where all is that a process printed, on either stream."""
        return self.folder / f"output-{rank}.txt"


def in_processes(team: Team) -> list[Report]:
    """Start a team as processes of this machine and wait until all have ended; their reports, by rank.

    This is a `team.Launch`. Whatever happens here, none of the processes is left running.
    """
    with TemporaryDirectory(prefix="seedbed-team-") as name:
        files = _TeamFolder(Path(name))
        write_json(files.team, asdict(team))
        children: list[_Child] = []
        try:
            for rank in range(team.size):
                children.append(_start(files, rank))
            ended = _wait(children)
        finally:
            for child in children:
                child.kill()
                child.wait()
                if child.stdin:
                    child.stdin.close()
        return [_report(files, rank, child, rank in ended) for rank, child in enumerate(children)]


def _start(files: _TeamFolder, rank: int) -> _Child:
    # The code that runs here, also where it is a checkout that is installed nowhere.
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if LOOPBACK.exists():
        # They talk among themselves: nobody else needs to hear, and the host's name need not lead anywhere.
        environment |= {"GLOO_SOCKET_IFNAME": LOOPBACK.name, "NCCL_SOCKET_IFNAME": LOOPBACK.name}
    with files.output(rank).open("wb") as output:
        return subprocess.Popen(
            # -P: nothing in the working directory can hide a package of ours.
            [sys.executable, "-P", "-m", "harness.execution.processes", str(files.folder), str(rank)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def _wait(children: Sequence[_Child]) -> set[int]:
    """The ranks that ended by themselves: all, or some once one of them has failed and the others had their time."""
    # Python can wait for one child or for any, not for some of them: a thread waits for each.
    ends: Queue[int] = Queue()
    for rank, child in enumerate(children):
        threading.Thread(target=_watch, args=(child, rank, ends), daemon=True).start()
    ended: set[int] = set()
    deadline = math.inf
    while len(ended) < len(children):
        left: float | None = None
        if deadline < math.inf:
            left = max(0.0, deadline - time.monotonic())
        try:
            rank = ends.get(timeout=left)
        except Empty:
            break
        ended.add(rank)
        # From the first failure on: the others either find out by themselves or wait for it in vain.
        if children[rank].returncode:
            deadline = min(deadline, time.monotonic() + GRACE_S)
    return ended


def _watch(child: _Child, rank: int, ends: Queue[int]) -> None:
    child.wait()
    ends.put(rank)


def _report(files: _TeamFolder, rank: int, child: _Child, by_itself: bool) -> Report:
    """What the child reported, or what its silence means; `by_itself`: whether it ended without being killed here."""
    try:
        content = json.loads(files.report(rank).read_text(encoding="utf-8"))
        return Report(**content)
    except (OSError, ValueError, TypeError):
        pass
    if not by_itself:
        return Report(rank, reason="ended because another process had failed", follows=True)
    return Report(rank, reason=_last_words(files.output(rank), child.returncode), died=True)


def _last_words(output: Path, code: int) -> str:
    """The signal that killed a process, or its exit code and the last line that it wrote."""
    if code < 0:
        return signal.Signals(-code).name
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    told = [line.strip() for line in lines if line.strip()]
    return ", ".join([f"exit code {code}", *told[-1:]])


def main() -> None:
    """Be one process of the team that a folder describes: join the others, run the stage, leave a report."""
    files, rank = _TeamFolder(Path(sys.argv[1])), int(sys.argv[2])
    _end_with_the_parent(files.folder)
    team = Team(**json.loads(files.team.read_text(encoding="utf-8")))
    _join(team, rank, files.meeting)
    report = run_rank(team, rank)
    write_json(files.report(rank), asdict(report))
    if not report.reason:
        _wait_for_all()
    sys.stderr.flush()
    # Not by the usual way out: what is left of a group with a dead member may hang there.
    os._exit(int(bool(report.reason)))


def _end_with_the_parent(folder: Path) -> None:
    """Whoever started this process holds the other end of its input; when that is gone, so is the reason to work."""

    def watch() -> None:
        # The parent writes nothing: this returns when the pipe closes, however the parent came to its end.
        while os.read(0, 1):
            pass
        # The parent would have removed it.
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _join(team: Team, rank: int, meeting: Path) -> None:
    """Make torch's process group of all processes of the team, and choose this one's GPU where the stage has one."""
    import torch
    from torch import distributed

    backend = "gloo"
    if team.stage.device == "cuda":
        gpus = torch.cuda.device_count()
        torch.cuda.set_device(rank % gpus)
        # Where processes share a GPU, nccl refuses to work.
        if gpus >= team.size:
            backend = "nccl"
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=team.size, timeout=PATIENCE
    )


def _wait_for_all() -> None:
    """Who has done its part stays until all have: a process that leaves looks dead to those that still work."""
    from torch import distributed

    # Whoever is gone by now has told why, or will be missed by the parent.
    with suppress(RuntimeError):
        distributed.barrier()


if __name__ == "__main__":
    main()
