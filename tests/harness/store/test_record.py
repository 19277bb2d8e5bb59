"""Records and places: what is on disk since the first store, and what is refused."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.store.layout import (
    FolderPlaces,
    Ref,
    RemotePlaces,
    document_of,
    is_stamped,
    key_of_document,
    later_run,
    run_log,
    run_of,
)
from harness.store.record import Record

REF = Ref("row", "a" * 64)
LEAST = {"kind": "row", "key": "a" * 64, "attempt": "attempt-1", "files": {"f": "0" * 64}}


def read(**entries: object) -> Record:
    return Record.from_json(json.dumps({**LEAST, **entries}), REF)


def test_what_a_record_does_not_say_has_a_default() -> None:
    record = read()
    assert (record.ref, record.attempt, record.files) == (REF, "attempt-1", {"f": "0" * 64})
    assert (record.label, record.seconds, record.inputs, record.ledger, record.gpus) == ("", 0.0, (), (), 1)
    assert record.numerics == {}


def test_what_nobody_knows_is_passed_over() -> None:
    record = read(colour="red", seconds=3, inputs=[["score", "b" * 64]], identity={"numerics": {"device": "cuda"}})
    assert (record.seconds, record.inputs) == (3.0, (Ref("score", "b" * 64),))
    assert record.numerics["device"] == "cuda"


def test_a_record_comes_back_from_its_text() -> None:
    record = Record(
        *REF,
        "attempt-1",
        {"b": "1" * 64, "a": "2" * 64},
        bytes=7,
        finished="2026-01-01T00:00:00+00:00",
        run="20260101-000000-smoke-000001",
        label="é · b",
        group="g",
        identity={"deep": {"list": [1, None, "x"]}},
        inputs=(Ref("score", "b" * 64),),
        seconds=0.5,
        cpu_seconds=0.25,
        photos=3,
        device="cpu",
        peak_memory_bytes=9,
        sources={"m": "h"},
        ledger=({"purpose": "train"},),
        gpus=2,
    )
    text = record.to_json()
    assert Record.from_json(text, REF) == record == Record.from_json(text.encode(), REF)
    assert json.loads(text)["inputs"] == [["score", "b" * 64]] and list(json.loads(text)) == sorted(json.loads(text))


def test_without_ledger_gpus_cpu_seconds_and_run_there_are_no_such_entries() -> None:
    assert not {"ledger", "gpus", "cpu_seconds", "run"} & json.loads(read().to_json()).keys()


@pytest.mark.parametrize(
    "entries",
    [
        {"kind": "score"},
        {"key": "b" * 64},
        {"attempt": "../x"},
        {"attempt": "a/b"},
        {"attempt": ""},
        {"attempt": ".."},
        {"attempt": "a\nb"},
        {"attempt": 3},
        {"files": {"/etc/passwd": "0" * 64}},
        {"files": {"a/../../b": "0" * 64}},
        {"files": ["f"]},
        {"files": {"f": 3}},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"inputs": [["score"]]},
        {"ledger": {"a": 1}},
    ],
    ids=repr,
)
def test_what_cannot_be_a_record_of_the_artefact_is_refused(entries: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read(**entries)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"{}", b"[" * 100_000])
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        Record.from_json(text, REF)


@pytest.mark.parametrize("name", ["inputs", "ledger"])
def test_a_sequence_is_read_up_to_its_first_fault(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**{name: [1] * 1000})
    assert caught.value.error_count() == 1


def test_places_are_where_they_were() -> None:
    here, there = FolderPlaces(Ref("row", "k")), RemotePlaces(Ref("row", "k"))
    assert (here.record, here.lease, here.checkpoint) == ("row/k/done.json", "row/k/lease.json", "row/k/checkpoint")
    assert here.attempt("attempt-1") == "row/k/attempt-1"
    assert (there.record, there.attempt("attempt-1")) == ("done/row/k.json", "files/row/k/attempt-1")
    assert there.claim(there.claims, 7) == "leases/row/k/000007.json"
    assert there.stop("run") == "stops/run" and there.probe("x") == "clock/x"
    assert there.log("run", "host-1-a", 2) == "events/run/host-1-a-0002.jsonl"
    assert run_log("run") == "events/run.jsonl" and run_of(Path("/s/events/run.jsonl")) == "run"
    assert later_run("b", "20991231-235959-z-000001").startswith("21000101-000000-b-")
    assert later_run("b", "99991231-235959-z-000001").startswith("99991231-235959-b-")
    assert is_stamped(later_run("b", "")) and is_stamped(later_run("b", "one")) and not is_stamped("one")
    assert document_of("stages", "k") == "stages/k.json" and key_of_document("row/k.json") == "k"
