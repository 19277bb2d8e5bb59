"""How core-seconds grow: with photos and classes of scenes, and planning and gathering with the number of recipes.

Photos: a small suite with each dear kind of stage at 1, 2 and 4 times 64 photos (40 of train, 8 of dev, 16 of val, so
that every batch is full); the straight line through the three points should miss none of them by more than 10 %: what
it begins at is the fixed cost. Classes: the same suite at 2, 6 and 20. Recipes: CAM at 1, 10 and 100 thresholds,
without stage 2; planning, and gathering the rows of a finished run. CPU seconds on one core, a process a run; photos
and classes are run once a point, of plan and gather the least of three counts. Writes growth.csv and growth.png beside
this file.

Run: python -m benchmarks.growth [--only photos classes recipes]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import matplotlib as mpl
import numpy as np

from benchmarks._builds import HERE
from harness.execution.running import run_suite
from harness.reports.gathering import gather
from harness.stages.planning import make_plan
from harness.suites.suite import load_suite

mpl.use("Agg")

from matplotlib import pyplot as plt

FOLDER = Path(__file__).parent
PHOTOS, CLASSES, RECIPES = (1, 2, 4), (2, 6, 20), (1, 10, 100)
STRAIGHT = 0.10
SUITE = """
dataset: {{name: scenes, classes: {classes}, train: {train}, dev: {dev}, val: {val}}}
settings: {{clean: {{}}}}
backbone: {{size: 224}}
references: [all-background]
segmenter: deeplab
gallery: 0
recipes:
  cam: {{localizer: cam, labeler: {{name: threshold, threshold: 0.62}}}}
  cam+affinity:
    localizer: cam
    refiners: [{{name: affinity, low: 0.5, high: 2.0, log2_steps: 6, background_power: 1.0}}]
    labeler: {{name: threshold, threshold: 0.48}}
    segmenter: none
  coattention:
    localizer: {{name: coattention, scaled_pairs: [], training: {{epochs: 5}}}}
    labeler: {{name: threshold, threshold: 0.97}}
    segmenter: none
"""
MANY = """
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
    localizer: {{name: cam, hidden: 16, training: {{epochs: 1, batch: 8}}}}
    labeler: {{name: threshold, threshold: {threshold}}}
"""


@dataclass(frozen=True)
class Point:
    """One measurement: what of, at how many (times the photos, classes, recipes), and CPU seconds."""

    what: str
    amount: int
    seconds: float


def whole(what: str, photos: int, classes: int, folder: Path) -> float:
    """Core-seconds of a run of the small suite on an empty store: its stages, without imports, planning, gathering."""
    path = folder / f"{what}-{photos}-{classes}.yaml"
    path.write_text(SUITE.format(classes=classes, train=40 * photos, dev=8 * photos, val=16 * photos))
    run = HERE.suite(str(path), folder / path.stem, "--executor", "serial")
    return sum(run.stages.values())


def least(work: Callable[[], object]) -> float:
    """CPU seconds in this process: the least of three."""
    times = []
    for _ in range(3):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)


def of_recipes(number: int, folder: Path) -> list[Point]:
    """Planning a suite of so many recipes, and gathering it once it was run."""
    path = folder / f"{number}.yaml"
    recipes = [RECIPE.format(number=i, threshold=i / 100) for i in range(number)]
    path.write_text(MANY + "".join(recipes))
    suite = load_suite(str(path), ())
    planning = least(lambda: make_plan(suite))
    with run_suite(suite, folder / path.stem, "serial") as run:
        gathering = least(lambda: gather(run))
    return [Point("plan", number, planning), Point("gather", number, gathering)]


def straightness(points: Sequence[Point]) -> tuple[float, float, float]:
    """The line through the points by least squares: seconds at 0, seconds a unit; and the largest relative miss."""
    amounts, seconds = np.array([point.amount for point in points]), np.array([point.seconds for point in points])
    slope, start = np.polyfit(amounts, seconds, 1)
    miss = np.abs(start + slope * amounts - seconds) / seconds
    return float(start), float(slope), float(miss.max())


def plot(points: Sequence[Point], path: Path) -> None:
    """One panel a question, each beginning at 0 seconds."""
    panels = (("photos", ("photos",)), ("classes", ("classes",)), ("recipes", ("plan", "gather")))
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3.6), layout="constrained")
    for (label, names), panel in zip(panels, axes, strict=True):
        for name in names:
            own = [point for point in points if point.what == name]
            panel.plot([point.amount for point in own], [point.seconds for point in own], "o-", label=name)
        shown = [point for point in points if point.what in names]
        panel.set(xlabel="times the photos" if label == "photos" else label, ylabel="core-seconds")
        if label == "photos" and len(shown) > 1:
            start, slope, miss = straightness(shown)
            panel.axline((0, start), slope=slope, color="0.6", linewidth=0.8, zorder=0)
            panel.set_title(f"{start:.1f} s + {slope:.1f} s a unit, at most {100 * miss:.0f} % off", fontsize="small")
        if label == "recipes":
            panel.legend()
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("photos", "classes", "recipes"))
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of growth.csv and growth.png")
    options = parser.parse_args()
    wanted = options.only or ["photos", "classes", "recipes"]
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "photos" in wanted:
            points += [Point("photos", amount, whole("photos", amount, 6, folder)) for amount in PHOTOS]
            start, slope, miss = straightness(points)
            verdict = "straight" if miss <= STRAIGHT else "not straight"
            print(
                f"photos: {start:.1f} s + {slope:.1f} s a unit, at most {100 * miss:.1f} % off the line: {verdict}",
                flush=True,
            )
        if "classes" in wanted:
            points += [Point("classes", amount, whole("classes", 1, amount, folder)) for amount in CLASSES]
        if "recipes" in wanted:
            for amount in RECIPES:
                points += of_recipes(amount, folder)
    for point in points:
        print(f"{point.what:8} {point.amount:4} {point.seconds:9.3f} s")
    with (options.output / "growth.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("what", "amount", "core-seconds"))
        writer.writerows((point.what, point.amount, round(point.seconds, 4)) for point in points)
    plot(points, options.output / "growth.png")


if __name__ == "__main__":
    main()
