"""What a process tells of itself and its machine: the driver and each node answer the same question.

Nothing but Python is needed to answer, so that a node without our packages answers too; torch is asked in a process
of its own.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.execution.meeting import Meeting

# torch comes over a network file system on many clusters, and its import takes its time.
TORCH_S = 50
MEMINFO = Path("/proc/meminfo")
NVIDIA = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Question:
    """What is asked of every node and of the driver itself: what to hash, to look up, to open, and where to meet."""

    ours: tuple[str, ...]
    """Seedbed's own packages, whose sources are compared."""
    packages: tuple[str, ...]
    """Distributions whose versions are compared."""
    data: Mapping[str, str]
    """Folders by the name that the driver's configuration gives them."""
    meeting: Meeting


@dataclass(frozen=True)
class Answer:
    """What a process found; an empty text stands for nothing wrong, or for a package that is not installed."""

    sources: str
    """sha256 over Seedbed's sources."""
    python: str
    packages: Mapping[str, str]
    gpus: int
    """GPUs that torch finds; 0 where torch was not asked."""
    gpu_trouble: str
    store_trouble: str
    data_troubles: Mapping[str, str]
    memory_free: int
    """Bytes; -1 where the kernel does not tell."""
    temporary_free: int
    temporary_total: int
    store_free: int
    """Bytes; -1 where there is no such folder."""


def answer(question: Question, node: str = "", declared_gpus: float = 0) -> Answer:
    """Look around; with a `node` id also visit the meeting. torch is asked where a GPU is declared or built in."""
    meeting = question.meeting
    # A node without any GPU is spared the import of torch.
    gpus, gpu_trouble = 0, ""
    if declared_gpus or NVIDIA.is_dir():
        gpus, gpu_trouble = torch_gpus()
    store_trouble = ""
    if node and not meeting.driver_trouble:
        store_trouble = meeting.visit(node)
    store_free = -1
    if Path(meeting.store).is_dir():
        store_free = shutil.disk_usage(meeting.store).free
    temporary = shutil.disk_usage(tempfile.gettempdir())
    return Answer(
        sources=sources(question.ours),
        python=platform.python_version(),
        packages={name: installed_version(name) for name in question.packages},
        gpus=gpus,
        gpu_trouble=gpu_trouble,
        store_trouble=store_trouble,
        data_troubles={name: _trouble_with(Path(root)) for name, root in question.data.items()},
        memory_free=memory_free(),
        temporary_free=temporary.free,
        temporary_total=temporary.total,
        store_free=store_free,
    )


def sources(packages: tuple[str, ...]) -> str:
    """sha256 over the modules and settings of these packages, wherever this process imports them from."""
    digest = sha256()
    for name in packages:
        spec = find_spec(name)
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or []:
            for path in sorted(Path(folder).rglob("*")):
                relative = path.relative_to(folder)
                # Leaderboards are results that runs write into a checkout.
                if path.suffix in (".py", ".yaml") and "leaderboards" not in relative.parts:
                    digest.update(f"{name}/{relative.as_posix()}\0".encode() + sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def torch_gpus() -> tuple[int, str]:
    """How many GPUs torch can use here, and why it could not be asked."""
    output, trouble = run_python("import torch; print(torch.cuda.device_count())", TORCH_S)
    if trouble:
        return 0, trouble
    # The last word: some sites print a banner whenever Python starts.
    return int(output.split()[-1]), ""


def run_python(code: str, timeout_s: float) -> tuple[str, str]:
    """What some code prints in a process of its own, which it may end, and the last line of the trouble that it had."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return "", f"no end after {timeout_s} s"
    if not done.returncode:
        return done.stdout, ""
    lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return "", lines[-1]


def memory_free() -> int:
    """Bytes that programs can still have; -1 where the kernel does not tell."""
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return -1
    for line in lines:
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return -1


def installed_version(package: str) -> str:
    """The version of an installed distribution; empty where it is not installed."""
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""


def _trouble_with(root: Path) -> str:
    """Why a folder of data cannot be read on this machine; empty where it can."""
    if not root.is_dir():
        return "is not a folder there"
    if not os.access(root, os.R_OK | os.X_OK):
        return "cannot be read there"
    return ""
