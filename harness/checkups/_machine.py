"""This machine: Python and packages, devices, cores and threads, and room where Seedbed and Ray write."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from harness.checkups import Finding, State
from harness.checkups._probe import installed_version, run_python
from harness.stages.numerics import cpu_class, resolve_device, usable_cores
from harness.stages.provenance import OURS, ROOT

# By a pattern: `packaging`, which reads requirements, is no dependency of ours.
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,.-]*\])?\s*>=\s*(?P<least>[\d.]+)(?P<extra>.*extra\s*==.*)?")
# Large ones with compiled parts, which are what breaks.
IMPORTED = ("numpy", "pyarrow", "torch", "torchvision", "timm", "numba", "ray")
IMPORT_TIMEOUT_S = 120
INSTALL = f"{sys.executable} -m pip install"
# A leaderboard on VOC writes some GB of features; below the second not even `scenes` ends.
STORE_WARNING, STORE_ERROR = 5 * 10**9, 200 * 10**6
# Ray's object store takes 80 MiB here, and Ray wants some room beside it; docker gives 64 MiB unless told.
SHM_WARNING = 256 << 20
# Ray writes nothing any more to a disk that is fuller than this.
RAY_FULL = 0.95
SHM = Path("/dev/shm")
GPUS = Path("/proc/driver/nvidia/gpus")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


class Requirement(NamedTuple):
    """A package that Seedbed needs, or (`is_optional`) that some suites ask for."""

    name: str
    least: str
    is_optional: bool


def requirements() -> list[Requirement]:
    """What Seedbed's metadata asks for, without what only developers need; nothing where it is not installed."""
    try:
        texts = requires("seedbed") or []
    except PackageNotFoundError:
        return []
    found = []
    for text in texts:
        match = REQUIREMENT.match(text)
        if match is None:
            continue
        extra = match["extra"] or ""
        if "dev" not in extra:
            found.append(Requirement(match["name"], match["least"], bool(extra)))
    return found


def python() -> Iterator[Finding]:
    """Whether Seedbed is installed, from where, and whether this Python is as new as its metadata asks for."""
    here = f"{platform.python_version()} ({sys.executable})"
    try:
        least = re.sub(r"[^\d.]", "", metadata("seedbed")["Requires-Python"] or "")
    except PackageNotFoundError:
        yield Finding("seedbed", "error", f"not installed; read from {ROOT}", f"{INSTALL} -e {ROOT}")
        return
    yield Finding("seedbed", "ok", f"{version('seedbed')} at {ROOT}")
    if _numbers(platform.python_version()) < _numbers(least):
        yield Finding("python", "error", here, f"use Python {least} or newer")
    else:
        yield Finding("python", "ok", here)


def packages() -> Iterator[Finding]:
    """Each package that Seedbed needs against the lower bound of its metadata; all that are right in one line."""
    right, absent_extras = [], []
    for name, least, is_optional in requirements():
        found = installed_version(name)
        if found and _numbers(found) >= _numbers(least):
            right.append(f"{name} {found}")
        elif is_optional and not found:
            absent_extras.append(name)
        else:
            mend = f"{INSTALL} '{name}>={least}'"
            yield Finding(name, "error", f"{found or 'absent'}, and {least} or newer is needed", mend)
    yield Finding("packages", "ok", ", ".join(right) or "none")
    if absent_extras:
        mend = f"{INSTALL} {' '.join(absent_extras)}, if a suite asks for them"
        yield Finding("optional packages", "ok", f"absent: {', '.join(absent_extras)}", mend)


def imports() -> Iterator[Finding]:
    """Import the large packages, each in a process of its own: one that is broken may end its process."""
    for name in IMPORTED:
        _, trouble = run_python(f"import {name}", IMPORT_TIMEOUT_S)
        if trouble:
            mend = f"{INSTALL} --force-reinstall {name.replace('_', '-')}"
            yield Finding(f"import {name}", "error", trouble, mend)
        else:
            yield Finding(f"import {name}", "ok", "works")


