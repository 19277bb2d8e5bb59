"""Tables come back as they were written; a small file that stands for a large table is refused before it is one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import parquet
from results.parquet import read_table, write_table
from settings.errors import UserError

TABLE = pa.table(
    {
        "text": pa.array(["a", None, "ü", "a"]),
        "texts": pa.array([["x", "y"], [], None, ["x"]], pa.list_(pa.string())),
        "bytes": pa.array([b"\xff", b"", None, b"\xff"]),
        "number": pa.array([1.5, None, float("nan"), 2.0]),
        "numbers": pa.array([[1], [], None, [2, 3]], pa.list_(pa.int64())),
    }
).replace_schema_metadata({"images": "four"})


@pytest.mark.parametrize("texts", [[], ["text", "texts.list.element", "bytes"]], ids=["at once", "with care"])
def test_a_table_comes_back_as_it_was_written(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_check_size", lambda metadata, most: texts)
    write_table(tmp_path / "t.parquet", TABLE)
    back, by_arrow = read_table(tmp_path / "t.parquet"), pq.read_table(tmp_path / "t.parquet")
    assert back.schema.equals(by_arrow.schema, check_metadata=True)
    assert back.drop_columns("number").equals(by_arrow.drop_columns("number"))
    assert str(back.to_pylist()) == str(TABLE.to_pylist())


def repeated(text: str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"text": repeated("x" * 10_000, 10_000)}, "100000000 bytes of texts"),
        ({"texts": pa.ListArray.from_arrays(pa.array([0, 10_000]), repeated("x" * 10_000, 10_000))}, "bytes of texts"),
        ({"text": ["x" * 90_000_000]}, "bytes of values"),
        ({"number": pa.nulls(11_000_000, pa.int64())}, "11000000 values"),
    ],
    ids=["repeated", "repeated in lists", "long", "empty"],
)
def test_what_a_small_file_stands_for_is_known_before_it_is_read(
    columns: dict[str, object], found: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 50_000
    with pytest.raises(UserError, match=rf"unreadable table \(.*{found} in a small file\)"):
        read_table(path)
