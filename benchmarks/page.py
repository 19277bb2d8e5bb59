"""How large the page is, how long it takes to be made, and when a browser can use it: 50 and 500 rows with counts.

Rows of three rng seeds at two stages, 200 photos, 21 classes. Aims: 2 MB for 50 rows; usable within 1 s for 50 rows and
2 s for 500. The browser is Debian's Chromium; where there is none, size and making are measured alone.
Run: python -m benchmarks.page
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from results.counted import ImageSums
from results.metrics.miou import iou
from results.page import Counts, Shown, render
from results.rows import Row, frame
from results.tables import tables

PHOTOS, CLASSES, SEEDS = 200, 21, 3
STAGES = ("pseudo_labels", "segmentation")


def made(rows: int) -> Iterator[tuple[Row, ImageSums]]:
    """Rows with their counts, of as many lines as make so many rows."""
    rng = np.random.default_rng(0)
    truth_NC = rng.integers(0, 5_000, (PHOTOS, CLASSES)) * (rng.random((PHOTOS, CLASSES)) < 0.15)
    truth_NC[:, 0] = 20_000
    names = ("background", *(f"class {n}" for n in range(1, CLASSES)))
    for line in range(rows // (SEEDS * len(STAGES))):
        for seed in range(SEEDS):
            for stage in STAGES:
                yield _row(f"recipe {line}", seed, stage, truth_NC, names, rng)


def _row(
    recipe: str, seed: int, stage: str, truth_NC: np.ndarray, names: tuple[str, ...], rng: np.random.Generator
) -> tuple[Row, ImageSums]:
    hits_NC = (truth_NC * rng.uniform(0.3, 0.9, truth_NC.shape)).astype(np.int64)
    missed_NC = truth_NC - hits_NC
    predicted_NC = hits_NC + np.roll(missed_NC, 1, axis=1)
    confusion_KK = np.diag(hits_NC.sum(axis=0))
    confusion_KK[np.arange(CLASSES), (np.arange(CLASSES) + 1) % CLASSES] = missed_NC.sum(axis=0)
    images = tuple(f"photo_{n:05}" for n in range(PHOTOS))
    sums = ImageSums(images, hits_NC, predicted_NC, truth_NC, confusion_KK)
    per_class = iou(hits_NC.sum(axis=0), truth_NC.sum(axis=0), predicted_NC.sum(axis=0))
    row = Row(
        dataset="made",
        split="train" if stage == "pseudo_labels" else "val",
        recipe=recipe,
        setting="clean",
        training_mode="frozen",
        rng_seed=seed,
        stage=stage,  # type: ignore[arg-type] # one of STAGES
        variant="" if stage == "pseudo_labels" else "ss",
        miou=float(per_class.mean()),
        per_class=per_class.tolist(),
        classes=list(names),
        evaluation_fingerprint=stage,
        training_fingerprint="f" * 64,
        supervision="I",
    )
    return row, sums


def usable_ms(path: Path) -> float | None:
    """Until a browser has built the page and run its script, the median of five times; None without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    script = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(5):
            page = browser.new_page()
            page.goto(path.as_uri())
            times.append(float(page.evaluate(script)))
            page.close()
        browser.close()
    return float(np.median(times))


def main() -> None:
    """Print a line for each number of rows."""
    for rows in (50, 500):
        pairs = list(made(rows))
        sums = {row.identity: found for row, found in pairs}
        start = time.process_time()
        found = tables(frame([row for row, _ in pairs]), counts=lambda row, sums=sums: sums[row.identity])
        compared = time.process_time() - start
        shown = Shown("made", "", (), tuple(found), tuple(row for row, _ in pairs), counts=Counts(sums))
        text = render([shown])
        made_in = time.process_time() - start - compared
        with TemporaryDirectory() as folder:
            path = Path(folder) / "report.html"
            path.write_text(text, encoding="utf-8")
            ms = usable_ms(path)
        told = "no chromium" if ms is None else f"usable after {ms:.0f} ms"
        print(
            f"{len(pairs)} rows: {len(text.encode()) / 1e6:.2f} MB, {told}; CPU seconds: {compared:.1f} for the "
            f"tables, {made_in:.1f} for the page"
        )


if __name__ == "__main__":
    main()