def shadows() -> Iterator[Finding]:
    """Files that Python finds before our packages when it is started here, or through PYTHONPATH."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = dict.fromkeys([Path.cwd(), *map(Path, filter(None, named))])
    found = []
    for folder in folders:
        if folder.resolve() != ROOT:
            found += [folder / f"{name}.py" for name in OURS if (folder / f"{name}.py").is_file()]
            # A folder without __init__.py hides nothing: Python prefers a whole package further on.
            found += [folder / name for name in OURS if (folder / name / "__init__.py").is_file()]
    for path in found:
        what = f"{path} hides Seedbed's package '{path.stem}' in notebooks and `python -m`"
        yield Finding("hidden packages", "warning", what, "rename it, or start Python in another folder")
    if not found:
        yield Finding("hidden packages", "ok", "none")


def devices() -> Iterator[Finding]:
    """What `device: auto` means here, and whether the installed torch can use it."""
    yield Finding("cpu", "ok", f"class {cpu_class()}")
    if resolve_device("auto") != "cuda":
        yield Finding("gpu", "ok", "none that may be used; stages run on the CPU")
    elif built_for := _torch_cuda():
        yield Finding("gpu", "ok", f"{', '.join(_gpu_names()) or 'NVIDIA'}; torch is built for CUDA {built_for}")
    else:
        mend = "install a CUDA build of torch (pytorch.org), or run with --set compute.device=cpu"
        yield Finding("gpu", "error", "an NVIDIA GPU, but torch is built without CUDA", mend)


def threads() -> Iterator[Finding]:
    """Cores that this process may use, and settings that make threads tread on each other."""
    cores = usable_cores()
    # A container's quota hides from affinity: threads beyond it are put to sleep in turn.
    quota = _cpu_quota()
    if quota and quota < cores:
        mend = f"run with --slots {max(1, int(quota))}"
        yield Finding("cores", "warning", f"{cores} cores, but the container may use {quota:g} of them", mend)
    else:
        yield Finding("cores", "ok", f"{cores} of {os.cpu_count()}")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
            yield Finding(name, "warning", f"'{text}' in place of a number of threads", f"unset {name}")
        elif text and int(text.split(",")[0]) > cores:
            mend = f"unset {name}, or set it to {cores} at most"
            yield Finding(name, "warning", f"{text} threads on {cores} cores: they wait for each other", mend)


def disk(store: Path) -> Iterator[Finding]:
    """Free space where the store lies or would lie, and where Ray keeps its session."""
    free = shutil.disk_usage(existing(store)).free
    state, mend = room_in_store(free)
    yield Finding("disk of the store", state, f"{free / 1e9:.1f} GB free at {existing(store)}", mend)
    temporary = shutil.disk_usage(tempfile.gettempdir())
    full = 1 - temporary.free / max(temporary.total, 1)
    found = f"{temporary.free / 1e9:.1f} GB free ({full:.0%} full) at {tempfile.gettempdir()}"
    if full > RAY_FULL:
        mend = "free space there, set RAY_TMPDIR, or run with --executor serial"
        yield Finding("disk of temporary files", "warning", found, mend)
    else:
        yield Finding("disk of temporary files", "ok", found)


def room_in_store(free: int) -> tuple[State, str]:
    """Whether so many free bytes will do for a store, and what to do where they are few."""
    mend = "`seedbed store gc SUITE…`, or a --store on a larger disk"
    if free < STORE_ERROR:
        return "error", mend
    if free < STORE_WARNING:
        return "warning", mend
    return "ok", ""


def shared_memory() -> Iterator[Finding]:
    """Free shared memory, where Ray keeps its objects: docker gives less than they take unless it is told."""
    if not SHM.is_dir():
        yield Finding(str(SHM), "warning", "not there: Ray uses slow temporary files", "run with --executor serial")
        return
    free = shutil.disk_usage(SHM).free
    found = f"{free / 1e6:.0f} MB free"
    if free < SHM_WARNING:
        mend = "more shared memory (docker: --shm-size=1g), or --executor serial"
        yield Finding(str(SHM), "warning", found, mend)
    else:
        yield Finding(str(SHM), "ok", found)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above that is there."""
    resolved = path.resolve()
    return next(folder for folder in (resolved, *resolved.parents) if folder.exists())


def _torch_cuda() -> str:
    """The CUDA version that torch was built for, read from its sources; empty without torch or CUDA."""
    # Its import takes seconds, and a broken one may end this process.
    spec = find_spec("torch")
    if spec is None:
        return ""
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / "version.py"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if match := re.search(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)", text, re.MULTILINE):
                return match[1]
    return ""


def _gpu_names() -> list[str]:
    """The models of the GPUs that NVIDIA's driver knows; without torch, which may itself be what is broken."""
    names = []
    for path in sorted(GPUS.glob("*/information")):
        if match := re.search(r"^Model:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            names.append(match[1].strip())
    return names


def _cpu_quota() -> float:
    """Cores that this container may use at a time (cgroup 2); 0 for no limit."""
    try:
        quota, period = CPU_MAX.read_text(encoding="utf-8").split()
        if quota == "max":
            return 0.0
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0


def _numbers(text: str) -> tuple[int, ...]:
    """A version's numbers, to compare: 2.10.1+cu128 → (2, 10, 1)."""
    leading = re.match(r"\d+(\.\d+)*", text)
    if leading is None:
        return ()
    return tuple(map(int, leading[0].split(".")))
