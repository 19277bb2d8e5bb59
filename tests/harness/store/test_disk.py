"""Disks that are full or may not be written, and artefacts that rot on them: told, left whole, made again."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.reports.leaderboard import Finished, run_and_gather
from harness.store.layout import Ref
from harness.store.store import Damaged, Store
from harness.suites.suite import load_suite
from methods.localizers.cam import Cam
from settings.errors import UserError
from settings.files import MAX_DOCUMENT, create_exclusively, read_plain, write_bytes, write_json
from tests.fuzz.judging import seedbed
from tests.harness.conftest import results_of

CAM_ALONE = ("gallery=0", "references=[]", "recipes.cam+saliency=null", "recipes.coattention=null")
"""Overrides that leave the smoke suite its `cam`."""
FIT_ALONE = (*CAM_ALONE, "policies={fixed: maps}", "segmenter=none")
"""Overrides that leave it the maps of its `cam`."""
RUN = ("run", "smoke", "--executor", "serial", "--set", "gallery=0", "--set", "references=[]")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own; the test is skipped, visibly, where none may be mounted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def partial_files(root: Path) -> list[Path]:
    """What a write that broke off may leave behind."""
    return [path for path in root.rglob("*") if path.name.startswith(".") or path.suffix == ".partial"]


def attempts(root: Path) -> list[Path]:
    """Attempts without a record beside them."""
    return [path for path in root.glob("*/*/attempt-*") if not (path.parent / "done.json").exists()]


def test_a_read_only_store_is_one_line_before_any_work(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m"):
        Store(tmp_path / "disk" / "store").create()
        remount(tmp_path / "disk", "ro")
        for place in ("store", "new"):
            ended = seedbed(*RUN, "--store", tmp_path / "disk" / place)
            assert ended.code == 2 and "Read-only file system" in ended.err and "writable store" in ended.err
        assert [path.name for path in (tmp_path / "disk" / "store").iterdir()] == ["seedbed-store.json"]


def test_a_finished_suite_on_a_read_only_disk_shows_its_table(smoke: Finished, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64m"):
        shutil.copytree(smoke.run.store_folder, tmp_path / "disk" / "store")
        remount(tmp_path / "disk", "ro")
        again = run_and_gather(load_suite("smoke"), tmp_path / "disk" / "store", "serial")
        assert (again.exit_code, again.run.stages_run) == (0, 0)
        assert results_of(again) == results_of(smoke)


def test_a_full_disk_is_a_recorded_failure_and_the_run_continues_when_there_is_room(
    smoke: Finished, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m"):
        suite, store = load_suite("smoke", CAM_ALONE), disk / "store"
        full = run_and_gather(suite, store, "serial", shown=True)
        assert full.exit_code == 1 and full.board.holes > 0
        assert any("No space left on device" in row.reason for row in full.board.rows)
        assert "Traceback" not in "".join(capfd.readouterr())
        assert partial_files(disk) == [] and attempts(store) == []
        for done in store.glob("*/*/done.json"):
            Store(store).open(Ref(done.parent.parent.name, done.parent.name))
        remount(disk, "size=64m")
        again = run_and_gather(suite, store, "serial")
        assert again.exit_code == 0
        assert len(again.board.rows) == 4 and set(results_of(again)) < set(results_of(smoke))
        assert list((store / "failures").glob("*.json")) == []


def test_a_leaderboard_that_finds_no_room_leaves_the_old_one_whole(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    folder = store / "leaderboards" / "smoke"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "state.json"}
    (folder / "state.json").unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("harness.reports.folder._write_counts", full)
        ended = run_and_gather(load_suite("smoke"), store, "serial")
    assert ended.exit_code == 1 and "could not be written (No space left on device)" in ended.summary()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run_and_gather(load_suite("smoke"), store, "serial").exit_code == 0


def test_a_file_that_finds_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "link", "replace"):
        monkeypatch.setattr(os, name, full)
    monkeypatch.setattr(Path, "replace", full)
    for write, content in ((write_json, {}), (write_bytes, b"x"), (create_exclusively, b"x")):
        with pytest.raises(OSError, match="No space"):
            write(tmp_path / "a.json", content)  # type: ignore[operator]
        assert list(tmp_path.iterdir()) == []


def test_every_kind_of_artefact_that_rots_is_made_again(smoke: Finished, tmp_path: Path) -> None:
    """All rows are gone and all that they come from is damaged: each artefact is found out when it is opened."""
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    shutil.rmtree(store / "row")
    damages = [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c[:-1] + b"?", lambda c: b"\xff" * 8 + c[8:]]
    kinds = set()
    for number, done in enumerate(sorted(store.glob("*/*/done.json"))):
        record = json.loads(done.read_text())
        path = done.parent / record["attempt"] / sorted(record["files"])[0]
        path.write_bytes(damages[number % len(damages)](path.read_bytes()))
        kinds.add(record["kind"])
    assert {"features", "localizer_fit", "localizer_apply", "label", "segment", "sweep", "score"} <= kinds
    again = run_and_gather(load_suite("smoke", CAM_ALONE), store, "serial")
    assert again.exit_code == 0
    assert len(again.board.rows) == 4 and set(results_of(again)) < set(results_of(smoke))
    assert {path.name.rsplit("-", 2)[0] for path in (store / "damaged").iterdir()} >= {"features", "localizer_fit"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "lie"])
def test_training_begins_anew_from_a_damaged_checkpoint(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A fit that broke off behind its last epoch leaves a checkpoint; damaged, it counts for nothing."""
    suite, store = load_suite("smoke", FIT_ALONE), tmp_path / "store"
    for kind in ("weak_set", "features"):
        shutil.copytree(smoke.run.store_folder / kind, store / kind)
    shutil.copyfile(smoke.run.store_folder / "seedbed-store.json", store / "seedbed-store.json")
    fit = Cam.fit

    def broken(*arguments: object) -> None:
        fit(*arguments)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Cam, "fit", broken)
        assert run_and_gather(suite, store, "serial").exit_code == 1
    (path,) = store.glob("localizer_fit/*/checkpoint/training.safetensors")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes({"flip": content, "truncate": content[:-99], "lie": b"\xff" * 8 + content[8:]}[damage])
    again = run_and_gather(suite, store, "serial")
    found, expected = (
        [row for row in one.board.rows if (row.recipe, row.stage, row.policy) == ("cam", "maps", "fixed")]
        for one in (again, smoke)
    )
    assert [(row.miou, row.per_class) for row in found] == [(row.miou, row.per_class) for row in expected]


