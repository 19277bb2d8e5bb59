"""Pictures of single photos: which they are, what they show, and that photos of others are left to those who ask."""

import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.reports.files import LeaderboardFiles
from harness.reports.leaderboard import Finished
from harness.reports.page import shown_of
from harness.reports.tiles import write_tiles
from harness.store.store import Store
from harness.suites.data import dataset_of
from results.page import Counts, PhotoScores
from settings.datasets.scenes import Scenes
from settings.errors import UserError

LINES = {"cam · clean", "cam+saliency · clean", "coattention · clean"}


def picture(found: dict, place: int) -> np.ndarray:
    data = base64.b64decode(found["images"][place].partition(",")[2])
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def test_photos_have_pictures_of_what_every_line_made(smoke: Finished) -> None:
    found = json.loads((smoke.folder / "tiles.json").read_text())
    dataset = dataset_of(smoke.run.plan.suite.dataset)
    splits = [sum(photo.startswith(split) for photo in found["photos"]) for split in ("train", "val")]
    assert splits == [12, 12]
    assert set(found["colours"]) == set(dataset.label_space.names)
    for name, photo in found["photos"].items():
        assert set(photo["lines"]) == LINES
        heads = [head for head, _ in photo["lines"]["cam · clean"]]
        train = ["localization maps", "pseudo label", "prediction"]
        assert heads == (train if name.startswith("train") else ["prediction"])
    name, photo = next(iter(found["photos"].items()))
    drawn, truth = picture(found, photo["photo"]), picture(found, photo["truth"])
    assert np.abs(drawn - dataset.photo(name).image()).mean() < 12
    # Where nothing is, the truth shows the photo itself; the rims of objects lie around them.
    apart = np.abs(truth - drawn).max(axis=2)
    mask = dataset.read_mask(name)
    assert apart[mask > 0].mean() > 4 * apart[mask == 0].mean()


def scores(*per_mille: tuple[int | None, ...]) -> PhotoScores:
    photos = tuple(f"train_{n:05}" for n in range(24))
    names = tuple(f"line {n}" for n in range(len(per_mille)))
    return PhotoScores("pseudo labels", "train", names, photos, (), (), per_mille, 0)


def test_photos_by_which_lines_differ_most_are_among_them(smoke: Finished, tmp_path: Path) -> None:
    one, other = [500] * 24, [500] * 24
    one[17], other[21], other[19] = 900, 50, None
    files = LeaderboardFiles(tmp_path)
    write_tiles(smoke.run, Store.at(smoke.run.location), [scores(tuple(one), tuple(other))], files)
    photos = json.loads(files.tiles.read_text())["photos"]
    named = {"train_00000", "train_00006", "train_00012", "train_00018"}
    assert {*named, "train_00021", "train_00017"} <= set(photos)
    # Twelve of train, and of val, which no scores are given of, the four of the sheets.
    assert len(photos) == 16


def test_photos_of_others_are_for_those_who_ask(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenes, "photos_are_ours", False)
    files = LeaderboardFiles(tmp_path)
    write_tiles(smoke.run, Store.at(smoke.run.location), [], files)
    assert files.photo_tiles.read_bytes() == (_written(smoke, tmp_path / "ours", monkeypatch)).read_bytes()
    images = {}
    for outlines in (True, False):
        tiles = shown_of(files, [], [], Counts(), tmp_path, outlines).tiles
        assert tiles is not None
        images[outlines] = set(tiles.images)
    assert images[True].isdisjoint(images[False])


def _written(smoke: Finished, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Scenes, "photos_are_ours", True)
    folder.mkdir()
    write_tiles(smoke.run, Store.at(smoke.run.location), [], LeaderboardFiles(folder))
    return LeaderboardFiles(folder).tiles


@pytest.mark.parametrize("text", ["", "[]", '{"images": ["http://x"], "photos": {}, "colours": {}}', '{"images": []}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tiles.json").write_text(text)
    with pytest.raises(UserError, match=r"tiles\.json"):
        shown_of(LeaderboardFiles(tmp_path), [], [], Counts(), tmp_path, outlines=True)
