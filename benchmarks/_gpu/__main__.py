"""Runs one part of the GPU check in a process of its own, and prints each measure as a line of JSON.

Started by `benchmarks.gpu_check`: a part that fails, hangs or breaks the GPU's state ends alone.
"""

import argparse
import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

from benchmarks._gpu import PARTS
from benchmarks._gpu.place import Place

MARK = "measure: "
"""What lines of measures begin with: libraries print too."""


def main() -> None:
    """Run the part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    part = import_module(f"benchmarks._gpu.{options.part}")
    for measure in part.measures(Place(options.device, options.tiny, options.folder)):
        print(MARK + json.dumps(asdict(measure)), flush=True)


if __name__ == "__main__":
    main()
