"""Rows: round trips, the schema, and files of other versions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from results.parquet import read_table, write_table
from results.rows import COLUMNS, IDENTITY, SCHEMA, Row, frame, read_rows, rows_of, write_rows
from settings.errors import UserError
from tests.conftest import REPOSITORY


def some_rows(row: Callable[..., Row]) -> list[Row]:
    full = row(per_class=[0.5, None], undefined=["disc"], threshold=0.15, coverage=0.75, precision=0.5, recall=0.25,
               miou_covered=0.625, backbone="vgg16", backbone_size=320, options="0a1b2c3d", counts="f" * 16,
               stale=["cam"], seconds=1.5, peak_memory_bytes=2**40, photos=3, provenance='{"a": 1}')  # fmt: skip
    return [full, row(rng_seed=1, status="failed", reason="non-finite loss", per_class=[], classes=[])]


def test_rows_survive_the_file(tmp_path: Path, row: Callable[..., Row]) -> None:
    write_rows(tmp_path / "rows.parquet", some_rows(row))
    assert read_rows(tmp_path / "rows.parquet") == some_rows(row)
    assert read_table(tmp_path / "rows.parquet").schema.equals(SCHEMA)


def test_the_columns_of_version_9() -> None:
    assert COLUMNS == (
        "dataset", "split", "recipe", "setting", "training_mode", "backbone", "backbone_size", "inputs", "options",
        "pretraining_epochs", "localizer_epochs", "refiner_epochs", "cue_epochs", "segmenter_epochs",
        "rng_seed", "stage", "variant", "policy", "tier", "miou", "miou_covered", "per_class", "classes", "undefined",
        "threshold", "coverage", "precision", "recall", "counts", "masks_sha256",
        "protocol", "protocol_version", "evaluation_fingerprint", "training_fingerprint",
        "supervision", "labels_read", "label_hours", "extra_photos", "extra_dropped", "extra_filtered",
        "extra_in_stage_2", "filter", "noise_rate", "without_extra", "masks_scored", "masks_chosen", "masks_declared",
        "masks_trained",
        "seconds", "gpu_seconds", "peak_memory_bytes", "photos", "photos_of_split", "arithmetic", "train_processes",
        "batch_norm",
        "status", "reason", "stale", "provenance", "row_version",
    )  # fmt: skip
    assert [str(SCHEMA.field(c).type) for c in ("rng_seed", "miou", "per_class", "stale", "stage")] == [
        "int64",
        "double",
        "list<item: double>",
        "list<item: string>",
        "string",
    ]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, row: Callable[..., Row]) -> None:
    for name in ("one", "two"):
        write_rows(tmp_path / name, some_rows(row))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_two_rows_of_one_identity_are_refused(tmp_path: Path, row: Callable[..., Row]) -> None:
    with pytest.raises(ValueError, match="same dataset, split"):
        write_rows(tmp_path / "rows.parquet", [row(miou=0.1), row(miou=0.2)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "seeds"}, "stage must be"),
        ({"status": "done"}, "status must be"),
        ({"miou": 47.9}, "miou must be 0..1"),
        ({"miou": float("nan")}, "miou must be 0..1"),
        ({"miou_covered": 1.5}, "miou_covered must be 0..1"),
        ({"status": "failed"}, "reason"),
        ({"status": "failed", "reason": "why", "miou": 0.5}, "no miou"),
        ({"per_class": [0.5]}, "1 per-class values for 2 classes"),
        ({"provenance": "{"}, "property name"),
    ],
)
def test_rows_that_contradict_themselves(row: Callable[..., Row], changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(**changes)


def test_a_frame_has_typed_columns_and_leads_back(row: Callable[..., Row]) -> None:
    rows = some_rows(row)
    table = frame(rows)
    assert list(table.columns) == list(COLUMNS)
    assert table["miou"].tolist()[0] == 0.5 and table["miou"].isna().tolist() == [False, True]
    assert table["rng_seed"].dtype == "int64" and table["seconds"].dtype == "float64"
    assert table["per_class"][0] == [0.5, None]
    assert rows_of(table) == rows
    assert rows_of(table.assign(extra=1).sort_values("rng_seed", ascending=False)) == rows[::-1]
    assert rows_of(frame([])) == [] and frame([])["miou"].dtype == "float64"
    assert not pd.DataFrame(table[list(IDENTITY)]).duplicated().any()


def rewritten(path: Path, row: Callable[..., Row], change: Callable[[pa.Table], pa.Table]) -> Path:
    write_rows(path, some_rows(row))
    write_table(path, change(read_table(path)))
    return path


def test_another_version_is_named(tmp_path: Path, row: Callable[..., Row]) -> None:
    def later(table: pa.Table) -> pa.Table:
        place = table.column_names.index("row_version")
        return table.set_column(place, "row_version", pa.array([10, 10])).drop_columns(["filter"])

    with pytest.raises(UserError, match=r"found row version 10; expected row version 9; .*`seedbed store rm row "):
        read_rows(rewritten(tmp_path / "rows.parquet", row, later))


ADDED_SINCE_4 = [
    *("backbone", "backbone_size", "options", "miou_covered", "counts", "masks_declared"),
    *("localizer_epochs", "refiner_epochs", "cue_epochs", "segmenter_epochs", "photos_of_split"),
    *("pretraining_epochs", "tier", "masks_sha256", "inputs"),
]


@pytest.mark.parametrize(
    ("version", "added"),
    [
        (2, ["train_processes", "batch_norm", "arithmetic", *ADDED_SINCE_4]),
        (3, ["arithmetic", *ADDED_SINCE_4]),
        (4, ADDED_SINCE_4),
    ],
)
def test_rows_of_earlier_versions_are_read(
    version: int, added: list[str], tmp_path: Path, row: Callable[..., Row]
) -> None:
    """As those of one process, whose arithmetic nobody chose, whose options nobody recorded, and of one score."""

    def earlier(table: pa.Table) -> pa.Table:
        table = table.drop_columns(added).append_column("void", pa.array(["background", ""]))
        return table.set_column(table.column_names.index("row_version"), "row_version", pa.array([version] * 2))

    unrecorded = {"backbone": "", "backbone_size": 0, "options": "", "miou_covered": None, "counts": ""}
    expected = [replace(each, **unrecorded) for each in some_rows(row)]
    assert read_rows(rewritten(tmp_path / "rows.parquet", row, earlier)) == expected


@pytest.mark.parametrize("name", ["scenes-leaderboard", "voc12-animals", "scenes-full", "noise-sweep"])
def test_kept_rows_are_read(name: str) -> None:
    rows = read_rows(REPOSITORY / "results" / "leaderboards" / name / "rows.parquet")
    assert rows and all(row.status == "ok" for row in rows)


def test_missing_and_unknown_columns_are_named(tmp_path: Path, row: Callable[..., Row]) -> None:
    file = tmp_path / "rows.parquet"
    with pytest.raises(UserError, match=r"rows.parquet: found no column filter, row_version"):
        read_rows(rewritten(file, row, lambda table: table.drop_columns(["filter", "row_version"])))
    with pytest.raises(UserError, match="found the columns luck"):
        read_rows(rewritten(file, row, lambda table: table.append_column("luck", pa.array([1, 2]))))


def test_values_of_another_type_or_sense_are_named(tmp_path: Path, row: Callable[..., Row]) -> None:
    def miou(values: list) -> Callable[[pa.Table], pa.Table]:
        return lambda table: table.set_column(table.column_names.index("miou"), "miou", pa.array(values))

    for values in (["high", "low"], [50.0, None]):
        with pytest.raises(UserError, match=r"rows.parquet: found an unreadable row"):
            read_rows(rewritten(tmp_path / "rows.parquet", row, miou(values)))
