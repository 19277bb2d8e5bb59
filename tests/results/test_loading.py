"""Loading a store: what is published, in a stable order, the latest of each identity."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import results
from results.rows import Row, write_rows
from settings.errors import UserError


def publish(store: Path, key: str, rows: list[Row], finished: str | None = "2026-01-01T00:00:00+00:00") -> Path:
    folder = store / "row" / key / "attempt-1"
    folder.mkdir(parents=True)
    write_rows(folder / "rows.parquet", rows)
    if finished:
        (folder.parent / "done.json").write_text(json.dumps({"attempt": "attempt-1", "finished": finished}))
    return folder.parent / "done.json"


def test_published_rows_in_the_order_of_their_identity(tmp_path: Path, row: Callable[..., Row]) -> None:
    publish(tmp_path, "aa", [row(recipe="irn"), row(recipe="cam", rng_seed=10)])
    publish(tmp_path, "bb", [row(recipe="cam", rng_seed=9)])
    publish(tmp_path, "cc", [row(recipe="unfinished")], finished=None)
    table = results.load(str(tmp_path))
    assert table[["recipe", "rng_seed"]].values.tolist() == [["cam", 9], ["cam", 10], ["irn", 0]]


def test_the_row_published_last_stays(tmp_path: Path, row: Callable[..., Row]) -> None:
    publish(tmp_path, "aa", [row(miou=0.1)], "2026-01-02T00:30:00+00:00")
    publish(tmp_path, "bb", [row(miou=0.2)], "2026-01-02T01:00:00+02:00")
    publish(tmp_path, "cc", [row(miou=0.3)], "2026-01-01T23:59:59")
    assert results.load(tmp_path)["miou"].tolist() == [0.1]


def test_a_store_without_rows_is_an_empty_frame(tmp_path: Path) -> None:
    assert len(results.load(tmp_path)) == 0


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: found no folder"):
        results.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"attempt": "a", "finished": "soon"}', '{"attempt": "../a", "finished": "2026-01-01"}']
)
def test_a_damaged_done_file_is_named(tmp_path: Path, row: Callable[..., Row], content: str) -> None:
    publish(tmp_path, "aa", [row()]).write_text(content)
    with pytest.raises(UserError, match=r"aa/done.json: found"):
        results.load(tmp_path)


def test_a_missing_rows_file_is_named(tmp_path: Path, row: Callable[..., Row]) -> None:
    done = publish(tmp_path, "aa", [row()])
    (done.parent / "attempt-1" / "rows.parquet").unlink()
    with pytest.raises(UserError, match=r"rows.parquet: found no such file"):
        results.load(tmp_path)


def test_importing_results_is_cheap_and_tables_need_no_torch() -> None:
    code = """
import sys, results
assert not {"pandas", "pyarrow", "torch"} & set(sys.modules), "results alone"
import results.tables, results.scoring, results.per_image, results.plots, results.selection
assert results.load
assert "torch" not in sys.modules, "tables"
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(results.__file__).parent.parent)


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        results.lod  # noqa: B018
