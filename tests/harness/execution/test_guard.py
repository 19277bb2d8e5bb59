"""A method that opens a true mask past the gate: its stage fails, and says which file and which stage."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.reports.leaderboard import run_and_gather
from harness.suites.suite import load_suite
from settings.masks import write_mask

CHEAT = """
import numpy as np
from pathlib import Path
from methods.base import Labeler
from PIL import Image

class Cheat(Labeler):
    "Reads the true mask of each photo."
    needs_maps = False

    def label(self, photo, maps, cue_HW=None):
        return np.asarray(Image.open(Path({folder!r}) / (photo.id + ".png")))
"""
SUITE = """
plugins: [cheat.py]
dataset: {{name: folder, root: {root}}}
policies: {{fixed: pseudo_labels}}
recipes:
  cheat: {{labeler: cheat}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six photos of one class with masks."""
    folder = tmp_path / "photos"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    ids = [f"p{number}" for number in range(6)]
    for number, photo_id in enumerate(ids):
        Image.new("RGB", (12, 10), (40 * number, 9, 9)).save(folder / "images" / f"{photo_id}.png")
        write_mask(folder / "masks" / f"{photo_id}.png", np.full((10, 12), number % 2, np.uint8))
    for split, members in {"train": ids[:3], "dev": ids[3:4], "val": ids[4:]}.items():
        (folder / f"{split}.txt").write_text("".join(f"{photo_id}\n" for photo_id in members))
    (folder / "classes.txt").write_text("cat\n")
    (folder / "labels.csv").write_text("id,labels\n" + "".join(f"{photo_id},cat\n" for photo_id in ids))
    return folder


def reason(tmp_path: Path, root: Path) -> str:
    (tmp_path / "mine.yaml").write_text(SUITE.format(root=root))
    finished = run_and_gather(load_suite(tmp_path / "mine.yaml"), tmp_path / "store", "serial")
    (row,) = finished.board.rows
    return row.reason


def test_a_labeler_that_opens_true_masks_is_a_hole_that_names_file_and_stage(tmp_path: Path, root: Path) -> None:
    (tmp_path / "cheat.py").write_text(CHEAT.format(folder=str(root / "masks")))
    found = reason(tmp_path, root)
    assert "masks/p0.png" in found and "opened by stage 'label' past the gate" in found


def test_masks_made_elsewhere_lie_elsewhere(tmp_path: Path, root: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path in (root / "masks").iterdir():
        (tmp_path / "elsewhere" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "cheat.py").write_text(CHEAT.format(folder=str(tmp_path / "elsewhere")))
    assert reason(tmp_path, root) == ""


def test_the_true_masks_themselves_are_no_masks_made_elsewhere(tmp_path: Path, root: Path) -> None:
    """The component for masks made elsewhere is refused the data set's own."""
    (tmp_path / "mine.yaml").write_text(
        SUITE.format(root=root)
        .replace("plugins: [cheat.py]\n", "")
        .replace("{labeler: cheat}", f"{{labeler: {{name: folder, root: {root / 'masks'}, supervision: I}}}}")
    )
    finished = run_and_gather(load_suite(tmp_path / "mine.yaml"), tmp_path / "store", "serial")
    assert "past the gate" in finished.board.rows[0].reason
