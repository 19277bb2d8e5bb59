"""The event log: what one line may be."""

import json
from pathlib import Path

import pytest

from harness.store import events
from harness.store.events import EventReader


def line(**content: object) -> bytes:
    return json.dumps({"v": events.VERSION, "t": 1.0, **content}).encode() + b"\n"


@pytest.mark.parametrize("extra", [0, 1, 99, 100, 101])
def test_a_line_longer_than_any_event_is_passed_over_in_parts(
    extra: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_LINE", 100)
    path = tmp_path / "run.jsonl"
    reader = EventReader(path)
    path.write_bytes(line(event="a") + line(event="b", noise="x" * (200 + extra)) + line(event="c"))
    assert [event["event"] for event in reader.new()] == ["a", "c"]
    with path.open("ab") as file:
        file.write(line(event="d")[:-1])
    assert list(reader.new()) == []
    with path.open("ab") as file:
        file.write(b"\n")
    assert [event["event"] for event in reader.new()] == ["d"]
