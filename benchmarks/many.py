"""How planning, tables and loading grow with the number of recipes and rows, beside an older commit.

Planning is what `seedbed plan` does on an empty store, for CAM with so many options. Rows are two scored stages of
recipes with three rng seeds. Loading is `results.load` of a store that this machine has read once before. CPU seconds
in one process on one core, each point once; a size is left out where the one before took more than 30 s. Writes
many.csv and many.png beside this file. Of an older commit planning and tables are measured, as far back as c3d8e38.

Run: python -m benchmarks.many [--checkout FOLDER], the latter a checkout of the older commit
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
SIZES = {"plan": (200, 800, 2000), "tables": (1000, 5000, 15000, 50000), "load": (500, 1000, 2000)}
UNITS = {"plan": "recipes", "tables": "rows", "load": "rows"}
PATIENCE_S = 30
SUITE = """
dataset: {name: scenes, classes: 2, size: 48, train: 24, dev: 8, val: 16}
settings: {clean: {}}
backbone: {name: test_efficientnet, weights: random, size: 64}
references: []
segmenter: none
gallery: 0
recipes:
"""
RECIPE = """
  r{number}:
    localizer: {{name: cam, hidden: {hidden}, training: {{epochs: 1, batch: 8}}}}
    labeler: {{name: threshold, threshold: {threshold}}}
"""


class Point(NamedTuple):
    """One measurement."""

    code: str
    what: str
    amount: int
    seconds: float


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of one call in this process."""
    start = process_time()
    work()
    return process_time() - start


def plan_s(number: int, folder: Path) -> float:
    """Reading a suite of so many recipes, and planning it on an empty store."""
    import harness

    path = folder / "many.yaml"
    recipes = [RECIPE.format(number=i, hidden=16 + i // 100, threshold=i % 100 / 100) for i in range(number)]
    path.write_text(SUITE + "".join(recipes))
    return timed(lambda: harness.plan(str(path), folder / "store").to_text())


def rows_of(number: int) -> list[Any]:
    """Rows of two stages of recipes with three rng seeds each."""
    from results.rows import Row

    known = {field.name for field in fields(Row)}
    rows = []
    for i in range(number):
        recipe, stage = i // 6, ("pseudo_labels", "segmentation")[i // 3 % 2]
        content = {
            "dataset": "d",
            "split": "val",
            "recipe": f"r{recipe}",
            "setting": "clean",
            "training_mode": "frozen",
            "backbone": "b",
            "backbone_size": 64,
            "options": f"{recipe:08x}",
            "rng_seed": i % 3,
            "stage": stage,
            "miou": i * 7919 % 10007 / 10007,
            "per_class": [0.1, 0.2, 0.3],
            "classes": ["background", "a", "b"],
            "threshold": 0.5,
            "coverage": 0.9,
            "counts": f"{i:016x}",
            "evaluation_fingerprint": "e" * 64,
            "training_fingerprint": "t" * 64,
            "supervision": "I",
        }
        # Older rows have fewer columns.
        rows.append(Row(**{name: value for name, value in content.items() if name in known}))
    return rows


def tables_s(number: int, folder: Path) -> float:
    """The tables of so many rows, with their texts."""
    from results.rows import frame
    from results.tables import tables

    rows = rows_of(number)
    return timed(lambda: [(table.to_markdown(), table.to_csv()) for table in tables(frame(rows))])


def load_s(number: int, folder: Path) -> float:
    """`results.load` of a store with so many rows, the second time."""
    import results
    from harness.store.layout import Ref
    from harness.store.store import Store
    from results.rows import write_rows

    store = Store.at(str(folder / "store")).create()
    for place, row in enumerate(rows_of(number)):
        attempt = store.attempt(Ref("row", f"{place:064x}"))
        write_rows(attempt.path("rows.parquet"), [row])
        store.publish(attempt)
    results.load(folder / "store")
    return timed(lambda: results.load(folder / "store"))


MEASURES = {"plan": plan_s, "tables": tables_s, "load": load_s}


def measured(code: str, checkout: Path, whats: tuple[str, ...] = tuple(SIZES)) -> list[Point]:
    """The points of a checkout, each in a process of its own."""
    points = []
    for what in whats:
        for amount in SIZES[what]:
            with tempfile.TemporaryDirectory() as folder:
                known = {"PYTHONPATH": str(checkout), "SEEDBED_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
                command = [sys.executable, str(Path(__file__).resolve()), "--measure", what, str(amount), folder]
                text = subprocess.run(command, env=os.environ | known, cwd=folder, check=True, capture_output=True)
            points.append(Point(code, what, amount, float(text.stdout)))
            print(*points[-1], flush=True)
            if points[-1].seconds > PATIENCE_S:
                break
    return points


def plot(points: list[Point], path: Path) -> None:
    """One panel a question, both scales logarithmic: what is straight has the slope of the grey line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SIZES), figsize=(11, 3.6), layout="constrained")
    for what, panel in zip(SIZES, axes, strict=True):
        of_panel = [point for point in points if point.what == what]
        for code in dict.fromkeys(point.code for point in of_panel):
            own = [point for point in of_panel if point.code == code]
            panel.loglog([point.amount for point in own], [point.seconds for point in own], "o-", label=code)
        low = min(of_panel, key=lambda point: point.seconds)
        panel.axline((low.amount, low.seconds), (10 * low.amount, 10 * low.seconds), color="0.7", zorder=0)
        panel.set(title=what, xlabel=UNITS[what], ylabel="CPU seconds")
        panel.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of many.csv and many.png")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, amount, folder = options.measure
        print(MEASURES[what](int(amount), Path(folder)))
        return
    points = measured("here", FOLDER.parent)
    if options.checkout:
        points += measured(options.checkout.resolve().name, options.checkout.resolve(), ("plan", "tables"))
    with (options.output / "many.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([Point._fields, *points])
    plot(points, options.output / "many.png")


if __name__ == "__main__":
    main()
