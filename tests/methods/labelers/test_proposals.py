"""Mask proposals in the place of a mask's outlines: the rule case by case, against a naive form, and bad folders."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.base import LocalizationMaps
from methods.labelers.proposals import Proposals, ProposalsOptions, merged
from settings.errors import UserError
from settings.saliency import write_saliency
from tests.methods.conftest import make_photo


def row(text: str) -> np.ndarray:
    """One row of a mask: a digit a pixel."""
    return np.array([[int(letter) for letter in text]], np.uint8)


def inside(text: str) -> np.ndarray:
    return row(text).astype(bool)


@pytest.mark.parametrize(
    ("mask", "proposals", "expected"),
    [
        ("0110", ["1110"], "1110"),  # two thirds of it in the class
        ("0110", ["1111"], "1111"),  # half of it, but it holds all of the class
        ("0111100000", ["1110000000"], "1111100000"),  # the rest of the class under no proposal stays
        ("0111100000", ["0000111111"], "0111000000"),  # rejected: what it lies over becomes background
        ("0110", [], "0110"),
        ("0110", ["1110", "0111"], "1111"),  # overlapping ones of a class are joined
        ("1122", ["0111"], "1222"),  # the first class rejects it, and keeps what it does not cover
        ("1122", ["1100", "0110"], "1102"),  # half of the second is in either class: nobody takes it
    ],
)
def test_the_rule(mask: str, proposals: list[str], expected: str) -> None:
    found = merged(row(mask), [inside(text) for text in proposals])
    assert "".join(map(str, found[0])) == expected


def naive(mask: str, proposals: list[str]) -> str:
    """The rule on rows of text, pixel by pixel."""
    result, seen = ["0"] * len(mask), set[int]()
    for value in sorted(set(mask) - {"0"}):
        taken, under = set[int](), set[int]()
        for number, proposal in enumerate(proposals):
            if number in seen:
                continue
            pixels = {place for place, letter in enumerate(proposal) if letter == "1"}
            of_class = {place for place, letter in enumerate(mask) if letter == value}
            under |= pixels
            if 2 * len(pixels & of_class) > len(pixels) or len(pixels & of_class) >= 0.85 * len(of_class):
                taken |= pixels
        for number, proposal in enumerate(proposals):
            pixels = {place for place, letter in enumerate(proposal) if letter == "1"}
            of_class = {place for place, letter in enumerate(mask) if letter == value}
            if 2 * len(pixels & of_class) > len(pixels) or len(pixels & of_class) >= 0.85 * len(of_class):
                seen.add(number)
        for place, letter in enumerate(mask):
            if place in taken or (letter == value and place not in under):
                result[place] = value
    return "".join(result)


@settings(max_examples=60, deadline=None)
@given(
    st.text("012", min_size=8, max_size=8),
    st.lists(st.text("01", min_size=8, max_size=8).filter(lambda text: "1" in text), max_size=4),
)
def test_it_is_the_naive_rule(mask: str, proposals: list[str]) -> None:
    found = merged(row(mask), [inside(text) for text in proposals])
    assert "".join(map(str, found[0])) == naive(mask, proposals)


def test_proposals_are_read_from_the_photos_folder(tmp_path: Path) -> None:
    record = LocalizationMaps("p", (1,), np.array([[[0.1, 0.9, 0.9, 0.1]]], np.float32), (1, 4), "nearest")
    write_saliency(tmp_path / "p" / "0.png", row("1110") * 255)
    write_saliency(tmp_path / "p" / "1.png", row("0001") * 255)
    labeler = Proposals(ProposalsOptions(root=tmp_path, supervision="I+S", threshold=0.5))
    photo = make_photo("p", (1,))
    assert [path.name for path in labeler.files(photo)] == ["0.png", "1.png"]
    assert labeler.label(photo, record).tolist() == [[2, 2, 2, 0]]
    assert isinstance(labeler.with_threshold(0.95), Proposals)
    assert labeler.with_threshold(0.95).label(photo, record).tolist() == [[0, 0, 0, 0]]
    assert labeler.supervision == "I+S"


def test_a_photo_without_proposals_and_one_of_another_size_are_told(tmp_path: Path) -> None:
    labeler = Proposals(ProposalsOptions(root=tmp_path, supervision="S"))
    assert labeler.files(make_photo("empty")) == ()
    with pytest.raises(UserError, match=r"found no proposals; expected a folder of one \.png a proposal for photo 'p'"):
        labeler.files(make_photo("p", (0,)))
    write_saliency(tmp_path / "p" / "0.png", np.zeros((3, 5), np.uint8))
    record = LocalizationMaps("p", (0,), np.ones((1, 1, 1), np.float32), (3, 4))
    with pytest.raises(UserError, match="found 5×3 pixels"):
        labeler.label(make_photo("p", (0,)), record)
