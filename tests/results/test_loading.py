"""Loading a store: what is published, in a stable order, the latest of each identity; in a folder and behind a URL."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

import results
from harness.store import layout
from harness.store.layout import Ref, RowFiles, later_run
from harness.store.store import Store
from results import rows as rows_module
from results.rows import Row, shared_rows, write_rows
from settings.errors import UserError

COUNT = count()
NOON = "2026-01-01T12:00:00+00:00"


@pytest.fixture(params=["folder", "file", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for a store."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    folder = str(tmp_path / "store")
    places = {"folder": folder, "file": f"file://{folder}", "memory": f"memory://loading/{next(COUNT)}"}
    return places[request.param]


def publish(location: str | Path, key: str, rows: list[Row], finished: str = NOON, run: str = "") -> Path:
    """An artefact with rows, as if published at that time by that run; returns its folder on this machine."""
    store = Store.at(location).create()
    attempt = store.attempt(Ref("row", key * 64))
    write_rows(RowFiles(attempt.folder).rows, rows)
    with pytest.MonkeyPatch.context() as patch:
        completed = Store._completed
        patch.setattr(Store, "_completed", lambda *given: replace(completed(*given), finished=finished, run=run))
        assert store.publish(attempt)
    return attempt.folder


def test_published_rows_in_the_order_of_their_identity(
    location: str, row: Callable[..., Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(location, "a", [row(recipe="irn"), row(recipe="cam", rng_seed=10, miou=0.25)])
    publish(location, "b", [row(recipe="cam", rng_seed=9, miou=0.125)])
    Store.at(location).attempt(Ref("row", "c" * 64))
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "another machine"))
    table = results.load(location)
    columns = ["recipe", "rng_seed", "miou", "per_class"]
    assert table[columns].values.tolist() == [
        ["cam", 9, 0.125, [0.75, 0.25]],
        ["cam", 10, 0.25, [0.75, 0.25]],
        ["irn", 0, 0.5, [0.75, 0.25]],
    ]


def test_the_row_published_last_stays(location: str, row: Callable[..., Row]) -> None:
    publish(location, "a", [row(miou=0.1)], "2026-01-02T00:30:00+00:00")
    publish(location, "b", [row(miou=0.2)], "2026-01-02T01:00:00+02:00")
    publish(location, "c", [row(miou=0.3)], "2026-01-01T23:59:59")
    assert results.load(location)["miou"].tolist() == [0.1]


def test_of_two_runs_the_later_ones_row_stays_whatever_their_clocks_said(
    location: str, row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = later_run("smoke", "")
    monkeypatch.setattr(layout, "time", SimpleNamespace(strftime=lambda _: "20200101-000000", time_ns=lambda: 0))
    second = later_run("smoke", first)
    publish(location, "a", [row(miou=0.1)], "2020-01-01T00:00:05+00:00", second)
    publish(location, "b", [row(miou=0.2)], "2026-01-01T00:00:00+00:00", first)
    publish(location, "c", [row(miou=0.3)], "2027-01-01T00:00:00+00:00")  # by an older version
    assert results.load(location)["miou"].tolist() == [0.1]


def test_another_option_set_is_another_row_whichever_was_published_last(location: str, row: Callable[..., Row]) -> None:
    publish(location, "a", [row(miou=0.1, options="a")], "2026-01-01T00:00:00+00:00")
    publish(location, "b", [row(miou=0.2, options="b")], "2026-01-02T00:00:00+00:00")
    publish(location, "c", [row(miou=0.3, options="a", backbone="vgg16")], "2026-01-03T00:00:00+00:00")
    publish(location, "d", [row(miou=0.4, options="a", backbone_size=320)], "2026-01-04T00:00:00+00:00")
    publish(location, "e", [row(miou=0.5, options="b")], "2026-01-05T00:00:00+00:00")
    assert sorted(results.load(location)["miou"]) == [0.1, 0.3, 0.4, 0.5]


def test_a_store_without_rows_is_an_empty_frame(location: str) -> None:
    Store.at(location).create()
    assert len(results.load(location)) == 0


def test_a_missing_store_is_named(location: str) -> None:
    with pytest.raises(UserError, match=r"found no store; expected a folder or URL that a suite was run on"):
        results.load(location)
    assert not Store.at(location).exists()


def test_a_home_is_meant(tmp_path: Path, row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    publish(tmp_path / "runs", "a", [row()])
    assert len(results.load("~/runs")) == 1


@pytest.mark.parametrize("finished", ["", "soon"])
def test_a_time_that_cannot_be_read_is_named(tmp_path: Path, row: Callable[..., Row], finished: str) -> None:
    publish(tmp_path, "a", [row()], finished)
    with pytest.raises(UserError, match=rf"row/aaaaaaaaaaaa: found '{finished}' as the time"):
        results.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"attempt": "../a", "finished": "2026-01-01"}'])
def test_a_damaged_record_is_named_and_set_aside(tmp_path: Path, row: Callable[..., Row], content: str) -> None:
    (publish(tmp_path, "a", [row()]).parent / "done.json").write_text(content)
    publish(tmp_path, "b", [row(recipe="irn")])
    with pytest.raises(UserError, match=r"found row/aaaaaaaaaaaa: damaged; set aside under .*damaged; expected whole"):
        results.load(tmp_path)
    assert results.load(tmp_path)["recipe"].tolist() == ["irn"]


def test_a_missing_rows_file_is_told(tmp_path: Path, row: Callable[..., Row]) -> None:
    RowFiles(publish(tmp_path, "a", [row()])).rows.unlink()
    with pytest.raises(UserError, match=r"found row/aaaaaaaaaaaa: damaged"):
        results.load(tmp_path)


def test_importing_results_is_cheap_and_tables_need_no_torch() -> None:
    code = """
import sys, results
assert not {"pandas", "pyarrow", "torch"} & set(sys.modules), "results alone"
assert not any(name.startswith("harness") for name in sys.modules), "results alone"
import results.tables, results.scoring, results.per_image, results.glance, results.selection
assert results.load
assert not any(name.startswith("harness") for name in sys.modules), "a store is opened when it is asked for"
assert "torch" not in sys.modules, "tables"
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(results.__file__).parent.parent)


def test_loading_needs_neither_torch_nor_ray(tmp_path: Path, row: Callable[..., Row]) -> None:
    publish(tmp_path, "a", [row()])
    code = f"""
import sys, results
assert len(results.load({str(tmp_path)!r})) == 1
assert not {{"torch", "ray", "fsspec"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(results.__file__).parent.parent)


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        results.lod  # noqa: B018


def test_rows_are_read_from_their_files_once(
    location: str, row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_module.shared_rows.cache_clear()
    for key in "ab":
        publish(location, key, [row(recipe=key)])
    first = results.load(location)
    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "read_rows", lambda path: pytest.fail(f"{path} was read again"))
        assert results.load(location).equals(first)
    cache = shared_rows()
    cache._table.execute("UPDATE rows SET rows = 'damaged'")
    assert results.load(location).equals(first)
    rows_module.shared_rows.cache_clear()