def test_a_store_whose_marker_is_damaged_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).create()
    for content in (b"[]", b"\xff", b"[" * 100_000):
        (tmp_path / "seedbed-store.json").write_bytes(content)
        with pytest.raises(UserError, match="store format that nobody can read"):
            Store(tmp_path).create()


def test_an_empty_marker_is_written_again(tmp_path: Path) -> None:
    """As a machine leaves it that lost its power."""
    marker = tmp_path / "seedbed-store.json"
    Store(tmp_path).create()
    content = marker.read_bytes()
    (tmp_path / "row").mkdir()
    marker.write_bytes(b"")
    Store(tmp_path).create()
    assert marker.read_bytes() == content


def test_a_disk_without_hard_links_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    store = Store(tmp_path).create()
    store.check_writable()
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UserError, match="a file system without hard links"):
        store.check_writable()
    assert [path.name for path in tmp_path.iterdir()] == ["seedbed-store.json"]


def published(store: Store) -> tuple[Ref, Path]:
    """An artefact of one file, and that file."""
    attempt = store.attempt(Ref("row", "a" * 64))
    attempt.path("f").write_bytes(b"content")
    store.publish(attempt)
    return attempt.ref, attempt.path("f")


def test_a_kind_on_another_disk_is_set_aside_by_copying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store = Store(tmp_path).create()
    ref, file = published(store)
    file.write_bytes(b"damaged")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Damaged, match="set aside"):
        store.open(ref)
    assert not (tmp_path / "row" / ref.key).exists()
    assert [path.read_bytes() for path in (tmp_path / "damaged").rglob("f")] == [b"damaged"]


@pytest.mark.parametrize("name", ["f", "done.json"])
@pytest.mark.parametrize("what", ["a link", "a pipe"])
def test_links_and_pipes_among_the_files_are_damage(tmp_path: Path, name: str, what: str) -> None:
    store = Store(tmp_path / "store").create()
    ref, file = published(store)
    path = {"f": file, "done.json": file.parent.parent / "done.json"}[name]
    same = tmp_path / "same"
    same.write_bytes(path.read_bytes())
    path.unlink()
    if what == "a link":
        path.symlink_to(same)
    else:
        os.mkfifo(path)
    with pytest.raises(Damaged):
        store.verify(ref)


def test_a_document_longer_than_any_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "document").open("wb") as file:
        file.truncate(MAX_DOCUMENT + 1)
    with pytest.raises(OSError, match="more than"):
        read_plain(tmp_path / "document")
