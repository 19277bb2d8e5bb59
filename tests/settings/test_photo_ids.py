"""What may be an id, which file stands for it, and which id a path means."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.errors import UserError
from settings.photo_ids import file_of, files_below, id_of, id_of_path, is_photo_id, twins

IDS = ("p01", "city_a/img 01", "a/b/c/d", "IMG (1)", "2007_000032", "x.y", "a+b@2x=1", "é/ü", "scan-", "5", "v.jpg")
HOSTILE = (
    *("", "..", ".", "../a", "a/../b", "/etc/passwd", "a//b", "a/", "./a", ".hidden", "a/.hidden/b", "~/a"),
    *("a\\b", "C:\\a", "C:/a", "a\0b", "a\nb", "a\tb", "a\x1b[2Jb", " a", "a ", "a/ b", "a /b", "-a", "a;b", "a,b"),
    # The mask of `a` is a file where this id would have a folder.
    *("a.png/b", "a.JPG/b", "a.npz/b"),
)


@pytest.mark.parametrize("photo_id", IDS)
def test_an_id_becomes_a_file_and_the_file_the_id(photo_id: str, tmp_path: Path) -> None:
    assert is_photo_id(photo_id)
    file = file_of(tmp_path, photo_id, ".png")
    assert file == tmp_path / f"{photo_id}.png"
    assert id_of(file.relative_to(tmp_path)) == photo_id


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_id(text: str) -> None:
    assert not is_photo_id(text)


@pytest.mark.parametrize("photo_id", ["..", "../a", "a/../../b", "/etc/passwd", "a//b", "", "a\\..\\b", "a\0"])
def test_no_file_lies_outside_of_its_folder(photo_id: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected an id that names a file inside the folder"):
        file_of(tmp_path, photo_id, ".png")


@given(st.lists(st.text("ab./ \\", min_size=1, max_size=8), max_size=6))
def test_different_ids_have_different_files_inside_the_folder(texts: list[str]) -> None:
    ids = sorted({text for text in texts if is_photo_id(text)})
    files = [file_of(Path("/root"), photo_id, ".png") for photo_id in ids]
    assert len(set(files)) == len(ids)
    for file in files:
        assert file.is_relative_to("/root") and ".." not in file.parts
        assert not any(other in file.parents for other in files)


def test_ids_of_one_file_on_some_file_systems() -> None:
    accented = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    assert twins(["a", "b", "c/A", "d", "C/a", "B"]) == ("c/A", "C/a")
    assert twins(accented) == tuple(accented)
    assert twins(["a", "b/a", "a b", "a_b", "a"]) is None


def test_files_of_subfolders_without_what_systems_leave_there(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/b 1.jpg", "a/.b.jpg", ".cache/c.jpg", "a/__x/d.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    (tmp_path / "in" / "e.png").mkdir()
    found = [path.as_posix() for path in files_below(tmp_path / "in")]
    assert found == ["a/__x/d.txt", "a/b 1.jpg", "b.jpg", "e.png"]
    assert files_below(tmp_path / "nowhere") == []
    with pytest.raises(UserError, match="found an unreadable folder"):
        files_below(tmp_path / "in" / "b.jpg")


def test_links_to_folders_are_followed_where_asked_for_and_never_in_circles(tmp_path: Path) -> None:
    for name in ("in/a", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "out" / "x.jpg").write_bytes(b"")
    (tmp_path / "in" / "a" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "out" / "again").symlink_to(tmp_path / "in" / "link")
    assert [path.as_posix() for path in files_below(tmp_path / "in")] == ["a/back", "link", "up"]
    assert [path.as_posix() for path in files_below(tmp_path / "in", follow_links=True)] == ["link/x.jpg"]


@pytest.mark.parametrize(
    ("path", "photo_id"),
    [
        ("/JPEGImages/city_a/img 01.jpg", "city_a/img 01"),
        ("city_a\\img 01.JPG", "city_a/img 01"),
        ("C:\\data\\city_a\\img 01", "city_a/img 01"),
        ("city_b/img 01.jpg", "img 01"),
        ("/data/plain.png", "plain"),
        ("elsewhere/new.jpg", "new"),
    ],
)
def test_the_longest_known_end_of_a_path_is_its_id(path: str, photo_id: str) -> None:
    assert id_of_path(path, {"city_a/img 01", "plain", "img 01"}) == photo_id
