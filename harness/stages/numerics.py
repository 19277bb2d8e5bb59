"""What makes numbers differ in their last digits, found without importing torch and put in every key."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from harness.stages.kind import Numerics
from harness.suites.suite import Compute

__all__ = ["cpu_class", "numerics_of", "resolve_device", "usable_cores"]

_CPU_FLAGS = {"amx": "amx_bf16", "avx512": "avx512f", "avx2": "avx2"}
"""The flags in /proc/cpuinfo, the widest unit first."""


def resolve_device(wanted: str) -> str:
    """`cpu` or `cuda`: for `auto`, cuda where a driver and a visible device are there."""
    if wanted != "auto":
        return wanted
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "any") in ("", "-1")
    return "cuda" if Path("/dev/nvidiactl").exists() and not is_hidden else "cpu"


def numerics_of(compute: Compute, threads: int, processes: int = 1) -> Numerics:
    """The part of a key that names the arithmetic: device kind, precision, memory format, CPU class and threads.

    Several processes are named too, and how they do batch norm; one goes without saying, since keys are older than
    the choice.
    """
    device = resolve_device(compute.device)
    is_cpu, together = device == "cpu", processes > 1
    return Numerics(
        device,
        compute.precision,
        memory_format="channels_last",
        cpu=cpu_class() if is_cpu else None,
        threads=threads if is_cpu else None,
        train_processes=processes if together else None,
        sync_batch_norm=compute.sync_batch_norm if together else None,
    )


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def cpu_class() -> str:
    """The widest vector unit of this CPU that torch's kernels use: amx, avx512, avx2 or other."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "other"
    flags: set[str] = set()
    for line in lines:
        if line.startswith("flags"):
            flags = set(line.split())
            break
    for name, flag in _CPU_FLAGS.items():
        if flag in flags:
            return name
    return "other"
