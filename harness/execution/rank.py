"""One of the processes that train a stage together: joins the group, runs the stage, reports.

`python -m harness.execution.rank FOLDER RANK` is what `harness.execution.processes` starts; Ray Train calls
`run_rank` itself.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.execution.team import Report, Team
from harness.execution.worker import PeakMemory, compute, opened, reason_of
from harness.stages.families import run_together
from harness.stages.graph import Stage
from harness.stages.plugins import plugins_of
from harness.store.store import Attempt, Lost, Store
from methods.base import Stopped
from methods.sharing import PeerLost, Share
from settings.errors import UserError
from settings.files import write_json
from settings.guard import guarded
from settings.plugins import plugged_in

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others at one meeting: they may differ by the photos that each decodes."""


def run_rank(team: Team, rank: int) -> Report:
    """Run the team's stage as one of its processes; never raises for what goes wrong inside the stage.

    torch's default process group is the team's; with GPUs, the current one is this process's.
    """
    stage = Stage.from_json(team.stage)
    with TemporaryDirectory() as thrown_away, PeakMemory() as memory:
        attempt = Attempt.into(stage.ref, Path(thrown_away))
        try:
            store = Store.at(team.store)
            if not rank:
                attempt = store.attempt(stage.ref, Path(team.attempt).name)
            share = Share(rank, team.size, team.sync_batch_norm)
            work = opened(stage, store, store.log(Path(team.log)), [stage.key], attempt, share)
            with plugged_in(plugins_of([stage])), compute(stage), guarded(stage.kind, work.mask_folders()):
                run_together([work])
            if not rank:
                store.hand_over(attempt)
        except Exception as error:  # as in `run_job`: whatever a component does wrong
            return _failed(rank, error)
    return Report(rank, ledger=attempt.record.ledger, peak_memory_bytes=memory.bytes, gpu=_gpu(team.device))


def _gpu(device: str) -> str:
    """What identifies this process's GPU among those of all machines; empty on a CPU."""
    if device != "cuda":
        return ""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)


def _failed(rank: int, error: Exception) -> Report:
    return Report(
        rank,
        reason=str(error.args[1]) if isinstance(error, Lost) else reason_of(error),
        stopped=isinstance(error, Stopped),
        trace=traceback.format_exc(),
        is_users=isinstance(error, UserError),
        lost=tuple(error.ref) if isinstance(error, Lost) else (),
        follows=isinstance(error, PeerLost),
    )


def backend_of(device: str, size: int) -> str:
    """nccl where every process can have a GPU of its own, else gloo, which GPUs may share."""
    if device != "cuda":
        return "gloo"
    import torch

    return "nccl" if torch.cuda.device_count() >= size else "gloo"


def _join(team: Team, rank: int, meeting: Path) -> None:
    """Make torch's process group, met through a file."""
    import torch
    from torch import distributed

    if team.device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    distributed.init_process_group(
        backend_of(team.device, team.size),
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=team.size,
        timeout=PATIENCE,
    )


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


def main() -> None:
    """Run as one process of the team that a folder describes, and leave a report there."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    _end_with_the_parent(folder)
    team = Team(**json.loads((folder / "team.json").read_text(encoding="utf-8")))
    _join(team, rank, folder / "meeting")
    report = run_rank(team, rank)
    write_json(folder / f"report-{rank}.json", asdict(report))
    if not report.reason:
        _wait_for_all()
    sys.stderr.flush()
    # Not by the usual way out: what is left of a group with a dead member may hang there.
    os._exit(1 if report.reason else 0)


def _wait_for_all() -> None:
    """Who has done its part stays until all have: a process that leaves looks dead to those that still work."""
    from torch import distributed

    with suppress(RuntimeError):  # whoever is gone by now has told why, or will be missed by the parent
        distributed.barrier()


if __name__ == "__main__":
    main()
