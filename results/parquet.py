"""Parquet files of Seedbed: read with the user's errors, written to the same bytes for the same table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from settings.errors import UserError

__all__ = ["read_table", "write_table"]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as one zstd-compressed parquet file; the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """Read a whole parquet file; raises UserError where it is missing or damaged."""
    try:
        # A file handle, not the path: pyarrow would read folder names like `split=val` as columns.
        with path.open("rb") as file:
            # Small files: starting threads takes longer than reading.
            table = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)
        # Damaged names show only when they are asked for.
        _ = table.column_names
    except FileNotFoundError:
        raise UserError(path, "no such file", "a parquet table") from None
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError) as error:
        raise UserError(path, f"an unreadable table ({error})", "a parquet file that Seedbed wrote") from None
    return table
