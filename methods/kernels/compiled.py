"""The door to compiled loops: numba where it can be had, plain torch where not.

A kernel works on numpy views of CPU tensors, for a range of images, and lets go of the interpreter: torch's number of
threads share the images. Sums over a batch are kept image by image and added afterwards, so that the number of threads
shows nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import has_torch_function

__all__ = ["available", "counts_for", "images_first", "jit", "over_images", "photo_by_photo"]

Function = TypeVar("Function", bound=Callable[..., Any])
HOW: Mapping[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}
"""Sums may be added in another order; what is no number stays no number, so that a diverged training is seen."""


@cache
def _numba() -> Any:
    try:
        import numba
        from llvmlite.binding import get_host_cpu_features
    except ImportError:
        return None
    config: Any = numba.config
    features = get_host_cpu_features()
    if config.CPU_FEATURES is None and features.get("avx512f"):
        # The compiler takes half-width vectors by default, for processors that slow down with whole ones.
        config.CPU_FEATURES = f"{features.flatten()},-prefer-256-bit"
    return numba


def available() -> bool:
    """Whether kernels are compiled here: numba is installed for this Python."""
    return _numba() is not None


def jit(function: Function) -> Function:
    """Compile a loop over numpy arrays at its first call, and keep the machine code for later processes.

    Without numba the function stays as it is: nothing that asks `available` calls it.
    """
    numba = _numba()
    if numba is None:
        return function
    try:
        compiled: Function = numba.njit(cache=True, **HOW)(function)
    except RuntimeError:
        # No folder of this machine may be written in: compiled anew by every process.
        compiled = numba.njit(**HOW)(function)
    return compiled


def counts_for(*tensors: torch.Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether a kernel may take these tensors: of this type on the CPU, and numba at hand."""
    return all(one.device.type == "cpu" and one.dtype == dtype for one in tensors) and available()


def photo_by_photo(module: nn.Module, *frozen_BCHW: torch.Tensor) -> bool:
    """Whether a part of a network trains by its compiled form, which goes photo by photo.

    On a CPU, with one thread and one process, on features that want no gradient.
    """
    is_alone = torch.get_num_threads() == 1 and not has_torch_function(frozen_BCHW)
    is_frozen = not any(one.requires_grad for one in frozen_BCHW)
    return module.training and is_alone and is_frozen and counts_for(*frozen_BCHW)


def images_first(values_BCHW: torch.Tensor) -> NDArray[np.float32]:
    """A view (B, H, W, C) of a channels_last tensor; of any other, a copy."""
    view: NDArray[np.float32] = values_BCHW.detach().permute(0, 2, 3, 1).contiguous().numpy()
    return view


def over_images(kernel: Callable[[int, int], None], images: int) -> None:
    """Call `kernel(first, last)` for all images, in as many threads as torch has."""
    threads = min(torch.get_num_threads(), images)
    if threads <= 1:
        kernel(0, images)
        return
    edges = [images * part // threads for part in range(threads + 1)]
    # Reading every result raises what a thread raised.
    list(_pool(threads).map(kernel, edges[:-1], edges[1:]))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "kernel")
