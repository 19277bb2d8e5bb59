"""What makes numbers differ in their last digits, found without importing torch and put in every key."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.stages.kind import Numerics
from harness.suites.suite import Compute

__all__ = [
    "cpu_class",
    "has_compiled_loops",
    "may_have_gpu",
    "numerics_of",
    "precision_of",
    "resolve_device",
    "usable_cores",
]

_CPU_FLAGS = {"amx": "amx_bf16", "avx512": "avx512f", "avx2": "avx2"}
"""The flags in /proc/cpuinfo, the widest unit first."""
_LIMITS = (
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
"""The variables by which torch and the libraries below it take other kernels than the CPU's best; oneDNN's have two
names."""
_UNLIMITED = {"amx": "avx512", "avx512": "avx512", "avx2": "avx2"}
"""By vector unit: the value of the first of these variables that leaves all as it is."""
_NVIDIA = "/dev/nvidiactl"
_DRIVERS = (_NVIDIA, "/dev/nvidia0", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""What torch's `cuda` may stand for: NVIDIA's driver, on small boards, below Windows, and AMD's."""


def resolve_device(wanted: str) -> str:
    """`cpu` or `cuda`: for `auto`, cuda where a driver and a visible device are there."""
    if wanted != "auto":
        return wanted
    # Without torch, whose import takes seconds: a plan asks too. Where torch then finds none, the worker says so.
    if Path(_NVIDIA).exists() and not _hides_gpus():
        return "cuda"
    return "cpu"


def may_have_gpu() -> bool:
    """False where no driver of a GPU is there, or all GPUs are hidden: then torch finds none, which is not asked."""
    return not _hides_gpus() and any(Path(driver).exists() for driver in _DRIVERS)


def _hides_gpus() -> bool:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "any") in ("", "-1")


def numerics_of(compute: Compute, threads: int, processes: int = 1, bfloat16_pays: bool = False) -> Numerics:
    """The part of a key that names the arithmetic: device kind, precision, memory format, CPU class and threads.

    Several processes are named too, and how they do batch norm; one goes without saying, since keys are older than
    the choice. `bfloat16_pays`: the stage trains a component that says so of itself.
    """
    precision = precision_of(compute, bfloat16_pays)
    numerics = Numerics(resolve_device(compute.device), precision, memory_format="channels_last")
    if numerics.device == "cpu":
        # The kernels that a CPU takes, and the order in which threads add up, show in last digits.
        numerics = replace(numerics, cpu=cpu_class(), threads=threads)
        if not has_compiled_loops():
            numerics = replace(numerics, kernels="torch")
    if processes > 1:
        numerics = replace(numerics, train_processes=processes, sync_batch_norm=compute.sync_batch_norm)
    return numerics


def precision_of(compute: Compute, bfloat16_pays: bool) -> str:
    """`float32`, `bfloat16` (a GPU's autocast), or `bfloat16 products` (a CPU's: nothing but factors are rounded).

    `auto` is float32 but for trainings that were measured to be faster in bfloat16, on a CPU with AMX that nothing
    limits.
    """
    device, wanted = resolve_device(compute.device), compute.precision
    if wanted == "auto":
        wanted = "float32"
        if bfloat16_pays and device == "cpu" and cpu_class() == "amx":
            wanted = "bfloat16"
    if wanted == "bfloat16" and device == "cpu":
        return "bfloat16 products"
    return wanted


@cache
def has_compiled_loops() -> bool:
    """Whether numba is installed, which compiles the loops of `methods.kernels`; without importing it."""
    return find_spec("numba") is not None


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    # Containers and batch systems give few of many cores; macOS does not tell, and gives all.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_class() -> str:
    """The widest vector unit of this CPU that torch's kernels use, amx, avx512, avx2 or other, and what limits them.

    A limit is a variable of the environment and its value: `amx, ATEN_CPU_CAPABILITY=avx2`.
    """
    unit = _vector_unit()
    limits = []
    for name in _LIMITS:
        value = os.environ.get(name, "")
        is_usual = name == _LIMITS[0] and value == _UNLIMITED.get(unit)
        if value and not is_usual:
            limits.append(f"{name}={value}")
    return ", ".join([unit, *limits])


@cache
def _vector_unit() -> str:
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
