"""Events of several machines: each process its own file, merged in the order of time."""

import json
from collections.abc import Callable

import pytest

from harness.store.backends._remote import Remote
from harness.store.events import VERSION
from harness.store.store import Store

Machine = Callable[[str], None]


def test_events_of_two_machines_are_read_in_time_order(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("harness.store.events.time.time", lambda: now[0])
    driver = Store.at(url).create()
    log = driver.log(driver.root / "events" / "run.jsonl")
    log.write("run_started", suite="s")
    machine("second")
    worker = Store.at(url).create()
    other = worker.log(log.path)
    now[0] = 99.0  # a clock that is late
    other.write("started", stages=["a"])
    now[0] = 102.0
    log.write("stopping")
    now[0] = 101.0
    other.write("finished", stages=["a"])
    now[0] = 99.5
    log.write("run_finished")
    assert [log.name for log in worker.logs()] == ["run.jsonl"]
    for store in (driver, worker):
        events = [event["event"] for event in store.reader(store.root / "events" / "run.jsonl").new()]
        assert events == ["run_started", "started", "finished", "stopping", "run_finished"]
    assert len(Remote(url).sizes("events/run")) == 2


def test_a_reader_tells_only_what_is_new(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.backends._logs.PULL_S", 0.0)
    driver = Store.at(url).create()
    path = driver.root / "events" / "run.jsonl"
    reader = driver.reader(path)
    assert list(reader.new()) == []
    machine("second")
    log = Store.at(url).create().log(path)
    for name in ("one", "two"):
        log.write(name)
        assert [event["event"] for event in reader.new()] == [name]
    assert list(reader.new()) == []


def test_who_asks_to_stop_is_heard_on_other_machines(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.backends._logs.PULL_S", 0.0)
    driver = Store.at(url).create()
    log = driver.log(driver.root / "events" / "run.jsonl")
    log.write("run_started")
    machine("second")
    other = Store.at(url).create().log(log.path)
    assert not other.is_stopping()
    log.ask_to_stop()
    assert log.is_stopping() and other.is_stopping()
    log.forget_stopping()
    assert not Remote(url).sizes("stops")


def test_progress_is_sent_now_and_then_and_endings_at_once(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    log = store.log(store.root / "events" / "run.jsonl")
    log.write("started", stages=["a"])
    log.write("progress", stages=["a"], done=1, total=2)

    def sent() -> list[str]:
        remote = Remote(url)
        lines = [remote.read(f"events/run/{name}").splitlines() for name in remote.sizes("events/run")]
        return [json.loads(line)["event"] for each in lines for line in each]

    assert sent() == ["started"]
    log.write("finished", stages=["a"])
    assert sent() == ["started", "progress", "finished"]


def test_a_long_log_is_cut_into_parts(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.backends._logs.PART_BYTES", 150)
    store = Store.at(url).create()
    log = store.log(store.root / "events" / "run.jsonl")
    for number in range(10):
        log.write("retried", stages=[str(number)])
    assert len(Remote(url).sizes("events/run")) > 2
    machine("second")
    other = Store.at(url)
    events = list(other.reader(other.root / "events" / "run.jsonl").new())
    assert sorted(event["stages"][0] for event in events) == list("0123456789")
    assert all(event["v"] == VERSION for event in events)
