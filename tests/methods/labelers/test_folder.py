"""Masks that another program made: taken as they are, or refused by the name of their file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from methods.labelers.folder import Folder
from methods.outside import OutsideOptions
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import Photo

MASK = np.array([[0, 1, 255], [3, 3, 0]], np.uint8)


def photo(photo_id: str = "p", labels: tuple[int, ...] = (0, 2)) -> Photo:
    return Photo(photo_id, labels, "content", lambda: np.zeros((2, 3, 3), np.uint8))


def folder(root: Path) -> Folder:
    return Folder(OutsideOptions(root=root, supervision="I+L"))


def test_masks_are_taken_as_they_are(tmp_path: Path) -> None:
    write_mask(tmp_path / "p.png", MASK)
    (tmp_path / "web").mkdir()
    Image.fromarray(MASK).save(tmp_path / "web" / "q.png")
    part = folder(tmp_path)
    assert (part.needs_maps, part.supervision, part.place_options) == (False, "I+L", {"root"})
    for photo_id in ("p", "web/q"):
        assert np.array_equal(part.label(photo(photo_id), None), MASK)


def test_a_missing_mask_is_named_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.png: found no such file.*photo 'p'"):
        folder(tmp_path).files(photo())


def test_a_photo_without_labels_needs_no_mask(tmp_path: Path) -> None:
    negative = photo("none", ())
    assert folder(tmp_path).files(negative) == ()
    assert folder(tmp_path).label(negative, None).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.where(MASK == 3, 2, MASK), r"mask value 2; expected 0, 1, 3, 255.*photo 'p'; write 255"),
        (np.where(MASK == 3, 200, MASK), "mask value 200"),
        (MASK.T, "2×3 pixels; expected the photo.s 3×2"),
        (np.zeros((2, 3, 3), np.uint8), "mode RGB"),
    ],
)
def test_odd_masks_are_one_line_that_names_the_file(mask: np.ndarray, words: str, tmp_path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(mask)).save(tmp_path / "p.png")
    with pytest.raises(UserError, match=words) as error:
        folder(tmp_path).label(photo(), None)
    assert "p.png" in str(error.value)
