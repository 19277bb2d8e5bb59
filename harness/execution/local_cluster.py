"""A Ray cluster of a run's own, on this machine: it ends with the run, and nobody else can reach it.

Its processes listen on the loopback address alone, let in who has a token that was made for this cluster, and keep
sockets, logs and that token in a folder that is this user's alone. Ray offers no public switch for the first and the
last, so that here alone its private names are used.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import ray
from ray._private import ray_constants
from ray._private import worker as rays_worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined] # its stub is short

from harness.stages.numerics import usable_cores
from harness.stages.provenance import ROOT
from settings.errors import UserError

__all__ = ["FOR_WORKERS", "LocalCluster"]

OBJECT_STORE_BYTES = 80 << 20
"""Jobs and outcomes are small: artefacts travel through the store. Ray takes 78,643,200 bytes at least."""
FOR_WORKERS: Mapping[str, str] = {
    # Stages name their GPU themselves: the variable that Ray would set changes inside a reused worker, where a CUDA
    # context of an earlier task would then sit on another GPU.
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
    # Workers of a team that share GPUs ask Ray for none, and older versions of Ray would hide all GPUs from them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment variables of the workers of any cluster."""
PREFIX = "seedbed-ray-"
SESSION = "ray"
REMOVALS, REMOVAL_S = 10, 0.3
"""How often the folder of a cluster is deleted in which workers still write, and how many seconds lie between."""
LOCK = "lock"
"""A file that the process holds which the folder belongs to: whoever can have it has found a folder of a dead one."""
LEAST_FILES = 64
"""With fewer files that may be open Ray's processes do not come up, and tell that after half a minute."""
LEAST_BYTES = 16 << 20
"""What a cluster writes beside its logs."""
MAX_RENEWALS = 5
"""How often a cluster is started anew on which nothing was done; more often would hardly help."""
NEEDED = (ray_constants.PROCESS_TYPE_RAYLET, ray_constants.PROCESS_TYPE_GCS_SERVER)
"""The processes without which nothing runs; the agents are watched by the raylet, which ends with them."""


class LocalCluster:
    """Ray's processes on this machine, to which this process is connected until `end`."""

    def __init__(self, slots: int | None = None) -> None:
        """Start a cluster of `slots` CPUs (all usable cores); raises UserError where Ray cannot start here."""
        self._slots = slots or usable_cores()
        self._open = ExitStack()
        self._renewals = 0
        """How often in a row it was started anew."""
        self._begin()

    def end(self) -> None:
        """Leave the cluster and end its processes, with all that still runs there."""
        ray.shutdown(wait_for_processes=True)
        self._open.close()

    def trouble(self) -> str:
        """Which of the processes has ended that a cluster needs; empty as long as all are there."""
        node: Any = rays_worker._global_node
        dead = [name for name, _ in node.dead_processes() if name in NEEDED]
        return " and ".join(f"its {name} ended" for name in dead)

    def renew(self, trouble: str) -> None:
        """End what is left and start another one; raises UserError where that does not help, or Ray does not start."""
        self._renewals += 1
        self.end()
        if self._renewals > MAX_RENEWALS:
            raise _not_here(f"ends as soon as it is started, {MAX_RENEWALS + 1} times ({trouble})")
        self._begin()

    def proven(self) -> None:
        """Something was done on it: should it end, that is no sign that another one would."""
        self._renewals = 0

    def _begin(self) -> None:
        try:
            _check_room(_parent())
            self._start()
        # What Ray raises is of many classes, `Exception` itself among them.
        except Exception as error:
            self.end()
            if isinstance(error, UserError):
                raise
            raise _not_here(f"does not start ({' '.join(str(error).split())[:300]})") from None

    def _start(self) -> None:
        folder = self._open.enter_context(_private_folder())
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self._open.callback(_read_token_anew)
        self._open.enter_context(_environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}))
        _read_token_anew()
        # Ray's own processes fail where Python leaves out docstrings, and inherit the variable.
        os.environ.pop("PYTHONOPTIMIZE", None)
        search_path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        variables = {**FOR_WORKERS, "PYTHONPATH": os.pathsep.join(filter(None, search_path))}
        with _on_loopback(), _signals_kept():
            ray.init(
                # Left out, Ray would join whatever cluster RAY_ADDRESS names or was last started on this machine.
                address="local",
                num_cpus=self._slots,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                runtime_env={"env_vars": variables},
                # Within, since Ray makes this one readable and writable to everybody.
                _temp_dir=str(folder / SESSION),
                # No idle workers; and workers as brisk as a serial run, where Ray would have them yield to all else.
                _system_config={"prestart_worker_first_driver": False, "worker_niceness": 0, "event_stats": False},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )


def _not_here(what: str) -> UserError:
    mend = "--executor serial runs without Ray"
    return UserError("--executor", f"'ray', which {what}", "a machine on which Ray's processes live", mend)


def _check_room(parent: Path) -> None:
    """Raise UserError for what Ray would need half a minute to fail at."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < LEAST_FILES:
        raise _not_here(f"cannot start where {files} files may be open (`ulimit -n`)")
    free = shutil.disk_usage(parent).free
    if free < LEAST_BYTES:
        raise _not_here(f"cannot start where {free:,} bytes are free: in '{parent}', or what RAY_TMPDIR names")


def _parent() -> Path:
    # Not Python's temporary folder: paths of sockets may have 107 characters, and Ray's own ending takes 70.
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"))


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user may enter (mode 0700), gone after the block; so are those that dead runs left."""
    for left in _parent().glob(f"{PREFIX}*"):
        with suppress(OSError), (left / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(left)
    folder = Path(mkdtemp(prefix=PREFIX, dir=_parent()))
    try:
        with (folder / f".{LOCK}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Not before it is held, or another run might hold it first.
            (folder / f".{LOCK}").rename(folder / LOCK)
            yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Delete the folder of a cluster that has ended; where its last workers go on writing, the next run does it."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder / SESSION, ignore_errors=True)
        if not (folder / SESSION).exists():
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(REMOVAL_S)
    # By its lock the next run finds it.
    (folder / LOCK).touch()


def _read_token_anew() -> None:
    """Have Ray look at the variables of tokens again, which it reads once; in this order, as its own tests do it."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """In the block this process, and what it starts, has these environment variables; afterwards those from before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A cluster that is started in the block listens where this machine alone hears it, and prints nothing."""
    constants: Any = ray_constants
    worker: Any = rays_worker
    before = constants.ENABLE_RAY_CLUSTER, worker.listen_error_messages
    # What says on other systems that this machine is to be no part of a larger cluster.
    constants.ENABLE_RAY_CLUSTER = False
    # It prints on standard output, among the tables, twenty lines for each process of Ray's that ends.
    worker.listen_error_messages = lambda *_: None
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER, worker.listen_error_messages = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray makes SIGTERM end this process at once; after the block it means what it meant before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
