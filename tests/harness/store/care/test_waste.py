"""What can go from a store, in a folder and behind URLs, and its removal, which leaves living holders alone."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.commands.store import store_app
from harness.reports.leaderboard import Finished
from harness.store.backends._folder import KEY
from harness.store.backends._remote import Remote
from harness.store.backends.backend import Entry
from harness.store.care.archive import export
from harness.store.care.importing import Importer
from harness.store.care.usage import published, verify
from harness.store.care.waste import Waste, chosen, needed_by, remove, waste_of
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError
from tests.harness.store.care.filling import DEAD, LIVING, begin, describe, hold, key_of, publish, refs_in, smoke_plan

Machine = Callable[[str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    """An empty store in a folder."""
    return Store(tmp_path / "store").create()


@pytest.fixture
def finished(smoke: Finished, tmp_path: Path) -> Store:
    """A copy of the smoke run's store."""
    return Store(shutil.copytree(smoke.run.store_folder, tmp_path / "copy"))


def collect(store: Store, *needed: Ref) -> dict[str, int]:
    """What was removed: how many of each."""
    wastes = waste_of(store, set(needed))
    assert all(remove(store, waste) for waste in wastes)
    return {what: sum(waste.what == what for waste in wastes) for what in {waste.what for waste in wastes}}


def test_gc_keeps_what_suites_need_and_removes_the_rest(finished: Store) -> None:
    before = refs_in(finished)
    stranger = publish(finished, "features", "ab")
    (finished.root / "damaged" / "features-x-1").mkdir(parents=True)
    describe(finished, stranger, {})
    needed = needed_by(finished, smoke_plan())
    assert needed == before
    assert collect(finished, *needed) == {"features": 1, "damaged": 1, "records of stages": 1}
    assert refs_in(finished) == before
    assert verify(finished) == (len(before), [])
    assert collect(finished, *needed) == {}


