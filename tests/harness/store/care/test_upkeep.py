"""Care of a store: what it holds, damage that no cache hides, and removal that leaves living holders alone."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.commands.store import store_app
from harness.reports.leaderboard import Finished
from harness.stages.planning import make_plan
from harness.store.care.inventory import KEY, slots
from harness.store.care.upkeep import readable, usage, verify
from harness.store.care.waste import Waste, chosen, needed_by, remove, waste_of
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.lease import this_process
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError

DEAD = {**this_process(), "start": "1", "token": "theirs"}
LIVING = {**this_process(), "token": "theirs"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


@pytest.fixture
def finished(smoke: Finished, tmp_path: Path) -> Store:
    """A copy of the smoke run's store."""
    return Store(shutil.copytree(smoke.run.store_folder, tmp_path / "copy"))


def key_of(text: str) -> str:
    return text.ljust(64, "0")


def publish(store: Store, kind: str, key: str, content: bytes = b"content", inputs: tuple[Ref, ...] = ()) -> Ref:
    attempt = store.attempt(kind, key_of(key))
    attempt.path("file.bin").write_bytes(content)
    attempt.record["inputs"] = [list(ref) for ref in inputs]
    assert store.publish(attempt)
    return Ref(kind, key_of(key))


def hold(store: Store, ref: Ref, holder: dict[str, object]) -> None:
    folder = store.root.joinpath(*ref)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lease.json").write_text(json.dumps(holder))


def collect(store: Store, *needed: Ref) -> dict[str, int]:
    """What was removed: how many of each."""
    wastes = waste_of(store, set(needed))
    assert all(remove(store, waste) for waste in wastes)
    return {what: sum(waste.what == what for waste in wastes) for what in {waste.what for waste in wastes}}


def test_usage_counts_every_byte_once(store: Store) -> None:
    publish(store, "features", "a", b"x" * 1000)
    publish(store, "features", "b", b"x" * 500)
    publish(store, "row", "c", b"x" * 7)
    store.attempt("row", key_of("c")).path("left").write_bytes(b"x" * 11)
    checkpoint = store.checkpoint_folder("localizer_fit", key_of("d"))
    checkpoint.mkdir(parents=True)
    (checkpoint / "epoch-1").write_bytes(b"x" * 13)
    (store.root / "damaged" / "old").mkdir(parents=True)
    (store.root / "damaged" / "old" / "f").write_bytes(b"x" * 17)
    used = usage(store)
    records = {ref.kind: 0 for ref in (slot.ref for slot in slots(store))}
    for slot in slots(store):
        records[slot.ref.kind] += sum(path.stat().st_size for path in slot.folder.glob("done.json"))
    assert (used.kinds["features"].count, used.kinds["features"].bytes) == (2, 1500 + records["features"])
    assert (used.kinds["row"].count, used.kinds["row"].bytes) == (1, 7 + records["row"])
    assert {name: (one.count, one.bytes) for name, one in used.beside.items() if name != "other"} == {
        "checkpoints": (1, 13),
        "attempts under way": (0, 0),
        "discarded attempts": (1, 11),
        "damaged": (1, 17),
    }
    every_byte = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    assert (used.total.count, used.total.bytes) == (3, every_byte)


def test_usage_of_a_finished_run(finished: Store) -> None:
    used = usage(finished)
    every_byte = sum(path.stat().st_size for path in finished.root.rglob("*") if path.is_file())
    assert used.total.bytes == every_byte
    assert used.total.count == len(make_plan(load_suite("smoke")).graph)
    assert used.to_json()["kinds"]["row"]["count"] == 14


def test_an_attempt_of_a_living_holder_is_under_way(store: Store) -> None:
    attempt = store.attempt("row", key_of("a"))
    hold(store, Ref(attempt.kind, attempt.key), LIVING)
    assert usage(store).beside["attempts under way"].count == 1
    hold(store, Ref(attempt.kind, attempt.key), DEAD)
    assert usage(store).beside["discarded attempts"].count == 1


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert readable(size) == text


def test_verify_does_not_trust_the_hash_cache(finished: Store) -> None:
    """A flipped bit that leaves size, time and inode as they were is what failing disks make."""
    (ref, *_) = [slot.ref for slot in slots(finished) if slot.ref.kind == "segmenter_fit"]
    path = next(finished.open(ref).folder.glob("*.safetensors"))
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert finished.open(ref).path(path.name) == path, "the cache is deceived: that is what verify is for"
    told: list[tuple[int, int]] = []
    looked_at, damaged = verify(finished, lambda done, total: told.append((done, total)))
    assert damaged == [ref]
    assert looked_at == len(told) == len(make_plan(load_suite("smoke")).graph)
    assert told[-1][0] == told[-1][1] and told == sorted(told)
    assert not finished.has(ref)
    assert verify(finished) == (looked_at - 1, [])


