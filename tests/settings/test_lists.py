"""Lists of photos that are long, or hostile."""

from pathlib import Path

import pytest

from settings.errors import UserError
from settings.lists import MAX_TEXT, read_ids


def test_many_pictures_on_one_line_are_answered_at_once(tmp_path: Path) -> None:
    """A pattern that tries every way to divide the line would take longer than anybody waits."""
    path = tmp_path / "train.txt"
    line = " ".join(f"a{n}.jpg" for n in range(60)) + " 1"
    path.write_text(line)
    assert read_ids(path) == (line,)


def test_a_pair_of_paths_is_the_photos_id(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("/JPEGImages/x 1.jpg /SegmentationClassAug/x 1.png\nb.jpg b.png\n")
    assert read_ids(path) == ("x 1", "b")


def test_a_list_longer_than_any_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT + 1)
    with pytest.raises(UserError, match=rf"found {MAX_TEXT + 1} bytes; expected a list of at most {MAX_TEXT}"):
        read_ids(path)
