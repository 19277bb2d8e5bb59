"""Tables per image: round trips, totals and bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from results import parquet
from results.metrics.counts import Counts, LabelCounts, count, count_labels
from results.metrics.sweep import Sweep, threshold_sweep
from results.per_image import (
    confusion_table,
    image_ids,
    joined,
    label_table,
    read_table,
    sweep_table,
    total_counts,
    total_label_counts,
    total_sweep,
    write_table,
)
from settings.errors import UserError


def some_counts() -> list[tuple[str, Counts]]:
    rng = np.random.default_rng(0)
    images = [(f"image {i}", count(rng.integers(0, 3, (4, 5)), rng.integers(0, 3, (4, 5)), 3)) for i in range(4)]
    return [images[0], ("nothing known", Counts.zero(3)), *images[1:]]


def some_sweeps() -> list[tuple[str, Sweep]]:
    rng = np.random.default_rng(0)
    return [
        (
            str(i),
            threshold_sweep(
                rng.random((4, 5), np.float32),
                rng.integers(1, 3, (4, 5)).astype(np.uint8),
                rng.integers(0, 3, (4, 5)).astype(np.uint8),
                3,
                20,
            ),
        )
        for i in range(3)
    ]


def test_a_confusion_table_is_sparse_and_typed() -> None:
    table = confusion_table([("b", count(np.array([[1, 1, 0]]), np.array([[0, 0, 0]]), 2)), ("a", Counts.zero(2))])
    assert table.to_pylist() == [
        {"image": "b", "truth": 0, "prediction": 0, "pixels": 1},
        {"image": "b", "truth": 0, "prediction": 1, "pixels": 2},
    ]
    assert image_ids(table) == ("b", "a")
    kinds = [pa.dictionary(pa.int32(), pa.string()), pa.uint8(), pa.uint8(), pa.int64()]
    assert table.schema.types == kinds


def test_undecided_pixels_of_a_label_are_the_prediction_255(tmp_path: Path) -> None:
    first = count_labels(np.array([[1, 255, 0]]), np.array([[1, 1, 0]]), 2)
    second = count_labels(np.array([[255, 255]]), np.array([[0, 255]]), 2)
    write_table(tmp_path / "labels.parquet", label_table([("a", first), ("b", second)]))
    table = read_table(tmp_path / "labels.parquet")
    assert table.to_pylist() == [
        {"image": "a", "truth": 0, "prediction": 0, "pixels": 1},
        {"image": "a", "truth": 1, "prediction": 1, "pixels": 1},
        {"image": "a", "truth": 1, "prediction": 255, "pixels": 1},
        {"image": "b", "truth": 0, "prediction": 255, "pixels": 1},
    ]
    assert total_label_counts(table, 2) == LabelCounts(Counts(np.eye(2, dtype=np.int64)), np.array([1, 1]))
    with pytest.raises(ValueError, match="prediction must be below 2, found 255"):
        total_counts(table, 2)
    with pytest.raises(ValueError, match="prediction must be below 2 or 255"):
        total_label_counts(confusion_table([("a", count(np.array([[2]]), np.array([[1]]), 3))]), 2)


def test_totals_survive_the_file(tmp_path: Path) -> None:
    write_table(tmp_path / "confusion.parquet", confusion_table(some_counts()))
    table = read_table(tmp_path / "confusion.parquet")
    assert total_counts(table, 3) == sum((c for _, c in some_counts()), Counts.zero(3))
    assert image_ids(table) == tuple(image for image, _ in some_counts())


def test_sweeps_survive_the_file(tmp_path: Path) -> None:
    write_table(tmp_path / "sweep.parquet", sweep_table(some_sweeps()))
    table = read_table(tmp_path / "sweep.parquet")
    assert table.column_names == ["image", "truth", "winner", "exceeded", "pixels"]
    assert total_sweep(table, 3, 20) == sum(s for _, s in some_sweeps())


def test_a_subset_is_counted_from_the_table() -> None:
    table = confusion_table(some_counts())
    chosen = table.filter(pa.compute.equal(table.column("image").cast(pa.string()), "image 2"))
    assert total_counts(chosen, 3) == dict(some_counts())["image 2"]


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, confusion_table(some_counts()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_joined_shards_are_the_whole() -> None:
    images = some_counts()
    whole = joined([confusion_table(images[:2]), confusion_table(images[2:])])
    assert whole.to_pylist() == confusion_table(images).to_pylist()
    assert image_ids(whole) == tuple(image for image, _ in images)
    with pytest.raises(ValueError, match="twice"):
        joined([confusion_table(images), confusion_table(images[:1])])


def test_no_images_at_all() -> None:
    assert total_counts(confusion_table([]), 3) == Counts.zero(3)
    assert image_ids(sweep_table([])) == ()


def test_an_image_comes_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        confusion_table([("a", Counts.zero(2)), ("a", Counts.zero(2))])


def test_tables_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="truth must be below 2, found 2"):
        total_counts(confusion_table(some_counts()), 2)
    with pytest.raises(ValueError, match="missing"):
        total_sweep(confusion_table(some_counts()), 3)
    with pytest.raises(ValueError, match="metadata"):
        image_ids(pa.table({"image": ["a"]}))


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "confusion.parquet"
    with pytest.raises(UserError, match=r"confusion.parquet: found no such file"):
        read_table(file)
    write_table(file, confusion_table(some_counts()))
    for damaged in (b"", b"no parquet", file.read_bytes()[:-20], b"PAR1" + bytes(300) + b"PAR1"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"confusion.parquet: found an unreadable table"):
            read_table(file)


def test_a_small_file_that_declares_many_values_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "SURE_VALUES", 100_000)
    path = tmp_path / "zeros.parquet"
    parquet.write_table(path, pa.table({"zeros": np.zeros(100_000, np.int64)}))
    assert path.stat().st_size < 5000 and len(read_table(path)) == 100_000
    parquet.write_table(path, pa.table({"zeros": np.zeros(300_000, np.int64)}))
    with pytest.raises(UserError, match="300000 values in"):
        read_table(path)
