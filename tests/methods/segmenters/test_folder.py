"""Predictions that another program made: taken as they are, or refused by the name of their file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from methods.base import LabelSpace, Surroundings
from methods.outside import OutsideOptions
from methods.segmenters.folder import FolderSegmenter
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import Photo

MASK = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)
SURROUNDINGS = Surroundings(LabelSpace(("cat", "cow", "dog")))


def photo(photo_id: str) -> Photo:
    return Photo(photo_id, (), "content", lambda: np.zeros((2, 3, 3), np.uint8))


def folder(root: Path) -> FolderSegmenter:
    return FolderSegmenter(OutsideOptions(root=root, supervision="I+L"))


def test_predictions_are_taken_as_they_are(tmp_path: Path) -> None:
    photos = [photo("p"), photo("city a/q 1")]
    write_mask(tmp_path / "p.png", MASK)
    write_mask(tmp_path / "city a" / "q 1.png", MASK[::-1])
    segmenter = folder(tmp_path)
    assert (segmenter.trained, segmenter.supervision, segmenter.places()) == (False, "I+L", {"root": str(tmp_path)})
    first, second = segmenter.apply(photos, SURROUNDINGS)
    assert np.array_equal(first, MASK) and np.array_equal(second, MASK[::-1])


def test_a_missing_prediction_is_named_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.png: found no such file.*photo 'p'"):
        folder(tmp_path).files(photo("p"))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.where(MASK == 3, 4, MASK), r"mask value 4; expected 0\.\.3"),
        (np.where(MASK == 3, 255, MASK), r"mask value 255; expected 0\.\.3: a prediction decides each pixel"),
        (MASK.T, "2×3 pixels; expected the photo.s 3×2"),
        (np.zeros((2, 3, 3), np.uint8), "mode RGB"),
    ],
)
def test_odd_predictions_are_one_line_that_names_the_file(mask: np.ndarray, words: str, tmp_path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(mask)).save(tmp_path / "p.png")
    with pytest.raises(UserError, match=rf"p\.png: found {words}"):
        list(folder(tmp_path).apply([photo("p")], SURROUNDINGS))