@pytest.mark.parametrize("damage", ["remove file", "truncate", "record"])
def test_verify_names_what_is_damaged(store: Store, damage: str) -> None:
    whole, broken = publish(store, "row", "a"), publish(store, "row", "b")
    path = store.open(broken).path("file.bin")
    if damage == "remove file":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 3)
    else:
        (path.parent.parent / "done.json").write_text("{")
    assert verify(store) == (2, [broken])
    assert store.has(whole)
    assert len(list((store.root / "damaged").iterdir())) == 1


def test_gc_keeps_what_suites_need_and_removes_the_rest(finished: Store) -> None:
    before = {slot.ref for slot in slots(finished)}
    stranger = publish(finished, "features", "ab")
    (finished.root / "damaged").mkdir()
    (finished.root / "damaged" / "features-x-1").mkdir()
    (finished.root / "stages" / f"{stranger.key}.json").write_text("{}")
    needed = needed_by(finished, ["smoke"])
    assert needed == before
    assert collect(finished, *needed) == {"features": 1, "damaged": 1, "records of stages": 1}
    assert {slot.ref for slot in slots(finished)} == before
    assert verify(finished) == (len(before), [])
    assert collect(finished, *needed) == {}


def test_gc_removes_what_killed_processes_left(store: Store) -> None:
    done, unfinished = publish(store, "row", "a"), Ref("localizer_fit", key_of("b"))
    store.attempt(done).path("half").write_text("half")
    store.checkpoint_folder(done).mkdir()
    store.attempt(unfinished).path("half").write_text("half")
    store.checkpoint_folder(unfinished).mkdir()
    hold(store, unfinished, DEAD)
    for name in (".evicted.0", ".lease.1", ".done.json.2"):
        (store.root / "row" / done.key / name).write_text("")
        os.utime(store.root / "row" / done.key / name, (1, 1))
    (store.root / ".costs.json.12345678").write_text("")
    os.utime(store.root / ".costs.json.12345678", (1, 1))
    assert collect(store, done, unfinished) == {
        "discarded attempts": 2,
        "checkpoints": 1,
        "partial files": 4,
        "leases of dead holders": 1,
    }
    left = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_dir() or path.suffix}
    attempt = store.record(done)["attempt"]
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


def test_gc_leaves_a_partial_file_to_its_writer(store: Store) -> None:
    done = publish(store, "row", "a")
    partial = store.root / "row" / done.key / ".lease.1"
    partial.write_text("")
    assert collect(store, done) == {}
    os.utime(partial, (time.time() - 61,) * 2)
    assert collect(store, done) == {"partial files": 1}


def test_gc_never_touches_running_stages_nor_what_they_come_from(store: Store) -> None:
    root = publish(store, "features", "a")
    middle = publish(store, "localizer_fit", "b", inputs=(root,))
    running = Ref("localizer_apply", key_of("c"))
    store.attempt(running).path("half").write_text("half")
    hold(store, running, LIVING)
    (store.root / "stages").mkdir()
    description = {"inputs": {"weights": [list(middle)]}}
    (store.root / "stages" / f"{running.key}.json").write_text(json.dumps(description))
    unneeded = publish(store, "row", "d")
    assert collect(store) == {"row": 1}
    assert not store.has(unneeded)
    assert store.has(root) and store.has(middle)
    assert [path.name for path in (store.root / "stages").iterdir()] == [f"{running.key}.json"]
    hold(store, running, DEAD)
    assert collect(store) == {"features": 1, "localizer_fit": 1, "unpublished keys": 1, "records of stages": 1}
    assert list(slots(store)) == []


def test_gc_leaves_a_run_that_goes_on_all_it_needs(store: Store) -> None:
    """Between two stages nothing is held: the log tells that the run goes on."""
    root, made, other = (
        publish(store, "features", "a"),
        publish(store, "localizer_fit", "b"),
        publish(store, "row", "c"),
    )
    to_do = Ref("localizer_apply", key_of("d"))
    (store.root / "stages").mkdir()
    (store.root / "events").mkdir()
    for ref, inputs in ((made, []), (to_do, [list(root), list(made)])):
        content = {"kind": ref.kind, "inputs": {"all": inputs}}
        (store.root / "stages" / f"{ref.key}.json").write_text(json.dumps(content))
    log = EventLog(store.root / "events" / "1.jsonl")
    log.write("run_started", groups={made.key: "fit", to_do.key: "apply"})
    assert collect(store) == {"row": 1}
    assert store.has(root) and store.has(made) and not store.has(other)
    os.utime(log.path, (1, 1))
    silent = {waste.what for waste in waste_of(store, set())}
    assert silent == {"features", "localizer_fit", "records of stages"}, "the run was killed"
    hold(store, to_do, LIVING)
    assert waste_of(store, set()) == [], "a long stage is silent, but held"
    hold(store, to_do, DEAD)
    log.write("run_finished")
    assert {waste.what for waste in waste_of(store, set())} == silent | {"unpublished keys"}


