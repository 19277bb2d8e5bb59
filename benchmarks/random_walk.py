"""Walks of 256 steps (three classes, radius 5): AffinityNet's and IRN's, beside squaring the dense matrix eight times,
and one sparse product a step.

python -m benchmarks.random_walk [--threads 1] [--device cuda]
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

from methods.networks.pixel_pairs import feature_distances, of_sources, of_targets, pixel_pairs
from methods.networks.random_walk import affinity_walk, irn_walk
from methods.networks.transitions import transition

CLASSES, CHANNELS, BETA, LOG2_STEPS, RADIUS = 3, 16, 8, 8, 5
SMALL, LARGE = (60, 60), (125, 94)
ROUNDS = 3
Walk = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def affinity(maps_CHW: torch.Tensor, feature_DHW: torch.Tensor) -> torch.Tensor:
    """Ours, on features."""
    return affinity_walk(maps_CHW, feature_DHW, BETA, LOG2_STEPS, RADIUS)


def irn(maps_CHW: torch.Tensor, feature_DHW: torch.Tensor) -> torch.Tensor:
    """Ours, on a boundary."""
    return irn_walk(maps_CHW, feature_DHW[0], BETA, LOG2_STEPS, RADIUS)


def stepwise(maps_CHW: torch.Tensor, feature_DHW: torch.Tensor) -> torch.Tensor:
    """The same sparse matrix, a product a step."""
    pairs = pixel_pairs(maps_CHW.shape[1:], RADIUS, "released")
    affinity_BP = (-BETA * feature_distances(feature_DHW[None], pairs)).double().exp()
    matrix = transition(affinity_BP, pairs, 1, *maps_CHW.shape[1:])
    rows_NC = maps_CHW.flatten(1).T.double()
    for _ in range(2**LOG2_STEPS):
        rows_NC = matrix @ rows_NC
    return rows_NC.T.reshape(maps_CHW.shape).float()


def dense(maps_CHW: torch.Tensor, feature_DHW: torch.Tensor, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """All h·w × h·w numbers, squared eight times."""
    grid = maps_CHW.shape[1:]
    pairs = pixel_pairs(grid, RADIUS, "released")
    index_BHW = torch.arange(grid.numel(), device=maps_CHW.device).view(1, *grid)
    here_P, there_P = of_sources(index_BHW, pairs)[0], of_targets(index_BHW, pairs)[0]
    affinity_P = (-BETA * feature_distances(feature_DHW[None], pairs))[0].to(dtype).exp()
    matrix = torch.eye(grid.numel(), dtype=dtype, device=maps_CHW.device)
    matrix[here_P, there_P] = matrix[there_P, here_P] = affinity_P
    matrix /= matrix.sum(0)
    for _ in range(LOG2_STEPS):
        matrix = matrix @ matrix
    return (maps_CHW.flatten(1).to(dtype) @ matrix).view_as(maps_CHW).float()


def dense32(maps_CHW: torch.Tensor, feature_DHW: torch.Tensor) -> torch.Tensor:
    """The same in float32, as released."""
    return dense(maps_CHW, feature_DHW, torch.float32)


WAYS: dict[str, Walk] = {
    "affinity": affinity,
    "irn": irn,
    "stepwise": stepwise,
    "dense": dense,
    "dense32": dense32,
}


def photo(grid: tuple[int, int], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps and features."""
    torch.manual_seed(0)
    return torch.rand(CLASSES, *grid, device=device), torch.rand(CHANNELS, *grid, device=device)


def seconds(walk: Walk, grid: tuple[int, int], device: str) -> float:
    """Time of one walk: of the CPU where it has one thread, so that other programs do not count."""
    clock = process_time if torch.get_num_threads() == 1 and device == "cpu" else perf_counter
    maps_CHW, feature_DHW = photo(grid, device)
    start = clock()
    walk(maps_CHW, feature_DHW)
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def speed(names: list[str], grid: tuple[int, int], device: str) -> None:
    """Median seconds of each way, and how often the walk on features fits into them: medians of ratios in a round."""
    for name in names:
        seconds(WAYS[name], (12, 12), device)
    times = [{name: seconds(WAYS[name], grid, device) for name in names} for _ in range(ROUNDS)]
    print(f"{grid[0]}×{grid[1]} positions:")
    for name in names:
        ratio = median(row[name] / row["affinity"] for row in times)
        print(f"    {name:9}{median(row[name] for row in times):9.3f} s: {ratio:.1f} × the walk on features")


def difference(grid: tuple[int, int], device: str) -> float:
    """The largest difference to the dense way's walk, relative to its highest value."""
    walked, expected = (walk(*photo(grid, device)) for walk in (affinity, dense))
    return float((walked - expected).abs().max() / expected.max())


def peak(name: str) -> None:
    """Print the MB that a walk on the large grid adds to the process at its highest."""
    WAYS[name](*photo((12, 12), "cpu"))
    inputs, before = photo(LARGE, "cpu"), memory("VmRSS")
    WAYS[name](*inputs)
    print(memory("VmHWM") - before)


def memory(entry: str) -> float:
    """MB; not ru_maxrss, which also counts the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def peaks() -> None:
    """Peak memory of the sparse ways, each in a process of its own, beside what two dense matrices take."""
    command = [sys.executable, "-m", "benchmarks.random_walk", "--peak"]
    two_matrices = 2 * (LARGE[0] * LARGE[1]) ** 2 * 4 / 2**20
    for name in ("affinity", "irn", "stepwise"):
        used = float(subprocess.check_output([*command, name]))
        print(f"peak at {LARGE[0]}×{LARGE[1]}, {name:9}{used:5.0f} MB (two dense matrices: {two_matrices:.0f} MB)")


def main() -> None:
    """Print times at 60×60, beside the dense way, and at 125×94, where that way would take minutes; peak memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peak", choices=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.peak:
        peak(arguments.peak)
        return
    print(f"256 steps, {CLASSES} classes, threads: {arguments.threads}, device: {arguments.device}")
    print(f"difference to the dense way at 30×30: {difference((30, 30), arguments.device):.1e}")
    speed(list(WAYS), SMALL, arguments.device)
    speed(["affinity", "irn", "stepwise"], LARGE, arguments.device)
    peaks()


if __name__ == "__main__":
    main()
