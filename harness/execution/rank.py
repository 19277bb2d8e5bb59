"""What one process of a team does: run the stage on its share of every batch, and report how it went.

The launchers call it in each process that they have started and joined to torch's process group.
"""

from __future__ import annotations

import traceback
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.execution.team import Report, Team, reason_of
from harness.execution.workplace import PeakMemory, at_work, opened
from harness.store.store import Attempt, Lost, Store
from methods.base import Stopped
from methods.reducing import PeerLost
from methods.sharing import Share
from settings.errors import UserError

__all__ = ["PATIENCE", "run_rank"]

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others at one meeting: they may differ by the photos that each decodes."""


def run_rank(team: Team, rank: int) -> Report:
    """Run the team's stage as one of its processes; never raises for what goes wrong inside the stage.

    torch's default process group is the team's; with GPUs, the current one is this process's.
    """
    stage = team.stage
    with TemporaryDirectory() as thrown_away, PeakMemory() as memory:
        attempt = Attempt.into(stage.ref, Path(thrown_away))
        try:
            store = Store.at(team.store)
            if rank == 0:
                attempt = store.attempt(stage.ref, Path(team.attempt).name)
            share = Share(rank, team.size, team.sync_batch_norm)
            work = opened(stage, store, store.log(Path(team.log)), [stage.key], attempt, share)
            with at_work([work]):
                stage.kind.run_together([work])
            if rank == 0:
                store.hand_over(attempt)
        except Exception as error:  # whatever a component does wrong, as in a stage of one process
            return _failed(rank, error)
    return Report(rank, ledger=attempt.record.ledger, peak_memory_bytes=memory.bytes, gpu=_gpu(stage.device))


def _failed(rank: int, error: Exception) -> Report:
    trace = traceback.format_exc()
    if isinstance(error, Lost):
        return Report(rank, reason=str(error.args[1]), trace=trace, lost=tuple(error.ref))
    return Report(
        rank,
        reason=reason_of(error),
        trace=trace,
        is_users=isinstance(error, UserError),
        stopped=isinstance(error, Stopped),
        follows=isinstance(error, PeerLost),
    )


def _gpu(device: str) -> str:
    """What identifies this process's GPU among those of all machines; empty on a CPU."""
    if device != "cuda":
        return ""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
