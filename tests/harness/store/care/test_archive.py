"""Archives: what leaves a store comes back bit by bit; damage and tricks are refused by name, the rest is imported."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.commands.store import store_app
from harness.reports.leaderboard import Finished, run_and_gather
from harness.store.care import archive
from harness.store.care.archive import export
from harness.store.care.importing import Imported, Importer
from harness.store.care.usage import published, verify
from harness.store.layout import Ref
from harness.store.lease import this_process
from harness.store.store import Attempt, Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.store.care.filling import LIVING, contents, hold, leftovers, smoke_plan

Machine = Callable[[str], None]
RECORD = {
    "label": "a stage",
    "seconds": 1.5,
    "device": "cpu",
    "peak_memory_bytes": 1,
    "sources": {"a": "b"},
    "identity": {"c": 1},
}


def fill(store: Store, names: str = "abc") -> list[Ref]:
    """One artefact a letter, with two files each."""
    for name in names:
        attempt = store.attempt(Ref("features", name * 64))
        attempt.path("one.bin").write_bytes(name.encode() * 5000)
        attempt.path("deep").mkdir()
        attempt.path("deep/two.bin").write_bytes(name.encode())
        attempt.record = replace(attempt.record, **RECORD)
        assert store.publish(attempt)
    return [Ref("features", name * 64) for name in names]


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = Store(tmp_path / "source").create()
    fill(store)
    return store


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "target")


def archive_of(store: Store, path: Path) -> Path:
    export(store, published(store), path)
    return path


@pytest.fixture
def anywhere(location: str, machine: Machine) -> Store:
    """A store that is not there yet, in a folder or behind a URL."""
    return Store.at(location)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"])
def test_a_store_comes_back_bit_by_bit(source: Store, target: Store, tmp_path: Path, suffix: str) -> None:
    outcome = Importer(target).read(archive_of(source, tmp_path / f"all{suffix}"))
    assert outcome.new == [Ref("features", name * 64) for name in "abc"]
    assert (outcome.there, outcome.busy, outcome.refused) == ([], [], {})
    assert contents(target) == contents(source)
    assert leftovers(target) == []


def test_artefacts_go_by_an_archive_to_any_place_and_back(
    source: Store, anywhere: Store, tmp_path: Path, machine: Machine
) -> None:
    there, back = archive_of(source, tmp_path / "there.tar.zst"), tmp_path / "back.tar.zst"
    outcome = Importer(anywhere).read(there)
    assert outcome.new == [Ref("features", name * 64) for name in "abc"] and outcome.refused == {}
    assert leftovers(anywhere) == []
    assert len(Importer(anywhere).read(there).there) == 3
    machine("second")
    elsewhere = Store.at(anywhere.location)
    record = elsewhere.record(Ref("features", "a" * 64))
    assert (record.label, record.seconds, record.sources, record.identity) == ("a stage", 1.5, {"a": "b"}, {"c": 1})
    assert export(elsewhere, published(elsewhere), back) == 3
    assert contents(elsewhere) == contents(source)
    home = Store(tmp_path / "home")
    assert len(Importer(home).read(back).new) == 3
    assert contents(home) == contents(source)


def test_the_same_artefacts_make_the_same_archive(source: Store, tmp_path: Path) -> None:
    one, two = archive_of(source, tmp_path / "1.tar"), archive_of(source, tmp_path / "2.tar")
    assert one.read_bytes() == two.read_bytes()


def test_a_suite_is_finished_where_its_archive_came_to(smoke: Finished, target: Store, tmp_path: Path) -> None:
    source = Store(shutil.copytree(smoke.run.store_folder, tmp_path / "copy"))
    fill(source, "f")
    refs = [ref for ref in published(source) if ref in smoke_plan()["smoke"]]
    assert export(source, refs, tmp_path / "smoke.tar.zst") == len(smoke.run.plan.graph)
    assert len(Importer(target).read(tmp_path / "smoke.tar.zst").new) == len(smoke.run.plan.graph)
    assert not target.has(Ref("features", "f" * 64))
    again = run_and_gather(load_suite("smoke"), target.root, "serial")
    assert again.run.stages_run == 0
    assert [row.miou for row in again.board.rows] == [row.miou for row in smoke.board.rows]


def test_a_second_import_finds_everything_there(source: Store, target: Store, tmp_path: Path) -> None:
    path = archive_of(source, tmp_path / "all.tar")
    Importer(target).read(path)
    before = {file: file.stat().st_mtime_ns for file in target.root.rglob("*")}
    assert len(Importer(target).read(path).there) == 3
    assert {file: file.stat().st_mtime_ns for file in target.root.rglob("*")} == before


def test_what_another_process_is_making_is_left_to_it(source: Store, anywhere: Store, tmp_path: Path) -> None:
    path, busy = archive_of(source, tmp_path / "all.tar"), Ref("features", "b" * 64)
    hold(anywhere.create(), busy, LIVING)
    outcome = Importer(anywhere).read(path)
    assert (len(outcome.new), outcome.busy, outcome.refused) == (2, [busy], {})
    (slot,) = [slot for slot in anywhere.backend.slots() if slot.ref == busy]
    assert [entry.part for entry in slot.entries] == ["lease"]


def test_export_refuses(source: Store, tmp_path: Path) -> None:
    archive_of(source, tmp_path / "all.tar")
    with pytest.raises(UserError, match="existing file"):
        archive_of(source, tmp_path / "all.tar")
    with pytest.raises(UserError, match=r"suffix '\.zip'"):
        archive_of(source, tmp_path / "all.zip")
    with pytest.raises(UserError, match="no artefact"):
        export(source, [], tmp_path / "none.tar")
    source.open(Ref("features", "b" * 64)).path("one.bin").write_bytes(b"other")
    with pytest.raises(UserError, match="damaged"):
        archive_of(source, tmp_path / "new.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.tar", "source"]


@pytest.mark.parametrize("content", [b"", b"not an archive" * 100, bytes(2048)])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_a_file_that_is_no_archive_is_one_line_and_makes_no_store(
    target: Store, tmp_path: Path, content: bytes, suffix: str
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(UserError, match="no archive of Seedbed's"):
        Importer(target).read(tmp_path / f"a{suffix}")
    assert not target.root.exists()


@pytest.mark.parametrize("where", ["content", "record", "header"])
def test_a_damaged_artefact_is_refused_and_the_rest_imported(
    source: Store, target: Store, tmp_path: Path, where: str
) -> None:
    path = archive_of(source, tmp_path / "all.tar")
    with tarfile.open(path) as tar:
        member = tar.getmember(f"features/{'b' * 64}/" + ("done.json" if where == "record" else "one.bin"))
    position = member.offset + 150 if where == "header" else member.offset_data + 100
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    outcome = Importer(target).read(path)
    assert outcome.new == [Ref("features", "a" * 64), Ref("features", "c" * 64)]
    assert list(outcome.refused) == [str(Ref("features", "b" * 64))]
    assert contents(target) == {place: text for place, text in contents(source).items() if place[0].key[0] != "b"}
    assert leftovers(target) == []


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_of_a_truncated_archive_the_beginning_is_imported(
    source: Store, target: Store, tmp_path: Path, suffix: str
) -> None:
    for name in "def01":
        attempt = source.attempt(Ref("row", name * 64))
        attempt.path("noise.bin").write_bytes(hashlib.shake_256(name.encode()).digest(300_000))
        source.publish(attempt)
    path = archive_of(source, tmp_path / f"all{suffix}")
    os.truncate(path, path.stat().st_size * 6 // 10)
    outcome = Importer(target).read(path)
    assert 3 <= len(outcome.new) < 8
    assert len(outcome.refused) == 8 - len(outcome.new)
    assert verify(target) == (len(outcome.new), [])
    assert leftovers(target) == []


def written(path: Path, add: Callable[[tarfile.TarFile], None], record: dict[str, object] | None = None) -> Path:
    """An archive of one artefact whose record promises the file `f` with the content `x`, and what `add` adds."""
    place = {"kind": "row", "key": "a" * 64, "attempt": "attempt-1"}
    full = {**RECORD, **place, "inputs": [], "files": {"f": hashlib.sha256(b"x").hexdigest()}}
    text = json.dumps({**full, **(record or {})}).encode()
    index = {"format": 1, "artefacts": [["row", "a" * 64, hashlib.sha256(text).hexdigest()]]}
    with tarfile.open(path, "w") as tar:
        add_file(tar, "seedbed-archive.json", json.dumps(index).encode())
        add_file(tar, f"row/{'a' * 64}/done.json", text)
        add(tar)
    return path


def add_file(
    tar: tarfile.TarFile, name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, **more: str
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    for key, value in more.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


OWN = f"row/{'a' * 64}"


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/x", "../../x", f"{OWN}/../../../x", f"{OWN}/./f", "row//f", f"row/{'b' * 64}/f", "x", "C:\\x"]
)
def test_names_that_lead_elsewhere_are_refused(target: Store, tmp_path: Path, name: str) -> None:
    def hostile(tar: tarfile.TarFile) -> None:
        add_file(tar, name)
        add_file(tar, f"{OWN}/f")

    outcome = Importer(target).read(written(tmp_path / "a.tar", hostile))
    assert name in outcome.refused
    assert outcome.new == [Ref("row", "a" * 64)]
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "target"}
    assert set(contents(target)) == {(Ref("row", "a" * 64), "f")}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(target: Store, tmp_path: Path, kind: bytes) -> None:
    def hostile(tar: tarfile.TarFile) -> None:
        add_file(tar, f"{OWN}/f", b"", kind, linkname="/etc/passwd")

    outcome = Importer(target).read(written(tmp_path / "a.tar", hostile))
    assert outcome.refused == {str(Ref("row", "a" * 64)): f"'{OWN}/f' is no plain file"}
    assert leftovers(target) == [] and contents(target) == {}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"files": {"../f": "0" * 64}}, "outside of its folder"),
        ({"files": {"/f": "0" * 64}}, "outside of its folder"),
        ({"files": {"a": "0" * 64, "a/b": "0" * 64}}, "inside another"),
        ({"files": {"n" * 300: "0" * 64}}, "outside of its folder"),
        ({"files": {"f": "short"}}, "not one of Seedbed's"),
        ({"inputs": [["../..", "a" * 64]]}, "not one of Seedbed's"),
        ({"seconds": "long"}, "not one of Seedbed's"),
        ({"seconds": float("nan")}, "not one of Seedbed's"),
        ({"attempt": "../x"}, "attempt '../x'"),
        ({"key": "b" * 64}, "has the place of row/bbbb"),
        ({"kind": "score"}, "has the place of score/aaaa"),
        ({"files": {"f": hashlib.sha256(b"y").hexdigest()}}, "'f' is damaged"),
        ({"files": {"f": hashlib.sha256(b"x").hexdigest(), "g": "0" * 64}}, "not whole"),
        ({"files": {}}, "does not name"),
    ],
)
def test_records_that_lie_are_refused(target: Store, tmp_path: Path, record: dict[str, object], words: str) -> None:
    outcome = Importer(target).read(written(tmp_path / "a.tar", lambda tar: add_file(tar, f"{OWN}/f"), record))
    (reason,) = outcome.refused.values()
    assert words in reason
    assert outcome.new == [] and leftovers(target) == [] and contents(target) == {}


def test_an_index_is_read_up_to_its_first_fault_and_no_longer_one_is_written(
    source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError) as caught:
        archive.Index.model_validate_json('{"format": 1, "artefacts": [' + "[]," * 1000 + "1]}")
    assert caught.value.error_count() < 5
    monkeypatch.setattr(archive, "MAX_INDEX", 100)
    with pytest.raises(UserError, match="found 3 artefacts; expected some 200,000 at most"):
        export(source, published(source), tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


def test_a_header_cannot_ask_for_memory(target: Store, tmp_path: Path) -> None:
    """A long-name header of 3 MB of zeros stands for one of 3 TB."""
    path = written(
        tmp_path / "a.tar", lambda tar: add_file(tar, "././@LongLink", bytes(3 << 20), tarfile.GNUTYPE_LONGNAME)
    )
    outcome = Importer(target).read(path)
    assert "HeaderError" in outcome.refused[str(Ref("row", "a" * 64))]


def test_more_than_the_disk_holds_is_refused_before_it_is_written(target: Store, tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path / "a.tar", lambda tar: add_file(tar, f"{OWN}/f"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="no room for 1 bytes"):
        Importer(target).read(path)
    assert leftovers(target) == [] and contents(target) == {}


def test_a_read_only_store_is_one_line(source: Store, target: Store, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    path = archive_of(source, tmp_path / "all.tar")
    monkeypatch.setattr("harness.store.lease.FileLease.acquire", refuse)
    with pytest.raises(UserError, match="found Read-only file system; expected a writable store with room"):
        Importer(target).read(path)


def test_a_disk_that_fills_up_ends_the_import_and_keeps_what_came(
    source: Store, target: Store, tmp_path: Path, monkeypatch
) -> None:
    publish, published_before = Store.publish, []

    def full(store: Store, attempt: Attempt) -> bool:
        if published_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        published_before.append(attempt.ref)
        return publish(store, attempt)

    path = archive_of(source, tmp_path / "all.tar")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish", full)
        with pytest.raises(UserError, match="No space left on device"):
            Importer(target).read(path)
    assert published(target) == published_before
    outcome = Importer(target).read(path)
    assert (len(outcome.there), len(outcome.new)) == (1, 2)
    assert contents(target) == contents(source)
    assert leftovers(target) == []


def killed_in_import(target: Store, archive: Path, moment: int) -> int:
    """How a forked process ends that is killed right before its nth file operation in the target."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = moment

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir") and "target" in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        # Leases name their holder: what the parent found out about itself is not true here.
        this_process.cache_clear()
        sys.addaudithook(hook)
        Importer(target).read(archive)
    finally:
        # Nothing of pytest goes on in this process, whatever was raised.
        os._exit(0)