def test_gc_keeps_a_suite_behind_a_url(
    finished: Store, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"file://{tmp_path / 'remote'}"
    export(finished, published(finished), tmp_path / "all.tar")
    Importer(Store.at(url)).read(tmp_path / "all.tar")
    store = Store.at(url)
    before = refs_in(store)
    stranger = publish(store, "features", "ab")
    begin(store, stranger)
    assert run("gc", "smoke", "--dry-run", "--store", url) == 0
    assert refs_in(store) == before | {stranger}
    assert run("gc", "smoke", "--store", url) == 0
    assert capsys.readouterr().out.splitlines()[-2].split()[:2] == ["1", "features"]
    assert refs_in(store) == before == smoke_plan()["smoke"]
    machine("second")
    assert verify(Store.at(url)) == (len(before), [])


def test_gc_removes_what_killed_processes_left_behind_a_url(url: str, machine: Machine) -> None:
    store, remote = Store.at(url).create(), Remote(url)
    done, unfinished = publish(store, "row", "a"), Ref("localizer_fit", key_of("b"))
    begin(store, done)
    begin(store, unfinished)
    hold(store, unfinished, DEAD)
    store.write_documents({"damaged/row-x-1.json": b"{}", "clock/now": b"a probe of a living process"})
    found = collect(store, done, unfinished)
    assert found == {"discarded attempts": 2, "leases of dead holders": 1, "damaged": 1}
    assert set(remote.sizes("files")) == {f"row/{done.key}/{store.record(done).attempt}/file.bin"}
    assert not remote.sizes("leases") and remote.sizes("clock")
    assert verify(store) == (1, [])


def test_an_attempt_that_is_published_meanwhile_stays(store: Store) -> None:
    """A process that was paused past its lease has gone on, and nobody else has begun its stage."""
    attempt = store.attempt(Ref("row", key_of("a")))
    attempt.path("file.bin").write_bytes(b"content")
    store.hand_over(attempt)
    (waste,) = waste_of(store, {attempt.ref})
    assert waste.what == "discarded attempts"
    assert store.publish(attempt)
    assert remove(store, waste)
    assert verify(store) == (1, [])


def test_gc_removes_what_killed_processes_left_in_a_folder(folder: Store) -> None:
    done, unfinished = publish(folder, "row", "a"), Ref("localizer_fit", key_of("b"))
    folder.attempt(done).path("half").write_text("half")
    folder.checkpoint_folder(done).mkdir()
    folder.attempt(unfinished).path("half").write_text("half")
    folder.checkpoint_folder(unfinished).mkdir()
    hold(folder, unfinished, DEAD)
    for name in (".evicted.0", ".lease.1", ".done.json.2"):
        (folder.root / "row" / done.key / name).write_text("")
        os.utime(folder.root / "row" / done.key / name, (1, 1))
    (folder.root / ".costs.json.12345678").write_text("")
    os.utime(folder.root / ".costs.json.12345678", (1, 1))
    assert collect(folder, done, unfinished) == {
        "discarded attempts": 2,
        "checkpoints": 1,
        "partial files": 4,
        "leases of dead holders": 1,
    }
    left = {str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_dir() or path.suffix}
    attempt = folder.record(done).attempt
    assert {path for path in left if key_of("a") in path} == {
        f"row/{done.key}",
        f"row/{done.key}/done.json",
        f"row/{done.key}/{attempt}",
        f"row/{done.key}/{attempt}/file.bin",
    }
    # The next run continues a needed training from its checkpoint.
    assert {path for path in left if key_of("b") in path} == {
        f"localizer_fit/{unfinished.key}",
        f"localizer_fit/{unfinished.key}/checkpoint",
    }


def test_gc_leaves_a_partial_file_to_its_writer(folder: Store) -> None:
    done = publish(folder, "row", "a")
    partial = folder.root / "row" / done.key / ".lease.1"
    partial.write_text("")
    assert collect(folder, done) == {}
    os.utime(partial, (time.time() - 61,) * 2)
    assert collect(folder, done) == {"partial files": 1}


def test_gc_never_touches_running_stages_nor_what_they_come_from(store: Store) -> None:
    root = publish(store, "features", "a")
    middle = publish(store, "localizer_fit", "b", inputs=(root,))
    running = Ref("localizer_apply", key_of("c"))
    begin(store, running)
    hold(store, running, LIVING)
    describe(store, running, {"weights": (middle,)})
    unneeded = publish(store, "row", "d")
    assert collect(store) == {"row": 1}
    assert not store.has(unneeded)
    assert store.has(root) and store.has(middle)
    assert list(store.documents("stages")) == [f"{running.key}.json"]
    hold(store, running, DEAD)
    assert collect(store) == {"features": 1, "localizer_fit": 1, "unpublished keys": 1, "records of stages": 1}
    assert not any(slot.published for slot in store.backend.slots()) and not refs_in(store) - {running}


def test_gc_leaves_a_run_that_goes_on_all_it_needs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two stages nothing is held: the log tells that the run goes on."""
    root, made = publish(store, "features", "a"), publish(store, "localizer_fit", "b")
    other, to_do = publish(store, "row", "c"), Ref("localizer_apply", key_of("d"))
    describe(store, made, {})
    describe(store, to_do, {"all": (root, made)})
    log = store.begin_log("1")
    log.write("run_started", groups={made.key: "fit", to_do.key: "apply"})
    assert collect(store) == {"row": 1}
    assert store.has(root) and store.has(made) and not store.has(other)
    silence = store.reader(log.path).silence_s()
    assert 0 <= max(silence, 0) < 30
    monkeypatch.setattr("harness.store.care.waste.SILENT_S", -60)
    silent = {waste.what for waste in waste_of(store, set())}
    assert silent == {"features", "localizer_fit", "records of stages"}, "the run was killed"
    hold(store, to_do, LIVING)
    assert waste_of(store, set()) == [], "a long stage is silent, but held"
    hold(store, to_do, DEAD)
    log.write("run_finished")
    assert {waste.what for waste in waste_of(store, set())} == silent | {"unpublished keys"}


def test_gc_leaves_a_run_whose_driver_lives_all_it_needs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.care.waste.SILENT_S", -60)
    made = publish(store, "localizer_fit", "b")
    describe(store, made, {})
    log = store.begin_log("1")
    log.write("run_started", groups={made.key: "fit"}, driver=LIVING)
    assert waste_of(store, set()) == []
    store.begin_log("1").write("run_started", groups={made.key: "fit"}, driver=DEAD)
    assert {waste.what for waste in waste_of(store, set())} == {"localizer_fit", "records of stages"}


def test_gc_leaves_a_run_what_was_added_to_it_since_it_began(store: Store) -> None:
    read, made, other = (
        publish(store, "features", "a"),
        publish(store, "localizer_fit", "b"),
        publish(store, "row", "c"),
    )
    describe(store, made, {})
    log = store.begin_log("1")
    log.write("run_started", groups={}, driver=LIVING)
    log.write("grown", groups={made.key: "fit"}, shown=[list(read)])
    assert {waste.ref for waste in waste_of(store, set())} == {other}


def test_a_run_is_silent_since_its_log_was_written_last(folder: Store) -> None:
    log = folder.begin_log("1")
    log.write("run_started", groups={})
    os.utime(log.path, (time.time() - 90,) * 2)
    assert 89 < folder.reader(log.path).silence_s() < 120
    assert folder.reader(folder.root / "events" / "2.jsonl").silence_s() == float("inf")


def test_gc_takes_leaderboards_that_a_kill_left_half_made(folder: Store) -> None:
    board = folder.leaderboard_folder("smoke")
    old, young, notes = board / ".partial-old", board / ".partial-young", board / ".notes"
    for made in (old, young, notes):
        (made / "predictions").mkdir(parents=True)
        (made / "predictions" / "a.png").touch()
    partial_state = board / ".state.json.1234"
    partial_state.touch()
    for path in (old, old / "predictions", old / "predictions" / "a.png", young, notes, partial_state):
        os.utime(path, (1, 1))
    assert collect(folder) == {"partial files": 2}
    assert sorted(board.iterdir()) == [notes, young], "one is being filled, the other is none of its business"


def test_a_key_that_was_taken_meanwhile_is_left_alone(store: Store) -> None:
    ref = publish(store, "row", "a")
    (waste,) = waste_of(store, set())
    hold(store, ref, LIVING)
    assert not remove(store, waste)
    assert store.has(ref)


def test_gc_of_a_suite_that_was_never_run_here_is_refused(finished: Store) -> None:
    """The plan of another kind of CPU, or without the run's options, would take everything for waste."""
    with pytest.raises(UserError, match="no artefact of scenes-leaderboard"):
        needed_by(finished, smoke_plan() | {"scenes-leaderboard": {Ref("row", key_of("f"))}})


def test_folders_that_are_no_keys_are_none_of_its_business(folder: Store) -> None:
    (folder.root / "notes" / "mine").mkdir(parents=True)
    (folder.root / "leaderboards" / "smoke").mkdir(parents=True)
    (folder.root / "row" / "not-a-key").mkdir(parents=True)
    assert collect(folder) == {}
    assert (folder.root / "notes" / "mine").is_dir() and (folder.root / "row" / "not-a-key").is_dir()


def test_rm_by_kind_and_by_prefix(store: Store) -> None:
    one, two, row = publish(store, "features", "a1"), publish(store, "features", "a2"), publish(store, "row", "b")
    assert [waste.ref for waste in chosen(store, ["features"])] == [one, two]
    assert [waste.ref for waste in chosen(store, ["a2", "row/b", "b0"])] == [two, row]
    for waste in chosen(store, ["a1"]):
        assert remove(store, waste)
    assert refs_in(store) == {two, row}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", "which fits 2 keys"),
        ("row/a", "unknown key or kind"),
        ("featurs", "did you mean 'features'"),
        ("", "unknown key or kind ''"),
    ],
)
def test_rm_refuses_unclear_names(store: Store, name: str, words: str) -> None:
    publish(store, "features", "a1"), publish(store, "features", "a2"), publish(store, "row", "b")
    with pytest.raises(UserError, match=words):
        chosen(store, ["b", name])
    assert len(refs_in(store)) == 3


