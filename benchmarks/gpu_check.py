"""A proof on a GPU that takes eight minutes: whether everything that computes there is right, and how fast it is.

It needs one GPU, this repository and what it installs; no network. voc12-animals is read below SEEDBED_REAL_DATA where
it is there, else scenes are rendered. Each part runs in a process of its own and has a time limit; one that fails or
takes too long is written down with its reason, and the rest goes on. Writes one JSON and one page.

Run: make gpu-check, or python -m benchmarks.gpu_check [--only PART …] [--output FOLDER]
Without a GPU it says so and ends; `--rehearse` then runs every part on the CPU at a tiny size, which claims nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._gpu import PARTS
from benchmarks._gpu.__main__ import MARK
from benchmarks._gpu.report import Measure, Part, Report

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "results" / "gpu"
REHEARSED = ROOT / "runs" / "gpu-check"
WHOLE_S = 480.0
"""All parts together."""
SLOWER = 10
"""How many times as long a rehearsal may take: on a busy laptop the start of a process alone takes half a minute."""
LINES = 12
"""So many of the last lines of what a failed part printed are its reason."""
NO_GPU = (
    "no GPU is here that torch can use: nothing was checked, and nothing is claimed "
    "(python -m benchmarks.gpu_check --rehearse runs every part on the CPU at a tiny size)"
)


def check(parts: Sequence[str], rehearsal: bool, whole_s: float = WHOLE_S) -> Report:
    """Run the parts one after the other, each within what is left of the time."""
    device, patience = ("cpu", SLOWER) if rehearsal else ("cuda", 1)
    found, end = [], time.monotonic() + patience * whole_s
    for name in parts:
        part = import_module(f"benchmarks._gpu.{name}")
        limit_s = max(1.0, min(patience * part.LIMIT_S, end - time.monotonic()))
        command = [sys.executable, "-m", "benchmarks._gpu", name, "--device", device, *["--tiny"] * rehearsal]
        found.append(run_part(name, part.TITLE, command, limit_s))
        print(f"{found[-1].title}: {found[-1].status} ({found[-1].seconds:.1f} s)", flush=True)
    return Report(machine(device), rehearsal, tuple(found))


def run_part(name: str, title: str, command: Sequence[str], limit_s: float) -> Part:
    """Run a part's command, which gets a folder of its own, for at most so many seconds."""
    start = time.monotonic()
    with TemporaryDirectory(prefix="seedbed-gpu-", ignore_cleanup_errors=True) as folder:
        # A file, and not a pipe: what outlives a killed part would keep that open.
        printed = Path(folder) / "printed.txt"
        with printed.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [*command, "--folder", folder],
                cwd=ROOT,
                env=_environment(),
                stdout=file,
                stderr=file,
                # What it starts (Ray, processes that train together) ends with it.
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output = printed.read_text(encoding="utf-8", errors="replace")
    seconds = round(time.monotonic() - start, 1)
    measures = tuple(_measures(output))
    wrong = [measure.name for measure in measures if measure.ok is False]
    if code is None:
        reason = f"stopped after {limit_s:.0f} s; it had measured {len(measures)} things"
        return Part(name, title, "timed out", seconds, limit_s, reason, measures)
    if code:
        return Part(name, title, "failed", seconds, limit_s, _last_lines(output, code), measures)
    if wrong:
        return Part(name, title, "failed", seconds, limit_s, f"not as expected: {', '.join(wrong)}", measures)
    return Part(name, title, "passed", seconds, limit_s, "", measures)


def _measures(output: str) -> Iterator[Measure]:
    for line in output.splitlines():
        if line.startswith(MARK):
            yield Measure(**json.loads(line.removeprefix(MARK)))


def _last_lines(output: str, code: int) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(MARK)]
    return "\n".join([f"exit code {code}", *lines[-LINES:]])


def _environment() -> dict[str, str]:
    # A checkout that is installed nowhere runs too, in the processes that a part starts as well.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Relative to where this was called: parts are called from the checkout.
    data = Path(os.environ.get("SEEDBED_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SEEDBED_REAL_DATA": str(data)}


def machine(device: str) -> Mapping[str, str]:
    """What a reader of the numbers has to know of where they come from."""
    import torch

    told = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        told["GPU"] = (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, one of {torch.cuda.device_count()}"
        )
        told["CUDA"] = f"{torch.version.cuda}, compute capability {properties.major}.{properties.minor}"
        told["cuDNN"] = str(torch.backends.cudnn.version())
        told["TF32"] = (
            f"convolutions {torch.backends.cudnn.allow_tf32}, products {torch.backends.cuda.matmul.allow_tf32}"
        )
    return told


def _commit() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, write, and tell in a line; the exit code is 1 where a part did not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--output", type=Path, help="the folder to write; default results/gpu, of a rehearsal runs/")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at tiny sizes, claiming nothing")
    options = parser.parse_args(arguments)
    import torch

    if not options.rehearse and not torch.cuda.is_available():
        print(NO_GPU)
        return 0
    report = check(options.only, options.rehearse)
    name = "rehearsal"
    if not options.rehearse:
        gpu = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(0).lower()).strip("-")
        name = f"{gpu}-{datetime.now(UTC):%Y-%m-%d}"
    paths = report.write(options.output or (REHEARSED if options.rehearse else KEPT), name)
    print(f"{report.summary()}: {' and '.join(map(str, paths))}")
    return int(bool(report.failed))


if __name__ == "__main__":
    # A part is a session of its own: it is to end when this process is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
