"""Hashes survive what is done to files, and tell photos apart; the cache keeps them."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from settings.perceptual import BITS, BOXES, Look, LookCache, distances, look_of
from settings.records import Image, Photo


def picture(number: int, height: int = 90, width: int = 120) -> Image:
    """Smooth random colours."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((width, height), Pillow.Resampling.BICUBIC))


def photo(image: Image, content: str = "c") -> Photo:
    return Photo("p", (0,), content, lambda: image)


def between(one: Image, other: Image) -> int:
    return int(distances([look_of(one, "looked at")], [look_of(other, "held against")])[0, 0])


def test_a_photo_is_near_itself_mirrored_resized_and_cropped() -> None:
    image = picture(0)
    height, width = image.shape[:2]
    resized = np.asarray(Pillow.fromarray(image).resize((width * 2, height * 2)))
    assert between(image, image) == 0
    assert between(image[:, ::-1], image) <= 30
    assert between(resized, image) <= 40
    for box in BOXES[1:]:
        left, upper, right, lower = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
        assert between(image[upper:lower, left:right], image) <= 40


def test_other_photos_are_far() -> None:
    images = [picture(number) for number in range(12)]
    looked_at = [look_of(image, "looked at") for image in images]
    held = [look_of(image, "held against") for image in images]
    found = distances(looked_at, held)
    assert (found.diagonal() == 0).all()
    assert found[~np.eye(12, dtype=bool)].min() > 60


def test_distances_count_bits_of_the_nearest_variants() -> None:
    rng = np.random.default_rng(0)
    looked_at = [Look(1, 1, rng.integers(0, 2**63, (2, 4), np.uint64)) for _ in range(3)]
    held = [Look(1, 1, rng.integers(0, 2**63, (13, 4), np.uint64)) for _ in range(2)]
    expected = [
        [
            min(
                sum(int(x ^ y).bit_count() for x, y in zip(v.tolist(), w.tolist(), strict=True))
                for v in a.words_VW
                for w in b.words_VW
            )
            for b in held
        ]
        for a in looked_at
    ]
    assert distances(looked_at, held).tolist() == expected
    assert max(map(max, expected)) <= BITS


def test_a_look_is_kept_by_content(tmp_path: Path) -> None:
    image, calls = picture(1), []

    def load() -> Image:
        calls.append(1)
        return image

    cache = LookCache(tmp_path / "looks.sqlite")
    first = cache.of(Photo("a", (), "content", load), "looked at")
    again = LookCache(tmp_path / "looks.sqlite").of(Photo("b", (), "content", load), "looked at")
    assert len(calls) == 1
    assert (first.height, first.width) == (again.height, again.width) == (90, 120)
    assert np.array_equal(first.words_VW, again.words_VW)
    assert cache.of(Photo("a", (), "content", load), "held against").words_VW.shape == (len(BOXES), 4)
    assert len(calls) == 2


@pytest.mark.parametrize("words", [b"short", None, 7])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, words: object) -> None:
    cache = LookCache(tmp_path / "looks.sqlite")
    look = cache.of(photo(picture(2)), "looked at")
    with sqlite3.connect(tmp_path / "looks.sqlite") as connection:
        connection.execute("UPDATE looks SET words = ?", (words,))
    assert np.array_equal(cache.of(photo(picture(2)), "looked at").words_VW, look.words_VW)


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = LookCache(tmp_path / "file" / "looks.sqlite")
    assert cache.of(photo(picture(3)), "looked at").height == 90


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 4)])
def test_odd_sizes_have_hashes(size: tuple[int, int]) -> None:
    assert look_of(np.zeros((*size, 3), np.uint8), "held against").words_VW.shape == (len(BOXES), 4)
