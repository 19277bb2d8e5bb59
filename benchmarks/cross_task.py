"""One training step of the cross-task affinity: peak memory and CPU seconds in chunks, and with whole N×N matrices.

python -m benchmarks.cross_task [--side 64]
"""

import argparse
import resource
import subprocess
import sys
from time import process_time

import torch

from methods.networks import cross_task

CHANNELS, CLASSES, WIDTH = 320, 20, 64
WAYS = ("chunks", "whole")


def step(way: str, side: int) -> None:
    """Run a step in this process and print its CPU seconds and what its peak memory is above that of a 4×4 grid."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = cross_task.CrossTaskNetwork(CHANNELS, CLASSES, WIDTH, (3, 6, 9))
    run(network, 4)
    before = peak()
    if way == "whole":
        cross_task.CHUNK_ENTRIES = side**4
    start = process_time()
    run(network, side)
    print(f"{process_time() - start:.1f} {peak() - before:.0f}")


def run(network: cross_task.CrossTaskNetwork, side: int) -> None:
    """Forward and backward, of one photo."""
    truth_BHW = torch.zeros(1, 2 * side, 2 * side, dtype=torch.uint8)
    predictions = network(torch.rand(1, CHANNELS, side, side))
    terms = cross_task.losses(predictions, torch.ones(1, CLASSES), truth_BHW, truth_BHW)
    torch.stack(list(terms.values())).sum().backward()


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Each way in a process of its own, since a peak never falls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="of the grid of positions")
    parser.add_argument("--way", choices=WAYS, help="in this process alone")
    arguments = parser.parse_args()
    if arguments.way:
        step(arguments.way, arguments.side)
        return
    for way in WAYS:
        command = [sys.executable, "-m", __spec__.name, "--side", str(arguments.side), "--way", way]
        seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        print(f"{arguments.side}×{arguments.side} positions, {way}: {megabytes} MB, {seconds} s of CPU")


if __name__ == "__main__":
    main()
