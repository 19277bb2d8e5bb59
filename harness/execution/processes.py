"""The launcher of teams for one machine: processes that are children of this one and meet through a file.

The parent supervises and does not train: it can always end a child that waits for a dead one. Children that outlive it
end by themselves, since the pipe that is their input closes with it; they are a session of their own, so that Ctrl-C
reaches the parent alone, which lets a running stage finish.

`python -m harness.execution.processes FOLDER RANK` is a child.
"""

from __future__ import annotations

import json
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
        """How the process ended."""
        return self.folder / f"report-{rank}.json"

    def output(self, rank: int) -> Path:
        """All that it printed."""
        return self.folder / f"output-{rank}.txt"


def in_processes(team: Team) -> list[Report]:
    """Start a team as processes of this machine and wait for all (a `team.Launch`)."""
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
    ends: Queue[int] = Queue()
    for rank, child in enumerate(children):
        threading.Thread(target=_watch, args=(child, rank, ends), daemon=True).start()
    ended: set[int] = set()
    deadline: float | None = None
    while len(ended) < len(children):
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            rank = ends.get(timeout=left)
        except Empty:
            break
        ended.add(rank)
        if children[rank].returncode and deadline is None:
            deadline = time.monotonic() + GRACE_S
    return ended


def _watch(child: _Child, rank: int, ends: Queue[int]) -> None:
    child.wait()
    ends.put(rank)


def _report(files: _TeamFolder, rank: int, child: _Child, by_itself: bool) -> Report:
    """What the child reported, or what its silence means."""
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
    os._exit(1 if report.reason else 0)


def _end_with_the_parent(folder: Path) -> None:
    """Whoever started this process holds the other end of its input; when that is gone, so is the reason to work.

    The team's folder, which the parent would have removed, goes too.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _join(team: Team, rank: int, meeting: Path) -> None:
    """Make torch's process group, met through a file."""
    import torch
    from torch import distributed

    device = team.stage.device
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    distributed.init_process_group(
        _backend(device, team.size),
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=team.size,
        timeout=PATIENCE,
    )


def _backend(device: str, size: int) -> str:
    """nccl where every process can have a GPU of its own, else gloo, which GPUs may share."""
    if device != "cuda":
        return "gloo"
    import torch

    return "nccl" if torch.cuda.device_count() >= size else "gloo"


def _wait_for_all() -> None:
    """Who has done its part stays until all have: a process that leaves looks dead to those that still work."""
    from torch import distributed

    with suppress(RuntimeError):  # whoever is gone by now has told why, or will be missed by the parent
        distributed.barrier()


if __name__ == "__main__":
    main()
