"""Tables of truth: what is read, and that mistakes are refused by file and line."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from settings.aliases import Aliases
from settings.errors import UserError
from settings.records import LabelSpace, Photo
from settings.sources.class_folders import ClassFolders, ClassFoldersOptions
from settings.truth import read_truth

SPACE = LabelSpace(("aeroplane", "cat", "dog"))
HEADER = "file,query_class,true_class,kind\n"


def photo(place: str, label: int, photo_id: str = "") -> Photo:
    return Photo(
        photo_id or f"web.{place.replace('/', '.')}", (label,), "", lambda: np.zeros((1, 1, 3), np.uint8), "web", place
    )


PHOTOS = (photo("cat/a", 1), photo("cat/b.1", 1), photo("plane/c", 0))
ROWS = "cat/a.jpg,cat,dog,wrong-class\ncat/b.1.PNG,kitten,none,off-topic\nplane/c.jpeg,plane,airplane,clean\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "truth.csv"


def read(table: Path, text: str | bytes, photos: tuple[Photo, ...] = PHOTOS) -> dict[str, tuple[int, ...]]:
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    return dict(read_truth(table, photos, SPACE, Aliases()))


def test_what_photos_show(table: Path) -> None:
    expected = {"web.cat.a": (2,), "web.cat.b.1": (), "web.plane.c": (0,)}
    assert read(table, HEADER + ROWS) == expected
    assert read(table, ("\ufeff" + HEADER + "\n" + ROWS).replace("\n", "\r\n")) == expected
    assert read(table, HEADER + ROWS, PHOTOS[:1]) == {"web.cat.a": (2,)}
    assert read(table, HEADER + "x,cat, dog ; cat,wrong-class\n", (photo("", 1, "x"),)) == {"x": (1, 2)}


def test_true_classes_beyond_the_label_space_are_off_topic(table: Path) -> None:
    """A query of the table's, or a name of the alias table, is no misprint."""
    rows = "cat/a.jpg,cat,zebra,wrong-class\nzebra/z.jpg,zebra,zebra,clean\n"
    assert read(table, HEADER + rows, PHOTOS[:1]) == {"web.cat.a": ()}
    assert read(table, HEADER + "cat/a.jpg,cat,pony;cat,clean\n", PHOTOS[:1]) == {"web.cat.a": (1,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"truth\.csv:1: found the header ''; expected 'file,query_class,true_class,kind'"),
        ("id,labels\n", r"truth\.csv:1: found the header 'id,labels'"),
        (HEADER.replace(",", ";"), r"truth\.csv:1: found the header .*; separate columns by commas"),
        (HEADER + "cat/a.jpg,cat,dog\n", r"truth\.csv:2: found 3 columns; expected four: file,query_class"),
        (HEADER + "cat/a.jpg,cat,dog,odd\n", r"truth\.csv:2: found unknown kind 'odd'; expected one of clean"),
        (HEADER + "cat/a.jpg,cat,,clean\n", r"truth\.csv:2: found an empty cell; .*'none' for an off-topic"),
        (HEADER + "cat/a.jpg,cat,none,clean\n", r"truth\.csv:2: found true class 'none' beside kind 'clean'"),
        (HEADER + "cat/a.jpg,cat,cat,off-topic\n", r"truth\.csv:2: found true class 'cat' beside kind 'off-topic'"),
        (HEADER + ROWS + "cat/a.png,cat,cat,clean\n", r"truth\.csv:5: found photo 'cat/a' again; .*\(line 2\)"),
        (HEADER + "cat/a.jpg,cat,dgo,wrong-class\n", r"truth\.csv:2: found unknown class 'dgo'.*did you mean 'dog'\?"),
        (HEADER + ROWS.replace("cat/a.jpg,cat", "cat/a.jpg,dog"), r"truth\.csv:2: found query class 'dog' of 'cat/a"),
        (HEADER + ROWS.replace("cat/a.jpg,cat", "cat/a.jpg,cta"), r"truth\.csv:2: found unknown class 'cta'"),
        (HEADER + "cat/a.jpg,cat,cat,clean\n", r"truth\.csv: found no row for photo 'cat/b\.1' \(2 such photos\)"),
        (HEADER + "\x1b[2J,cat,cat,clean\n", r"truth\.csv:2: found the control character"),
        (HEADER + 'a,"cat"x,cat,clean\n', r"truth\.csv:2: found unreadable CSV .*rows such as cow/cow_001\.jpg,cow"),
        (HEADER.encode() + b"a,c\xe4t,cat,clean\n", r"truth\.csv: found an unreadable .*line 2 is not UTF-8"),
    ],
)
def test_tables_that_are_refused(table: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(table, text)


def test_a_table_that_is_not_there(table: Path) -> None:
    with pytest.raises(UserError, match=r"truth\.csv: found an unreadable table of labels \(No such file"):
        read_truth(table, PHOTOS, SPACE, Aliases())


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))))
@hypothesis_settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_in_one_line(table: Path, content: bytes) -> None:
    with pytest.raises(UserError) as error:
        read(table, HEADER.encode() + content)
    assert str(error.value).isprintable()


def test_the_truth_of_the_animals(real_data: Path) -> None:
    space = LabelSpace(("cat", "cow", "dog", "horse", "sheep", "person"))
    source = ClassFolders(ClassFoldersOptions(root=real_data / "animals-web"))
    photos = source.photos("web", space, Aliases())
    truth = read_truth(real_data / "animals-web.truth.csv", photos, space, Aliases())
    kinds = Counter("clean" if truth[p.id] == p.labels else "wrong" if truth[p.id] else "topic" for p in photos)
    assert kinds == {"clean": 413, "wrong": 87, "topic": 100}