def test_rm_refuses_running_stages(store: Store) -> None:
    ref = publish(store, "features", "a1")
    hold(store, ref, LIVING)
    with pytest.raises(UserError, match="running"):
        chosen(store, ["features"])


@pytest.mark.parametrize("content", ["", "[]", "null", '{"start": "1"}', '{"pid": "x"}', "\0", "[" * 100_000])
def test_a_damaged_lease_lives_by_its_heartbeat(folder: Store, content: str) -> None:
    ref = publish(folder, "row", "a")
    path = folder.root.joinpath(*ref) / "lease.json"
    path.write_text(content)
    (slot,) = folder.backend.slots()
    assert slot.is_busy and not slot.is_abandoned
    os.utime(path, (1, 1))
    assert slot.is_abandoned and not slot.is_busy


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_gc_removes_exactly_what_is_not_needed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("store")).create()
    names = data.draw(st.lists(st.text("0123456789abcdef", min_size=1, max_size=4), unique_by=key_of, max_size=6))
    refs = [publish(store, data.draw(st.sampled_from(["features", "row"])), name) for name in names]
    needed = {ref for ref in refs if data.draw(st.booleans())}
    collect(store, *needed)
    assert refs_in(store) == needed
    assert verify(store) == (len(needed), [])


def test_keys_are_what_stages_have() -> None:
    assert all(KEY.fullmatch(ref.key) for ref in smoke_plan()["smoke"])


