"""Driver and nodes in one store, or in two that only share a path."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.execution.meeting import Meeting, meeting_in, trouble_with


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.meeting.SEEN_WITHIN_S", 0.0)


def test_one_folder_is_seen_both_ways_and_left_as_it_was(tmp_path: Path) -> None:
    meeting = meeting_in(str(tmp_path)).begin()
    assert not meeting.has_seen("n1")
    assert meeting.visit("n1") == ""
    assert meeting.has_seen("n1") and not meeting.has_seen("n2")
    meeting.end()
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_was_not_there_is_gone_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meeting = meeting_in("new/runs").begin()
    assert meeting.store == str(tmp_path / "new" / "runs")
    assert (tmp_path / "new" / "runs").is_dir()
    meeting.end()
    assert list(tmp_path.iterdir()) == []


def test_what_others_wrote_meanwhile_stays(tmp_path: Path) -> None:
    meeting = meeting_in(str(tmp_path / "runs")).begin()
    (tmp_path / "runs" / "seedbed-store.json").touch()
    meeting.end()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["seedbed-store.json"]


def test_a_node_without_the_folder_or_with_another_one(tmp_path: Path) -> None:
    meeting = meeting_in(str(tmp_path / "runs")).begin()
    there = replace(meeting, store=str(tmp_path / "elsewhere"))
    assert there.visit("n1") == "is not there"
    (tmp_path / "elsewhere").mkdir()
    assert there.visit("n1") == "is another folder there: what the driver wrote into it is not seen"
    assert not meeting.has_seen("n1")


def test_a_file_with_another_token_is_not_the_drivers(tmp_path: Path) -> None:
    meeting = meeting_in(str(tmp_path)).begin()
    (meeting.folder / "driver").write_text("other")
    assert "another folder" in meeting.visit("n1")


def test_a_folder_that_the_node_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = meeting_in(str(tmp_path)).begin()
    (meeting.folder / "n1").mkdir()  # as root nothing else is refused
    assert meeting.visit("n1") == "cannot be written there (Is a directory)"


def test_a_store_that_the_driver_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    meeting = meeting_in(str(tmp_path / "runs")).begin()
    assert meeting.driver_trouble == "cannot be written (Not a directory)"
    meeting.end()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_url_is_opened(tmp_path: Path) -> None:
    meeting = meeting_in(f"file://{tmp_path}/runs").begin()
    assert meeting.visit("n1") == "" and meeting.has_seen("n1")
    meeting.end()
    assert list(tmp_path.iterdir()) == [], "nothing is written through a URL"
    told = trouble_with("nosuch://key:secret@place/runs")
    assert told.startswith("cannot be opened (nosuch://***@place/runs: ") and "secret" not in told
    assert (
        meeting_in("nosuch://place/runs").begin().driver_trouble.startswith("cannot be opened (nosuch://place/runs: ")
    )
    assert Meeting("nosuch://place/runs", "t").visit("n1").startswith("cannot be opened (nosuch://place/runs: ")
