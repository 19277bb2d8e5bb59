"""PAMR on a photo with three maps, beside the way of its paper's program: all neighbours of all maps in one tensor.

python -m benchmarks.pamr [--threads 1]
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from torch.nn.functional import pad

from methods.networks.pamr import DILATIONS, ITERATIONS, NEIGHBOURS, pamr

SIDES, ROUNDS = (80, 160, 320), 5
Refine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def neighbours(values_BCHW: torch.Tensor) -> torch.Tensor:
    """(B, C, N, H, W)."""
    height, width = values_BCHW.shape[2:]
    moved = []
    for d in DILATIONS:
        padded = pad(values_BCHW, (d,) * 4, mode="replicate")
        moved += [padded[:, :, d + y * d :, d + x * d :][:, :, :height, :width] for y, x in NEIGHBOURS]
    return torch.stack(moved, 2)


def stacked(maps_BCHW: torch.Tensor, image_B3HW: torch.Tensor) -> torch.Tensor:
    """The formulas on tensors that hold every neighbour."""
    near, own = neighbours(image_B3HW), image_B3HW[:, :, None]
    deviation = torch.cat([near, own.expand(-1, -1, len(DILATIONS), -1, -1)], 2).std(2, keepdim=True)
    weights = (-(near - own).abs() / (0.1 * deviation + 1e-8)).mean(1, keepdim=True).softmax(2)
    for _ in range(ITERATIONS):
        maps_BCHW = (neighbours(maps_BCHW) * weights).sum(2)
    return maps_BCHW


WAYS: dict[str, Refine] = {"pamr": pamr, "stacked": stacked}


def photo(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps and image."""
    torch.manual_seed(0)
    return torch.rand(1, 3, side, side), torch.rand(1, 3, side, side)


def seconds(refine: Refine, side: int) -> float:
    """Time of one photo: of the CPU where it has one thread, so that other programs do not count."""
    clock = process_time if torch.get_num_threads() == 1 else perf_counter
    inputs = photo(side)
    start = clock()
    refine(*inputs)
    return clock() - start


def memory(entry: str) -> float:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def main() -> None:
    """Print the time of both ways at three sizes, and what each adds to the process at its highest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.set_flush_denormal(True)
    for refine in WAYS.values():
        seconds(refine, 32)
    for name, refine in WAYS.items():  # the one that needs less comes first: the highest so far is what is read
        before = memory("VmRSS")
        seconds(refine, SIDES[-1])
        print(f"peak at {SIDES[-1]}×{SIDES[-1]}, {name:8}{memory('VmHWM') - before:6.0f} MB")
    for side in SIDES:
        times = [{name: seconds(refine, side) for name, refine in WAYS.items()} for _ in range(ROUNDS)]
        for name in WAYS:
            print(f"{side}×{side}, {name:8}{median(row[name] for row in times) * 1e3:6.0f} ms")
        print(f"    stacked takes {median(row['stacked'] / row['pamr'] for row in times):.1f} times as long")


if __name__ == "__main__":
    main()
