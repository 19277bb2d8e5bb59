"""What a grid costs beside its cells alone: 2⁵ cells of co-attention on `scenes`, by plan.

Five switches, from what is trained to how masks are cut: two of the training, two of reading the maps, one of the
labels. Stages are content-addressed, so that each outcome is made once, whoever asks for it. Aim: at most 40 % of the
core time of the cells alone. The bound is what no sharing makes less: what one cell alone needs, and once what several
need. `--store` takes measured seconds from a store that the grid was run on (`--write FILE` writes the suite to run
there), in place of guesses.
Run: python -m benchmarks.grid [--store STORE] [--write FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from harness.reports.estimate import grid_cost
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.suite import load_suite

AIM = 0.40
SUITE = """
dataset: scenes
backbone: {size: 224}
segmenter: none
policies: {held_out: pseudo_labels}
recipes:
  coattention:
    localizer: {name: coattention, scaled_pairs: [], training: {epochs: 5}}
    labeler: threshold
grid:
  of: coattention
  factors:
    contrastive: {on: {}, off: {localizer.contrastive: false}}
    heads:       {two: {}, one: {localizer.heads: one}}
    references:  {3: {}, 1: {localizer.references: 1}}
    fusion:      {mean: {}, max: {localizer.fusion: max}}
    rule:        {constant: {}, power: {labeler.rule: power}}
"""


def main() -> None:
    """Print core time together and alone, and the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", help="with what stages took, where they were run")
    parser.add_argument("--write", type=Path, help="write the suite there, to be run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.write or Path(folder) / "grid.yaml"
        path.write_text(SUITE, encoding="utf-8")
        plan = make_plan(load_suite(path))
        found = grid_cost(plan, Store.at(given.store or Path(folder) / "store"))
    assert found is not None
    print(found.to_text())
    print(f"share {found.together / found.alone:.1%} (aim: {AIM:.0%} or less), bound {found.bound / found.alone:.1%}")


if __name__ == "__main__":
    main()
