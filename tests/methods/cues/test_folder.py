"""Saliency made elsewhere: read as it is, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from methods.cues.folder import Folder, FolderOptions
from settings.errors import UserError
from settings.records import Photo
from tests.methods.conftest import Noted


def photo(photo_id: str = "a", source: str = "target") -> Photo:
    return Photo(photo_id, (0,), "c", lambda: np.zeros((3, 5, 3), np.uint8), source)


def cue(root: Path, **options: object) -> Folder:
    return Folder(FolderOptions(root=str(root), **options))


def maps_of(folder: Folder, *photos: Photo) -> list[np.ndarray]:
    return list(folder.apply(photos, Noted()))


def test_maps_come_as_they_are_in_the_order_of_the_photos(tmp_path: Path) -> None:
    maps = {name: np.random.default_rng(k).integers(0, 256, (3, 5), np.uint8) for k, name in enumerate("ab")}
    for name, map_HW in maps.items():
        Image.fromarray(map_HW).save(tmp_path / f"{name}.png")
    read = maps_of(cue(tmp_path), photo("b"), photo("a"))
    assert np.array_equal(read[0], maps["b"])
    assert np.array_equal(read[1], maps["a"])
    assert cue(tmp_path).files(photo("a")) == (tmp_path / "a.png",)


def test_a_source_may_have_a_root_of_its_own(tmp_path: Path) -> None:
    for folder in ("target", "web"):
        (tmp_path / folder).mkdir()
    named = cue(tmp_path / "target", sources={"web": str(tmp_path / "web")})
    assert named.files(photo("dog/x", "web")) == (tmp_path / "web" / "dog" / "x.png",)
    assert named.files(photo("dog/x")) == (tmp_path / "target" / "dog" / "x.png",)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((5, 3), np.uint8), "found 3×5 pixels; expected 5×3"),
        (np.zeros((3, 5, 3), np.uint8), "found mode RGB; expected an 8-bit grey PNG"),
        (np.zeros((3, 5), np.uint16), "found mode I;16; expected an 8-bit grey PNG"),
        (None, "found no such file"),
    ],
)
def test_what_is_no_saliency_map_is_refused(tmp_path: Path, pixels: np.ndarray | None, message: str) -> None:
    if pixels is not None:
        Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"a\.png: {message}"):
        maps_of(cue(tmp_path), photo())


def test_ids_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an id that names a file inside the folder"):
        cue(tmp_path).files(photo("../secret"))


def test_the_supervision_is_as_declared(tmp_path: Path) -> None:
    assert cue(tmp_path).supervision == "S"
    assert cue(tmp_path, supervision="S+L").supervision == "S+L"
