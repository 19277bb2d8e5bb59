"""Parquet files of Seedbed: read with the user's errors, written to the same bytes for the same table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from settings.errors import UserError

__all__ = ["read_table", "write_table"]

SURE_VALUES, VALUES_A_BYTE = 10**7, 20
"""So many values (80 MB) any file may hold, and further ones for each of its bytes; real tables have about one a byte,
and a hostile one may stand for a thousand."""


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as one zstd-compressed parquet file; the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd")


def _check_size(metadata: pq.FileMetaData, size: int) -> None:
    """Raise ValueError for a file of `size` bytes that declares more values than such a one holds."""
    declared, most = 0, SURE_VALUES + VALUES_A_BYTE * size
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        declared += sum(columns.column(place).num_values for place in range(columns.num_columns))
    if declared > most:
        raise ValueError(f"{declared} values in {size} bytes")


def read_table(path: Path) -> pa.Table:
    """Read a whole parquet file; raises UserError where it is missing or damaged."""
    try:
        # A file handle, not the path: pyarrow would read folder names like `split=val` as columns.
        with path.open("rb") as file:
            # Small files: starting threads takes longer than reading.
            parquet = pq.ParquetFile(file, pre_buffer=False)
            _check_size(parquet.metadata, path.stat().st_size)
            table = parquet.read(use_threads=False)
        # Damaged names show only when they are asked for.
        _ = table.column_names
    except FileNotFoundError:
        raise UserError(path, "no such file", "a parquet table") from None
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError) as error:
        raise UserError(path, f"an unreadable table ({error})", "a parquet file that Seedbed wrote") from None
    return table
