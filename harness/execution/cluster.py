"""To a Ray cluster that exists and back, with our code on every node."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

import ray

from harness.execution import Packages
from harness.execution.local_cluster import FOR_WORKERS
from harness.stages.provenance import OURS, ROOT
from settings.errors import UserError

__all__ = ["connect", "disconnect", "pinned"]

FORWARDED = "SEEDBED_"
"""Beginning of the environment variables that workers on other nodes are given; Ray may write them into its logs."""
CONNECT_S = 10.0
"""How long a server at an address may take to accept a connection."""


def connect(address: str, packages: Packages = "installed") -> None:
    """Join the cluster at `address` (`auto`, `host:port`, `ray://…`); raises UserError where none answers."""
    _check_answers(address)
    # Ray has copied the folder to the cluster when `init` returns.
    with TemporaryDirectory() as folder, _told(address):
        sent = _sent(packages, Path(folder))
        ray.init(address=address, runtime_env=sent, log_to_driver=False, logging_level=logging.ERROR)


def disconnect() -> None:
    """Leave the cluster that this process is connected to."""
    ray.shutdown()


def _sent(packages: Packages, folder: Path) -> dict[str, object]:
    """The runtime environment of workers elsewhere: our packages as they are here, and the variables that they need.

    Ours alone travel, copied into `folder`, not the working directory: no run, photo or test can come along by mistake.
    What opens a store is handed over with each job (`credentials`), for Ray logs what is returned here.
    """
    for name in OURS:
        # Leaderboards are results that runs write into a checkout.
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("leaderboards", "__pycache__"))
    forwarded = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    content: dict[str, object] = {"env_vars": {**forwarded, **FOR_WORKERS}, "working_dir": str(folder)}
    if packages == "pinned":
        content["pip"] = list(pinned())
    return content


def pinned() -> Iterator[str]:
    """`name==version` of what Seedbed itself depends on, as installed here, but for Ray: a cluster has its own."""
    for requirement in requires("seedbed") or ():
        name = re.split(r"[^\w.-]", requirement)[0]
        # Ray cannot replace itself while it runs.
        if "extra ==" in requirement or name == "ray":
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        # The build (`+cu128`) is this machine's; PyPI knows versions without one.
        public, _, _ = installed.partition("+")
        yield f"{name}=={public}"


def _check_answers(address: str) -> None:
    """Raise UserError where no server answers at the address: Ray itself would look for a minute, then end the program.

    Anything else than host and port is left to Ray.
    """
    place = address.removeprefix("ray://")
    if address == "auto":
        place = _last_started()
    matched = re.fullmatch(r"(?P<host>[^/]+):(?P<port>\d+)", place)
    if matched:
        with _told(address):
            socket.create_connection((matched["host"], int(matched["port"])), CONNECT_S).close()


def _last_started() -> str:
    """What Ray takes for `auto`: the variable, else the cluster that was last started here; empty where neither is."""
    with suppress(OSError):
        folder = Path(os.environ.get("RAY_TMPDIR", "/tmp"))
        return os.environ.get("RAY_ADDRESS") or (folder / "ray" / "ray_current_cluster").read_text().strip()
    return ""


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What goes wrong in the block is told as the user's error: at that address no cluster answers."""
    try:
        yield
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        mend = "is it up? one with a token wants RAY_AUTH_MODE=token and the same ~/.ray/auth_token"
        found = f"'{address}', where no cluster answers ({reason})"
        raise UserError("--address", found, "a Ray cluster", mend) from None
