"""One step of the co-attention head and its loss, forward and backward: each attention kernel, the rule's choice, and
the plain way, which stores the affinity matrix and both softmaxes and mixes all channels.

python -m benchmarks.coattention_head [--threads 2] [--device cuda]
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

from methods.networks.attention import kernel_for
from methods.networks.coattention import CoAttentionHead, PairMaps, pair_loss

CHANNELS, CLASSES = 512, 20
SIDES_AND_ROUNDS = {16: 31, 32: 15, 64: 5}
Step = Callable[[torch.Tensor, torch.Tensor], PairMaps]


def plain(head: CoAttentionHead, feature_m: torch.Tensor, feature_n: torch.Tensor) -> PairMaps:
    """The paper's formulas, word by word."""
    rows_m, rows_n = feature_m.flatten(2).transpose(1, 2), feature_n.flatten(2).transpose(1, 2)
    affinity = head.affinity(rows_m) @ rows_n.transpose(1, 2)
    common_m = (affinity.softmax(2) @ rows_n).transpose(1, 2).reshape(feature_m.shape)
    common_n = (affinity.softmax(1).transpose(1, 2) @ rows_m).transpose(1, 2).reshape(feature_n.shape)
    contrastive_m = (1 - head.gate(common_m).sigmoid()) * feature_m
    contrastive_n = (1 - head.gate(common_n).sigmoid()) * feature_n
    basic = head.basic_maps(feature_m), head.basic_maps(feature_n)
    return PairMaps(*basic, *map(head.common_head, (common_m, common_n, contrastive_m, contrastive_n)))


def ways() -> dict[str, Step]:
    """What is compared, on heads of equal weights."""
    heads = {kernel: CoAttentionHead(CHANNELS, CLASSES, kernel=kernel) for kernel in ("dense", "fused", "chunked")}
    rule = CoAttentionHead(CHANNELS, CLASSES)
    for head in heads.values():
        head.load_state_dict(rule.state_dict())
    return {"rule": rule, **heads, "plain": partial(plain, rule)}


def photos(side: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of a pair, as wanted from a backbone that is trained too, and labels."""
    torch.manual_seed(0)
    features = [torch.rand(1, CHANNELS, side, side, device=device, requires_grad=True) for _ in range(2)]
    labels = [
        torch.zeros(1, CLASSES, device=device).index_fill_(1, torch.tensor(at, device=device), 1)
        for at in ([0, 1], [1, 2])
    ]
    return features[0], features[1], labels[0], labels[1]


def seconds(step: Step, side: int, device: str) -> float:
    """Time of one step: of the CPU where it has one thread, so that other programs do not count."""
    clock = process_time if torch.get_num_threads() == 1 and device == "cpu" else perf_counter
    feature_m, feature_n, labels_m, labels_n = photos(side, device)
    start = clock()
    pair_loss(step(feature_m, feature_n), labels_m, labels_n).total.backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def speed(side: int, rounds: int, device: str) -> None:
    """Median milliseconds, and the rule's time beside each other's: medians of ratios within a round."""
    steps = ways()
    for step in steps.values():
        (step.args[0] if isinstance(step, partial) else step).to(device)
        seconds(step, side, device)
    times = [{name: seconds(step, side, device) for name, step in steps.items()} for _ in range(rounds)]
    print(f"{side * side:5} positions, the rule takes {kernel_for(side * side, side * side, device)}:")
    for name in steps:
        ratio = median(row["rule"] / row[name] for row in times)
        print(f"    {name:8}{median(row[name] for row in times) * 1e3:9.1f} ms; the rule's time is {ratio:.2f} of it")


def peak(name: str) -> None:
    """Print the MB that a step at 64×64 positions adds to the process at its highest."""
    step, inputs = ways()[name], photos(64, "cpu")
    seconds(step, 8, "cpu")
    before = memory("VmRSS")
    pair_loss(step(inputs[0], inputs[1]), inputs[2], inputs[3]).total.backward()
    print(memory("VmHWM") - before)


def memory(entry: str) -> float:
    """MB; not ru_maxrss, which also counts the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def main() -> None:
    """Print the time of each way at 256, 1,024 and 4,096 positions, and peak memory at the last."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peak", choices=list(ways()))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.peak:
        peak(arguments.peak)
        return
    print(f"head + loss, C = {CHANNELS}, forward + backward, threads: {arguments.threads}, device: {arguments.device}")
    for side, rounds in SIDES_AND_ROUNDS.items():
        speed(side, rounds, arguments.device)
    command = [sys.executable, "-m", "benchmarks.coattention_head", "--peak"]
    megabytes = {name: float(subprocess.check_output([*command, name])) for name in ways()}
    for name, used in megabytes.items():
        print(f"peak at 4096 positions, {name:8}{used:7.0f} MB: {used / megabytes['plain']:.2f} of the plain way's")


if __name__ == "__main__":
    main()
