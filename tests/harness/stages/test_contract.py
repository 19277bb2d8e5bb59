"""The plug-in contract: what a component returns against its word is told with its name, and the photo's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.reports.leaderboard import run_and_gather
from harness.stages.contract import DeclaredFeatures, checked_fit, checked_maps, checked_mask, one_each
from harness.suites.suite import load_suite
from methods.base import PLAIN, FeatureRequest, Fit, LocalizationMaps, Photo
from settings.errors import UserError
from settings.records import Image

WHO = "localizer 'mine'"
SIZE = (4, 6)


def never() -> Image:
    raise AssertionError("no photo is decoded")


PHOTOS = [Photo("a", (0,), "", never), Photo("b", (1, 2), "", never), Photo("c", (), "", never)]


def maps_of(photo: Photo, **changes: Any) -> LocalizationMaps:
    maps = LocalizationMaps(photo.id, photo.labels, np.full((len(photo.labels), 2, 3), 0.5, np.float32), SIZE)
    return replace(maps, **changes)


def test_what_keeps_the_contract_passes_unchanged() -> None:
    records = [maps_of(photo) for photo in PHOTOS]
    assert list(checked_maps(WHO, PHOTOS, iter(records), False)) == records
    ids = maps_of(PHOTOS[1], class_ids=np.array([1, 2]))
    (read,) = checked_maps(WHO, PHOTOS[1:2], [ids], None)
    assert [type(each) for each in read.class_ids] == [int, int]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, "None returned by apply"),
        ({}, "nothing for photo 'a'"),
        ([maps_of(PHOTOS[0])], "nothing for photo 'b'"),
        ([maps_of(PHOTOS[0]), maps_of(PHOTOS[2])], "no maps of photo 'b', but those of 'c' in their place"),
        ([maps_of(photo) for photo in (*PHOTOS, PHOTOS[0])], "more than 3 for 3 photos"),
        ([maps_of(PHOTOS[0]).maps_CHW], r"a float32 array of shape \(1, 2, 3\) for photo 'a'"),
        ([maps_of(PHOTOS[0], class_ids=(1,))], r"class ids \[1\] for photo 'a'; expected those of its labels, \[0\]"),
        ([maps_of(PHOTOS[0], maps_CHW=np.full((1, 2, 3), 7.0, np.float32))], r"found a: maps outside \[0, 1\]"),
        ([maps_of(PHOTOS[0], maps_CHW=np.zeros((2, 3), np.float32))], r"found a: maps of shape \(2, 3\) for 1 class"),
    ],
)
def test_maps_that_break_it_are_told(records: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^localizer 'mine': .*{message}"):
        list(checked_maps(WHO, PHOTOS, records, False))


def test_a_background_map_that_was_promised_is_missed() -> None:
    with pytest.raises(UserError, match="no background map of photo 'a'"):
        list(checked_maps(WHO, PHOTOS, [maps_of(photo) for photo in PHOTOS], True))
    # A photo without labels has no map at all, and needs none of the background.
    assert len(list(checked_maps(WHO, PHOTOS[2:], [maps_of(PHOTOS[2])], True))) == 1


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "None for photo 'b'"),
        (np.zeros(SIZE, np.int64), r"a int64 array of shape \(4, 6\) for photo 'b'"),
        (np.zeros((6, 4), np.uint8), r"a mask of shape \(6, 4\) for photo 'b'; expected \(4, 6\)"),
        (np.full(SIZE, 4, np.uint8), "mask value 4 for photo 'b'"),
    ],
)
def test_masks_that_break_it_are_told(mask: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_mask("labeler 'mine'", PHOTOS[1], mask, 3, SIZE)


def test_a_mask_that_keeps_it_passes() -> None:
    mask = np.array([[0, 3, 255]], np.uint8)
    assert checked_mask("labeler 'mine'", PHOTOS[1], mask, 3) is mask


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"weight": torch.zeros(1)}, r"a dict returned by fit; expected Fit\(weights\)"),
        (None, "None returned by fit"),
        (Fit([torch.zeros(1)]), "weights that are a list"),  # type: ignore[arg-type]
        (Fit({"w": np.zeros(1)}), r"a float64 array of shape \(1,\) as weight 'w'"),  # type: ignore[dict-item]
        (Fit({}, ({"loss": torch.zeros(1)},)), "a Tensor as 'loss' in Fit.log"),  # type: ignore[dict-item]
    ],
)
def test_fits_that_break_it_are_told(fit: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_fit(WHO, fit)


def test_too_few_masks_are_told() -> None:
    with pytest.raises(UserError, match=r"segmenter 'mine': found nothing for photo 'b'; expected one mask for each"):
        list(one_each("segmenter 'mine'", PHOTOS, iter([np.zeros(SIZE, np.uint8)]), "one mask"))


def test_features_that_were_not_declared_are_told() -> None:
    class Bank:
        """Has the plain features of photo `a` alone, as `StoredFeatures` would."""

        def features_BCHW(self, ids: Any, requests: Any) -> torch.Tensor:
            return {(PLAIN, "a"): torch.ones(1, 2, 3, 3)}[requests[0], ids[0]]

        def image_size(self, photo_id: str) -> tuple[int, int]:
            return {"a": SIZE}[photo_id]

    bank = DeclaredFeatures(Bank(), WHO)
    assert bank.features_BCHW(["a"], [PLAIN]).shape == (1, 2, 3, 3) and bank.image_size("a") == SIZE
    asked = r"FeatureRequest\(scale=0.5, flip=False, level=4\) of photo 'a'"
    with pytest.raises(UserError, match=f"localizer 'mine': found a look for {asked}.*name them in its `features`"):
        bank.features_BCHW(["a"], [FeatureRequest(0.5)])
    with pytest.raises(UserError, match="the size of photo 'b'"):
        bank.image_size("b")


SKIPPING = """
import numpy as np
from methods.base import LocalizationMaps, Localizer

class Skipping(Localizer):
    "Forgets one photo."

    features = ()

    def apply(self, photos, surroundings):
        for photo in photos[1:]:
            yield LocalizationMaps(photo.id, photo.labels, np.ones((len(photo.labels), 2, 2), np.float32), (32, 32))
"""
SUITE = """
plugins: [skipping.py]
dataset: {name: scenes, classes: 2, size: 32, train: 3, dev: 1, val: 1}
policies: {fixed: pseudo_labels}
recipes: {skipping: {localizer: skipping, labeler: threshold}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[[], Path]:
    (tmp_path / "skipping.py").write_text(SKIPPING)
    (tmp_path / "mine.yaml").write_text(SUITE)
    return lambda: tmp_path / "mine.yaml"


def test_a_plug_in_that_skips_a_photo_is_the_hole_s_reason(suite: Callable[[], Path], tmp_path: Path) -> None:
    finished = run_and_gather(load_suite(suite()), tmp_path / "store", "serial")
    for row in finished.board.rows:
        assert "localizer 'skipping'" in row.reason and "photo 'dev_00000'" in row.reason
    assert finished.exit_code == 2