@pytest.mark.parametrize("moment", [2, 6, 9, 14, 18, 23, 30])
def test_an_import_may_be_killed_at_any_moment(source: Store, target: Store, tmp_path: Path, moment: int) -> None:
    path = archive_of(source, tmp_path / "all.tar")
    assert killed_in_import(target, path, moment) == -signal.SIGKILL
    if target.root.exists():
        assert verify(target)[1] == []
    outcome: Imported = Importer(target).read(path)
    assert len(outcome.new) + len(outcome.there) == 3 and outcome.refused == {}
    assert contents(target) == contents(source)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_an_archive_only_whole_artefacts_arrive(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    source, target = Store(folder / "source").create(), Store(folder / "target")
    fill(source, "ab")
    path = archive_of(source, folder / data.draw(st.sampled_from(["a.tar", "a.tar.gz", "a.tar.zst"])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # A share, not a position: records hold their time, so that archives differ in length.
        position = int(data.draw(st.floats(0, 1)) * (len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: int(data.draw(st.sampled_from([1.0, 0.99, 0.5])) * len(content))])
    whole = contents(source)
    try:
        outcome = Importer(target).read(path)
    except UserError:
        assert not target.root.exists()
        return
    arrived = contents(target)
    assert arrived == {place: text for place, text in whole.items() if place[0] in outcome.new}
    assert leftovers(target) == []


def test_the_verbs(source: Store, target: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.main.get_command(store_app)

    def run(*arguments: object) -> tuple[int, str]:
        code = command.main([str(argument) for argument in arguments], standalone_mode=False)
        return int(code or 0), capsys.readouterr().out

    path = tmp_path / "all.tar.gz"
    code, out = run("export", path, "--store", source.root)
    assert code == 0 and out.startswith("3 artefacts, ")
    assert run("import", path, "--store", target.root) == (0, "3 imported, 0 there already, 0 refused\n")
    os.truncate(path, path.stat().st_size - 20)
    shutil.rmtree(target.root)
    code, out = run("import", path, "--store", target.root)
    assert code == 1 and out.startswith("refused: features/")
    with pytest.raises(UserError, match="no such file"):
        run("import", tmp_path / "absent.tar", "--store", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_export_left_goes_with_the_next(source: Store, tmp_path: Path) -> None:
    left = tmp_path / ".archive.tar.0123abcd"
    left.write_bytes(b"half")
    export(source, published(source), tmp_path / "archive.tar")
    assert not left.exists()
