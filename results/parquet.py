"""Parquet files of Seedbed: read with the user's errors, written to the same bytes for the same table."""

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from settings.errors import UserError

__all__ = ["read_table", "write_table"]

SURE_VALUES, VALUES_A_BYTE = 10**7, 20
"""So many values (80 MB) any file may hold, and further ones for each of its bytes; real tables have about one a byte,
and a hostile one may stand for a thousand."""
VALUE_BYTES = 8
"""Of a number; and so many on average of a text that is counted as often as it is repeated."""


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as one zstd-compressed parquet file; the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd")


def _check_size(metadata: pq.FileMetaData, most: int) -> list[str]:
    """Raise ValueError where more values, or bytes for them, are declared than `most`.

    Returns the columns of texts, unless these cannot be long even if each were the longest of its column.
    """
    declared, size, length, texts = 0, 0, 0, []
    for group in range(metadata.num_row_groups):
        of_group = metadata.row_group(group)
        for column in map(of_group.column, range(of_group.num_columns)):
            declared += column.num_values
            size += column.total_uncompressed_size
            if column.physical_type == "BYTE_ARRAY":
                texts.append(column.path_in_schema)
                length += column.num_values * column.total_uncompressed_size
    if declared > most:
        raise ValueError(f"{declared} values in a small file")
    if size > VALUE_BYTES * most:
        raise ValueError(f"{size} bytes of values in a small file")
    if length <= VALUE_BYTES * most:
        return []
    return texts


# pyarrow's annotations know no members of arrays of one type or another.
def _text_bytes(array: Any) -> int:
    """How long the texts of an array are, one that is repeated counted each time."""
    if pa.types.is_list(array.type):
        return _text_bytes(array.flatten())
    if not pa.types.is_dictionary(array.type):
        return 0
    lengths: Any = pc.binary_length(array.dictionary)
    repeated: int | None = pc.sum(lengths.cast(pa.int64()).take(array.indices)).as_py()
    return repeated or 0


def _whole(file: BinaryIO, size: int) -> pa.Table:
    """The table of a file of that size, none of whose texts is repeated in memory before it is known how often."""
    # Small files: starting threads takes longer than reading.
    parquet = pq.ParquetFile(file, pre_buffer=False)
    most = SURE_VALUES + VALUES_A_BYTE * size
    texts = _check_size(parquet.metadata, most)
    if not texts:
        return parquet.read(use_threads=False)
    table = pq.ParquetFile(file, pre_buffer=False, read_dictionary=texts).read(use_threads=False)
    repeated = sum(_text_bytes(chunk) for column in table.columns for chunk in column.chunks)
    if repeated > VALUE_BYTES * most:
        raise ValueError(f"{repeated} bytes of texts in a small file")
    return table.cast(parquet.schema_arrow)


def read_table(path: Path) -> pa.Table:
    """Read a whole parquet file; raises UserError where it is missing or damaged."""
    try:
        # A file handle, not the path: pyarrow would read folder names like `split=val` as columns.
        with path.open("rb") as file:
            table = _whole(file, path.stat().st_size)
        # Damaged names show only when they are asked for.
        _ = table.column_names
    except FileNotFoundError:
        raise UserError(path, "no such file", "a parquet table") from None
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError) as error:
        raise UserError(path, f"an unreadable table ({error})", "a parquet file that Seedbed wrote") from None
    return table
