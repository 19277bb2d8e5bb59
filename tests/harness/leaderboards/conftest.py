"""Small leaderboards' folders, made without a run, and masks to hand in."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.leaderboards.submission import Declared
from harness.reports.files import LeaderboardFiles
from results.counted import Counted, counts_to_keep
from results.measured import measured_fields
from results.metrics.counts import Counts
from results.per_image import confusion_table, write_table
from results.rows import Row, write_rows
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.masks import write_mask
from settings.supervision import Gate
from tests.results.conftest import make_row

CLASSES = ["background", "disc"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures and no page, which draws some too: they take longer than all the rest."""
    monkeypatch.setattr("harness.reports.reprint.write_figures", lambda *_: None)
    monkeypatch.setattr("harness.leaderboards.shared.write_page", lambda *_: None)


def counted(right: int) -> tuple[dict[str, object], Counted]:
    """The measured fields and counts per image of two photos, of which so many of 10 pixels each are right."""
    counts = Counts(np.array([[right, 10 - right], [0, 10]], np.int64))
    table = confusion_table([("a", counts), ("b", counts)])
    return {**measured_fields(counts + counts, CLASSES), "classes": CLASSES}, Counted(False, table)


def write_board(folder: Path, rows: Sequence[tuple[dict[str, object], int]]) -> Path:
    """A leaderboard's folder as a run leaves it: of each row what differs from the plain one, and its right pixels."""
    made, tables = [], {}
    for n, (changes, right) in enumerate(rows):
        fields, table = counted(right)
        made.append(make_row(**{"stage": "segmentation", **fields, **changes}))
        tables[n] = table
    folder.mkdir(parents=True)
    files = LeaderboardFiles(folder)
    write_rows(files.rows, made)
    found = counts_to_keep(made, tables, False)
    assert found is not None
    write_table(files.score_counts, found)
    return folder


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., Path]:
    """Makes a leaderboard's folder of that name."""

    def made(name: str, *rows: tuple[dict[str, object], int]) -> Path:
        return write_board(tmp_path / name, rows)

    return made


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    return Scenes(ScenesOptions(classes=2, size=32, train=4, dev=1, val=3))


@pytest.fixture
def masks(tmp_path: Path, scenes: Scenes) -> Callable[..., Path]:
    """Makes a folder of a split's true masks with some rows of pixels set to a value."""

    def made(name: str, lines: int = 4, value: int = 0, split: str = "val") -> Path:
        gate = Gate(scenes, "test", "show")
        for photo_id in scenes.splits[split]:
            mask = gate.mask(split, photo_id).copy()
            mask[:lines] = value
            write_mask(tmp_path / name / f"{photo_id}.png", mask)
        return tmp_path / name

    return made


@pytest.fixture
def declared() -> Declared:
    return Declared(recipe="theirs", supervision="I")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its place in it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows_in(folder: Path) -> list[Row]:
    from results.rows import read_rows

    return read_rows(LeaderboardFiles(folder).rows)
