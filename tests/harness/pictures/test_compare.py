"""`seedbed compare`: what it leaves in a folder, and what its sheet shows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.pictures import changed as drawing
from harness.pictures.changed import MaskDrawing, SuiteDrawing
from harness.pictures.compare import compare
from harness.reports.leaderboard import Finished
from harness.reports.sides import MaskOptions, Sides, StorePlace, Wanted, sides_of_masks, sides_of_rows
from results.pair import Change
from settings.errors import UserError
from settings.masks import write_mask
from tests.results.test_pair import made, side

SIDES = Sides(side(made(0.7), "ours"), side(made(0.5), "theirs"), "scenes, val", ("a note",))


def test_texts_and_the_sheet_are_left_in_the_folder(tmp_path: Path) -> None:
    seen: list[str] = []

    def draw(sides: Sides, changes: Any) -> tuple[str, bytes]:
        seen.extend(change.image for change in changes)
        return "sheet.png", b"png"

    found = compare(SIDES, tmp_path / "new", draw)
    assert found.sheet == str(tmp_path / "new" / "sheet.png")
    assert seen == [change.image for change in found.pair.changed]
    assert json.loads((tmp_path / "new" / "comparison.json").read_text())["verdict"] == "better"
    assert json.loads(found.to_json())["notes"] == ["a note"]
    assert (tmp_path / "new" / "comparison.md").read_text(encoding="utf-8") == found.to_markdown() + "\n"
    assert r"\toprule" in (tmp_path / "new" / "comparison.tex").read_text(encoding="utf-8")


def test_a_sheet_that_cannot_be_drawn_is_told_and_an_older_one_goes(tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_bytes(b"of another pair")

    def draw(sides: Sides, changes: Any) -> tuple[str, bytes]:
        raise UserError("store", "nothing", "something")

    assert compare(SIDES, tmp_path, draw).sheet == "no sheet: store: found nothing; expected something"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"comparison.{e}" for e in ("json", "md", "tex")]
    assert compare(SIDES, tmp_path).sheet.startswith("no sheet: masks are drawn of")
    assert compare(SIDES).sheet == ""


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output"):
        compare(SIDES, tmp_path / "file")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was handed to the drawing, which is left out."""
    seen: dict[str, Any] = {}

    def to_png(rows: Any, columns: Any, space: Any, title: str) -> bytes:
        seen.update(rows=rows, heads=[column.head for column in columns], names=space.names, title=title)
        seen["cells"] = [[column.draw(row.photo.id, row.photo.image()) for column in columns] for row in rows]
        return b"png"

    monkeypatch.setattr(drawing, "to_png", to_png)
    return seen


def test_masks_are_drawn_beside_the_true_ones_over_photos_where_there_are_some(
    tmp_path: Path, drawn: dict[str, Any]
) -> None:
    for name in ("truth", "a", "b", "photos"):
        (tmp_path / name).mkdir()
    for n in range(3):
        for name, rows in (("truth", 6), ("a", 2), ("b", 4)):
            mask = np.zeros((9, 10), np.uint8)
            mask[: rows - n % 2] = 1
            write_mask(tmp_path / name / f"{n}.png", mask)
        Image.fromarray(np.full((9, 10, 3), 60 + n, np.uint8)).save(tmp_path / "photos" / f"{n}.png")
    masks = MaskOptions(tmp_path / "a", tmp_path / "b", tmp_path / "truth", 2)
    sides = sides_of_masks(masks)
    for photos, file, grey in ((None, "sheet.png", 200), (tmp_path / "photos", "photos-sheet.png", 62)):
        name, _ = MaskDrawing(masks, photos)(sides, [Change("2", 0.25, 0.5)])
        assert name == file
        assert drawn["heads"] == ["truth", "A\na", "B\nb"]
        (row,) = drawn["rows"]
        assert (row.photo.id, row.note) == ("2", "mIoU 0.250 and 0.500")
        assert (row.photo.image() == grey).all()
        # Background is the photo itself: each mask shows where it ends.
        for cell, rows in zip(drawn["cells"][0], (6, 2, 4), strict=True):
            assert (cell.image[rows + 1 :] == grey).all() and (cell.image[:rows] != grey).any()
    with pytest.raises(UserError, match="--photos"):
        MaskDrawing(masks, tmp_path / "nowhere")
    with pytest.raises(UserError, match="no photo 'other'"):
        MaskDrawing(masks, tmp_path / "photos")(sides, [Change("other", 0.25, 0.5)])


def test_recipes_are_drawn_from_the_store(smoke: Finished, drawn: dict[str, Any]) -> None:
    store = smoke.run.store_folder
    place = StorePlace(store, "smoke")
    sides = sides_of_rows("cam", "all-background", place, place, Wanted())
    found = compare(sides)
    name, _ = SuiteDrawing("smoke", [], store)(sides, found.pair.changed)
    assert name == "sheet.png"
    assert drawn["heads"] == ["truth", "A\ncam, clean", "B\nall-background, clean"]
    assert [row.photo.id for row in drawn["rows"]] == [change.image for change in found.pair.changed]
    assert all(cell.values == frozenset() for _, _, cell in drawn["cells"])
