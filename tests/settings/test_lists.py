"""Lists of photos that are long, or hostile."""

from pathlib import Path

from settings.lists import read_ids


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
