"""The machine: devices, cores and threads, and room where Seedbed and Ray write."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from harness.checkups import Finding, State

STORE_WARNING, STORE_ERROR = 5 * 10**9, 200 * 10**6
"""A leaderboard on VOC writes some GB of features; below the second not even `scenes` ends."""
SHM_WARNING = 256 << 20
"""Ray's object store takes 80 MiB here, and Ray wants some room beside it; docker gives 64 MiB unless told."""
RAY_FULL = 0.95
"""Ray writes nothing any more to a disk that is fuller than this."""
SHM = Path("/dev/shm")
GPUS = Path("/proc/driver/nvidia/gpus")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def devices() -> Iterator[Finding]:
    """What `device: auto` means here, and whether the installed torch can use it."""
    from harness.stages.numerics import cpu_class, resolve_device

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
    from harness.stages.numerics import usable_cores

    cores = usable_cores()
    quota = _cpu_quota()
    if quota and quota < cores:
        mend = f"run with --slots {max(1, int(quota))}"
        yield Finding("cores", "warning", f"{cores} cores, but the container may use {quota:g} of them", mend)
    else:
        yield Finding("cores", "ok", f"{cores} of {os.cpu_count()}")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
            yield Finding(name, "warning", f"'{text}', which is no number of threads", f"unset {name}")
        elif text and int(text.split(",")[0]) > cores:
            mend = f"unset {name}, or set it to {cores} at most"
            yield Finding(name, "warning", f"{text} threads on {cores} cores: they wait for each other", mend)


def disk(store: Path) -> Iterator[Finding]:
    """Free space where the store lies or would lie, and where Ray keeps its session."""
    free = shutil.disk_usage(existing(store)).free
    state: State = "error" if free < STORE_ERROR else "warning" if free < STORE_WARNING else "ok"
    mend = "" if state == "ok" else "`seedbed store gc SUITE…`, or a --store on a larger disk"
    yield Finding("disk of the store", state, f"{free / 1e9:.1f} GB free at {existing(store)}", mend)
    temporary = shutil.disk_usage(tempfile.gettempdir())
    full = 1 - temporary.free / max(temporary.total, 1)
    found = f"{temporary.free / 1e9:.1f} GB free ({full:.0%} full) at {tempfile.gettempdir()}"
    mend = "free space there, set RAY_TMPDIR, or run with --executor serial" if full > RAY_FULL else ""
    yield Finding("disk of temporary files", "warning" if mend else "ok", found, mend)


def shared_memory() -> Iterator[Finding]:
    """Free shared memory: Ray's object store lies there."""
    if not SHM.is_dir():
        yield Finding(str(SHM), "warning", "not there: Ray uses slow temporary files", "run with --executor serial")
        return
    free = shutil.disk_usage(SHM).free
    mend = "more shared memory (docker: --shm-size=1g), or --executor serial" if free < SHM_WARNING else ""
    yield Finding(str(SHM), "warning" if mend else "ok", f"{free / 1e6:.0f} MB free", mend)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above that is there."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())


def _torch_cuda() -> str:
    """The CUDA version that torch was built for, read from its sources; empty without torch or CUDA."""
    spec = find_spec("torch")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "version.py"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if match := re.search(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)", text, re.MULTILINE):
            return match[1]
    return ""


def _gpu_names() -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(GPUS.glob("*/information"))]
    return [match[1].strip() for text in texts if (match := re.search(r"^Model:\s*(.+)$", text, re.MULTILINE))]


def _cpu_quota() -> float:
    """Cores that this container may use at a time (cgroup 2); 0 for no limit."""
    try:
        quota, period = CPU_MAX.read_text(encoding="utf-8").split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0
