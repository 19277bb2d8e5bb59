"""Errors are one line that names place, finding, expectation and mend."""

import os
import pickle
import socket
from pathlib import Path

import pytest

from settings.errors import UserError, counted, kind_of, unknown_name


def test_one_line_with_all_four_parts() -> None:
    error = UserError("a.png", "mode\nRGB", "palette\t(P)", "write  indices")
    assert str(error) == "a.png: found mode RGB; expected palette (P); write indices"
    assert str(UserError("a", "b", "c")) == "a: found b; expected c"


def test_unknown_names_suggest_the_nearest() -> None:
    line = str(unknown_name("recipe.x", "localizer", "cma", ["seam", "cam", "affinity"]))
    assert line == ("recipe.x: found unknown localizer 'cma'; expected one of affinity, cam, seam; did you mean 'cam'?")


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    assert "did you mean" not in str(unknown_name("x", "class", "zebra", ["cat", "dog"]))


def test_a_long_list_of_known_names_is_counted_instead() -> None:
    line = str(unknown_name("x", "model", "resnet_18", [f"net{i}" for i in range(500)] + ["resnet18"]))
    assert line == "x: found unknown model 'resnet_18'; expected one of the 501 known names; did you mean 'resnet18'?"


def test_an_empty_list_of_known_names_is_said() -> None:
    assert (
        str(unknown_name("x", "refiner", "irn", []))
        == "x: found unknown refiner 'irn'; expected a known name, of which there is none yet"
    )


def test_errors_travel_between_processes() -> None:
    error = UserError("a.png", "b", "c", "d")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (UserError, str(error))


def test_one_is_singular() -> None:
    shown = [counted(count, "such photo") for count in (0, 1, 2)] + [counted(2, "class", "classes")]
    assert shown == ["0 such photos", "1 such photo", "2 such photos", "2 classes"]


def test_what_lies_where_a_file_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    Path("folder").mkdir()
    Path("file").touch()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    found = {name: kind_of(tmp_path / name) for name in ("folder", "file", "pipe", "loop", "socket", "absent")}
    assert found == {
        "folder": "a folder",
        "file": "a file",
        "pipe": "a pipe",
        "loop": "a link that leads nowhere",
        "socket": "a socket",
        "absent": "nothing",
    }
    assert kind_of(Path("/dev/null")) == "a device"
