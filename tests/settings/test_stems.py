"""Names that almost match, as other programs vary them, and lists that name photos by their paths."""

import unicodedata
from pathlib import Path

import pytest

from settings.errors import UserError
from settings.file_index import FileIndex
from settings.lists import read_ids
from settings.stems import alike, names_alike, possible_stems, shorter_stems, told_renames


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("a", "a.jpg"),
        ("a.jpg", "a"),
        ("a", "a_mask"),
        ("a", "a-pred"),
        ("a", "A"),
        ("a", "a_gtFine_labelIds"),
        ("img 1", "img_1"),
        ("a", "JPEGImages/a.jpg"),
        ("a", "a.jpg.npy"),
        ("a", "a_annotation"),
        ("a", "3f2a8b1c-a.jpg"),
        ("a", f"a_jpg.rf.{'0f' * 16}_mask"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    ],
)
def test_what_means_one_photo(wanted: str, there: str) -> None:
    assert alike(wanted, ["b", there, "c"]) == there
    assert names_alike([wanted], [there, "b"]) == {wanted: there}


def test_suffixes_go_one_after_the_other_and_the_mark_of_an_upload_last() -> None:
    assert list(shorter_stems("masks/a_gtFine_labelIds.PNG")) == ["a_gtFine_labelIds", "a_gtFine", "a"]
    assert list(possible_stems("3f2a8b1c-a_mask.png")) == ["3f2a8b1c-a_mask", "3f2a8b1c-a", "a_mask", "a"]
    hashed = f"a_jpg.rf.{'0f' * 16}"
    assert list(possible_stems(f"{hashed}_mask.png")) == [f"{hashed}_mask", hashed, "a"]
    assert list(possible_stems("mask.png")) == ["mask"]


def test_what_is_not_clear_is_not_proposed() -> None:
    assert alike("a", ["A", "a_mask"]) == ""
    assert alike("a", ["ab", "b_mask", "mask"]) == ""
    assert names_alike(["a", "A"], ["a_mask"]) == {}
    # A file that is asked for itself is no other's.
    assert names_alike(["a", "a_mask"], ["a_mask"]) == {}


def test_renames_are_told_with_their_number() -> None:
    pairs = {name: f"{name}_mask" for name in "abcd"}
    told = told_renames(pairs, ".png")
    assert told == (
        "4 files of almost that name: rename a_mask.png to a.png, b_mask.png to b.png, c_mask.png to c.png, …"
    )


def test_lists_of_paths_name_photos_by_their_stems(tmp_path: Path) -> None:
    lines = (
        "/JPEGImages/2007_1.jpg /SegmentationClassAug/2007_1.png",
        "JPEGImages/2007_2.JPG\tSegmentationClass/2007_2.png  ",
        "C:\\data\\2007_3.jpeg",
        "2007_4",
        # One word without a folder is an id as it stands: a photo may be called so.
        "2007_5.jpg",
    )
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert read_ids(tmp_path / "train.txt") == ("2007_1", "2007_2", "2007_3", "2007_4", "2007_5.jpg")
    (tmp_path / "train.txt").write_text("a/x.jpg a/x.png\nb/x.jpg b/x.png\n")
    with pytest.raises(UserError, match=r"train\.txt:2: found id 'x' again"):
        read_ids(tmp_path / "train.txt")


@pytest.mark.parametrize(
    ("line", "mend"),
    [("/0001", "write '0001'"), ("cats\\img 1", "write 'img 1'"), ("../..", "with '/' after folders$")],
)
def test_ids_that_are_no_names_of_files_are_told_what_to_write(tmp_path: Path, line: str, mend: str) -> None:
    (tmp_path / "train.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=mend):
        read_ids(tmp_path / "train.txt")


def test_lists_name_photos_in_folders_and_with_blanks(tmp_path: Path) -> None:
    """Which folders belong to an id is told by the photos that are there."""
    lines = (
        "images/city_a/img 01.jpg masks/city_a/img 01.png",
        "city_a/img 02",
        "city_b\\img 01.jpg",
        "/data/images/city_b/img 02.jpeg",
        "plain.jpg",
        "city_c/unknown 1",
    )
    (tmp_path / "train.txt").write_bytes("\r\n".join(lines).encode())
    known = {f"city_{city}/img 0{number}" for city in "ab" for number in (1, 2)} | {"plain"}
    ids = ("city_a/img 01", "city_a/img 02", "city_b/img 01", "city_b/img 02", "plain", "city_c/unknown 1")
    assert read_ids(tmp_path / "train.txt", known) == ids


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("city/a\nb\nCity/A\n")
    with pytest.raises(
        UserError, match=r"train\.txt:3: found id 'City/A' beside 'city/a' \(line 1\); expected ids that"
    ):
        read_ids(tmp_path / "train.txt")


def test_names_in_different_folders_are_not_alike() -> None:
    assert alike("a/001", ["b/001", "c/001"]) == ""
    assert alike("a/001", ["b/001", "001_mask"]) == "001_mask"
    assert names_alike(["a/001", "b/001"], ["x/b/001.jpg", "c/001"]) == {"b/001": "x/b/001.jpg"}
    assert names_alike(["a/001", "b/001"], ["001"]) == {}


def test_files_are_found_in_either_form_of_accents_and_proposed_under_almost_their_name(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    apart = unicodedata.normalize("NFD", "café")
    for name in (apart, "a_mask", "B"):
        (tmp_path / "masks" / f"{name}.png").write_bytes(b"")
    index = FileIndex(tmp_path, "masks", (".png",), follow_links=False)
    assert "café" in index and index.path("café").name == f"{apart}.png"
    assert index.unlisted(["café"]) == ("B.png", "a_mask.png")
    with pytest.raises(UserError, match=r"masks/a\.png: found no such file; .*is it 'a_mask\.png'\? Then rename it"):
        index.path("a")
    with pytest.raises(UserError, match=r"did you mean 'B'\?"):
        index.path("b")
