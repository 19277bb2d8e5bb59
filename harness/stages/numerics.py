"""What makes numbers differ in their last digits, found without importing torch and put in every key."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from harness.suites.suite import Compute


def resolve_device(wanted: str) -> str:
    """`auto` is cuda where a driver and a visible device are there, else cpu."""
    if wanted != "auto":
        return wanted
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "any") in ("", "-1")
    return "cuda" if Path("/dev/nvidiactl").exists() and not hidden else "cpu"


def numerics(compute: Compute, threads: int, processes: int = 1) -> dict[str, Any]:
    """The part of a key that names the arithmetic: device kind, CPU class, precision, memory format, threads.

    Several processes are named too, and how they do batch norm; one goes without saying.
    """
    device = resolve_device(compute.device)
    where = {"cpu": cpu_class(), "threads": threads} if device == "cpu" else {}
    many = {"train_processes": processes, "sync_batch_norm": compute.sync_batch_norm} if processes > 1 else {}
    return {"device": device, "precision": compute.precision, "memory_format": "channels_last", **where, **many}


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_class() -> str:
    """The widest vector unit of this CPU that torch's kernels use: amx, avx512, avx2 or other."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "other"
    flags = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    return next((name for name, flag in _CPU_FLAGS.items() if flag in flags), "other")


_CPU_FLAGS = {"amx": "amx_bf16", "avx512": "avx512f", "avx2": "avx2"}