def test_gc_takes_leaderboards_that_a_kill_left_half_made(store: Store) -> None:
    folder = store.root / "leaderboards" / "smoke"
    old, young, notes = folder / ".partial-old", folder / ".partial-young", folder / ".notes"
    for made in (old, young, notes):
        (made / "predictions").mkdir(parents=True)
        (made / "predictions" / "a.png").touch()
    partial_state = folder / ".state.json.1234"
    partial_state.touch()
    for path in (old, old / "predictions", old / "predictions" / "a.png", young, notes, partial_state):
        os.utime(path, (1, 1))
    assert collect(store) == {"partial files": 2}
    assert sorted(folder.iterdir()) == [notes, young], "one is being filled, the other is none of its business"


def test_a_key_that_was_taken_meanwhile_is_left_alone(store: Store) -> None:
    ref = publish(store, "row", "a")
    (waste,) = waste_of(store, set())
    hold(store, ref, LIVING)
    assert not remove(store, waste)
    assert store.has(ref)


def test_gc_of_a_suite_that_was_never_run_here_is_refused(finished: Store) -> None:
    """The plan of another kind of CPU, or without the run's options, would take everything for waste."""
    with pytest.raises(UserError, match="no artefact of scenes-leaderboard"):
        needed_by(finished, ["smoke", "scenes-leaderboard"])


def test_folders_that_are_no_keys_are_none_of_its_business(store: Store) -> None:
    (store.root / "notes" / "mine").mkdir(parents=True)
    (store.root / "leaderboards" / "smoke").mkdir(parents=True)
    (store.root / "row" / "not-a-key").mkdir(parents=True)
    assert collect(store) == {}
    assert (store.root / "notes" / "mine").is_dir() and (store.root / "row" / "not-a-key").is_dir()


def test_rm_by_kind_and_by_prefix(store: Store) -> None:
    one, two, row = publish(store, "features", "a1"), publish(store, "features", "a2"), publish(store, "row", "b")
    assert [waste.ref for waste in chosen(store, ["features"])] == [one, two]
    assert [waste.ref for waste in chosen(store, ["a2", "row/b", "b0"])] == [two, row]
    for waste in chosen(store, ["a1"]):
        assert remove(store, waste)
    assert {slot.ref for slot in slots(store)} == {two, row}


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
    assert len(list(slots(store))) == 3


def test_rm_refuses_running_stages(store: Store) -> None:
    ref = publish(store, "features", "a1")
    hold(store, ref, LIVING)
    with pytest.raises(UserError, match="running"):
        chosen(store, ["features"])


@pytest.mark.parametrize("content", ["", "[]", "null", '{"start": "1"}', '{"pid": "x"}', "\0"])
def test_a_damaged_lease_lives_by_its_heartbeat(store: Store, content: str) -> None:
    ref = publish(store, "row", "a")
    path = store.root.joinpath(*ref) / "lease.json"
    path.write_text(content)
    (slot,) = slots(store)
    assert slot.lease.is_alive() and not slot.lease.is_dead()
    os.utime(path, (1, 1))
    assert slot.lease.is_dead() and not slot.lease.is_alive()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_gc_removes_exactly_what_is_not_needed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("store")).create()
    names = data.draw(st.lists(st.text("0123456789abcdef", min_size=1, max_size=4), unique_by=key_of, max_size=6))
    refs = [publish(store, data.draw(st.sampled_from(["features", "row"])), name) for name in names]
    needed = {ref for ref in refs if data.draw(st.booleans())}
    collect(store, *needed)
    assert {slot.ref for slot in slots(store)} == needed
    assert verify(store) == (len(needed), [])


def test_keys_are_what_stages_have() -> None:
    assert all(KEY.fullmatch(ref.key) for ref in make_plan(load_suite("smoke")).graph)


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
    assert "53 artefacts, 0 damaged" in capsys.readouterr().out
    next(finished.root.glob("select/*/attempt-*/*")).write_text("other")
    assert run("verify", *place) == 1
    assert "damaged: select/" in capsys.readouterr().out
    with pytest.raises(UserError, match="no store"):
        run("du", "--store", finished.root / "features")


def test_waste_knows_its_size(store: Store) -> None:
    (store.root / "f").write_bytes(b"x" * 5)
    assert Waste("file", store.root / "f").bytes == 5
