"""Predictions in the layout of a server: which photos, which values, the archive; and what is refused."""

import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.execution.workers import Workers
from harness.leaderboards import prediction
from harness.leaderboards.prediction import Predicted, Request, predict
from harness.reports.display import Display
from harness.reports.leaderboard import Finished
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.dataset import ServerLayout
from settings.errors import UserError
from settings.masks import PALETTE, read_mask, write_mask


def predicted(store: Path, output: Path | None, *changes: str, **wanted: Any) -> Predicted:
    request = Request(**{"recipe": "all-background", **wanted})
    return predict(load_suite("smoke", changes), store, request, output, Workers("serial"), Display)


def test_photos_of_the_test_set_are_segmented_and_packed(tmp_path: Path) -> None:
    found = predicted(tmp_path / "store", tmp_path / "out", "dataset.val=3")
    assert found.folder == tmp_path / "out/results/scenes/test" and found.photos == 3
    assert sorted(path.name for path in found.folder.iterdir()) == [f"test_0000{i}.png" for i in range(3)]
    with tarfile.open(found.archive) as tar:
        assert tar.getnames() == [f"results/scenes/test/test_0000{i}.png" for i in range(3)]
        member = tar.extractfile("results/scenes/test/test_00001.png")
        assert member is not None
        image = Image.open(BytesIO(member.read()))
    assert image.mode == "P" and image.size == (48, 48) and not np.asarray(image).any()
    before = found.archive.read_bytes()
    assert predicted(tmp_path / "store", tmp_path / "again", "dataset.val=3").archive.read_bytes() == before


def test_what_a_run_has_made_is_not_made_again(smoke: Finished, tmp_path: Path) -> None:
    store = Store(smoke.run.store_folder)
    logs = len(store.logs())
    found = predicted(smoke.run.store_folder, tmp_path, recipe="cam", split="val")
    assert found.photos == 16 and found.line == "cam, setting clean, rng seed 0, ss"
    assert len(store.logs()) == logs


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"recipe": "cams"}, "--recipe: found unknown recipe 'cams'.*did you mean 'cam'"),
        ({"split": "tests"}, "--split: found unknown split 'tests'.*did you mean 'test'"),
        ({"setting": "web"}, "--setting: found unknown setting 'web'"),
        ({"rng_seed": 9}, "--rng-seed: found 9; expected one of 0"),
        ({"variant": "ms"}, "--variant: found unknown variant 'ms'"),
    ],
)
def test_names_that_are_unknown(tmp_path: Path, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        predicted(tmp_path, None, **wanted)


def test_a_recipe_that_segments_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--recipe: found 'cam', which ends before segmentation"):
        predicted(tmp_path, None, "segmenter=none", "references=[]", recipe="cam")


def test_files_lie_where_the_server_of_voc_looks_for_them(tmp_path: Path) -> None:
    values = np.zeros(256, np.uint8)
    values[1:3] = 15, 8
    layout = ServerLayout("results/VOC2012/Segmentation/comp6_test_cls", values)
    write_mask(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8))
    archive = prediction._write({"2008_t": tmp_path / "a.png"}, layout, tmp_path / "out")
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["results/VOC2012/Segmentation/comp6_test_cls/2008_t.png"]
    path = tmp_path / "out" / layout.folder / "2008_t.png"
    assert read_mask(path).tolist() == [[0, 15, 8]]
    with Image.open(path) as image:
        colours = bytes(image.getpalette("RGB") or ())
    assert colours[: 3 * 21] == PALETTE[: 3 * 21]