def run(*arguments: object) -> int:
    """The exit code of `seedbed store …`."""
    command = typer.main.get_command(store_app)
    return int(command.main([str(argument) for argument in arguments], standalone_mode=False) or 0)


def test_the_verbs(finished: Store, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--store", finished.root)
    assert run("du", "--json", *place) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["row"]["count"] == 14
    assert run("rm", "row", "--dry-run", *place) == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert run("rm", "row", *place) == 0
    assert capsys.readouterr().out.split()[:2] == ["14", "row"]
    assert run("gc", "smoke", *place) == 0
    assert capsys.readouterr().out == "0 B freed\n"
    assert run("verify", *place) == 0
    assert "56 artefacts, 0 damaged" in capsys.readouterr().out
    next(finished.root.glob("select/*/attempt-*/*")).write_text("other")
    assert run("verify", *place) == 1
    assert "damaged: select/" in capsys.readouterr().out
    with pytest.raises(UserError, match="no store"):
        run("du", "--store", finished.root / "features")


def test_waste_knows_its_size(store: Store) -> None:
    publish(store, "row", "a", b"x" * 50)
    (waste,) = waste_of(store, set())
    (slot,) = store.backend.slots()
    assert waste.bytes == sum(entry.bytes for entry in slot.entries) > 50
    assert Waste("files", [Entry("other", "a", partial(int, 2)), Entry("other", "b", partial(int, 3))]).bytes == 5


def test_what_cannot_be_removed_is_told_and_not_called_freed(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    ref = publish(folder, "row", "a")
    monkeypatch.setattr(shutil, "rmtree", refuse)
    found = CliRunner().invoke(store_app, ["rm", ref.kind, "--store", str(folder.root)])
    assert found.exit_code == 1
    assert "1 could not be removed" in found.output and "Permission denied" in found.output
    assert "0 B freed" in found.output
