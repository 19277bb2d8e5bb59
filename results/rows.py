"""The result row: one scored stage of one recipe under one setting with one rng seed, kept as parquet."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import pyarrow as pa

from results.parquet import read_table, write_table
from settings.caching import CachedTable
from settings.errors import UserError
from settings.hashing import cache_folder
from settings.records import fingerprint

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CEILING",
    "COLUMNS",
    "IDENTITY",
    "SCHEMA",
    "STAGES",
    "TIERS",
    "OptionSet",
    "Row",
    "ScoredStage",
    "Tier",
    "frame",
    "read_rows",
    "rows_of",
    "shared_rows",
    "write_rows",
]

ROW_VERSION = 9
"""Raised whenever a column is added, dropped or changes its meaning."""
ADDED: Mapping[int, Mapping[str, Any]] = {
    3: {"train_processes": 1, "batch_norm": ""},
    4: {"arithmetic": ""},
    5: {
        "backbone": "",
        "backbone_size": 0,
        "options": "",
        "miou_covered": None,
        "counts": "",
        "masks_declared": 0,
    },
    6: {
        "localizer_epochs": 0,
        "refiner_epochs": 0,
        "cue_epochs": 0,
        "segmenter_epochs": 0,
        "photos_of_split": 0,
    },
    7: {"pretraining_epochs": 0},
    8: {"tier": "recomputed", "masks_sha256": ""},
    9: {"inputs": ""},
}
"""By version: the columns that it added, and what they are in the rows of the versions before, which stay readable."""
DROPPED: Mapping[int, tuple[str, ...]] = {5: ("void",)}
"""By version: the columns that it took away. `void` said of every row of pseudo labels what all of them had in common:
that `miou` takes 255 for background."""
OLDEST = 2

ScoredStage: TypeAlias = Literal["maps", "refined", "pseudo_labels", "segmentation"]
STAGES: tuple[str, ...] = get_args(ScoredStage)
Tier: TypeAlias = Literal["recomputed", "scored", "published"]
TIERS: Mapping[Tier, str] = {
    "recomputed": "recomputed here",
    "scored": "masks scored here",
    "published": "published",
}
"""How much of a row was done here, in words: all that is behind the number; its score alone, of what was made
elsewhere; nothing, since it was copied from where it was published."""
IDENTITY = (
    *("dataset", "split", "recipe", "setting", "training_mode", "arithmetic", "backbone", "backbone_size", "options"),
    *("rng_seed", "stage", "variant", "policy", "tier"),
)
"""The columns that are together unique."""
_identity_of: Callable[["Row"], tuple[Any, ...]] = attrgetter(*IDENTITY)
CEILING = "M"
"""The supervision of a row that was given true masks: shown on every board, never ranked."""


class OptionSet(NamedTuple):
    """What a recipe was run with: rows that differ here are never one line, whatever the recipe is called."""

    recipe: str
    backbone: str
    backbone_size: int
    options: str
    tier: Tier = "recomputed"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result. Raises ValueError for values that contradict each other."""

    dataset: str
    split: str
    recipe: str
    setting: str
    training_mode: str
    """`frozen` or `fine_tuned`; empty for a control that trains nothing, which stands on every board."""
    backbone: str = ""
    """The network whose features the recipe reads, and the side of the photos it sees (pixels); empty and 0 where it
    reads none, and in rows that are older than these columns, as are `options` and `counts`."""
    backbone_size: int = 0
    inputs: str = ""
    """What the networks behind the row see of photos: `square` (of `backbone_size`), `crops 512`, each with how photos
    look at inference where that is another way; empty where none is read, and in rows older than this column."""
    options: str = ""
    """Eight hexadecimal digits that stand for all options of the recipe: its components', the backbone's, and the
    files of other programs that it reads."""
    pretraining_epochs: int = 0
    """Of the backbone, before localizer or segmenter; 0 in rows that are older than this column."""
    localizer_epochs: int = 0
    """For how many epochs each network behind the row was trained; 0 where there is none, where it is not trained by
    epochs, and in rows that are older than these columns, as is `photos_of_split`."""
    refiner_epochs: int = 0
    """Of all refiners together."""
    cue_epochs: int = 0
    segmenter_epochs: int = 0
    rng_seed: int
    stage: ScoredStage
    variant: str = ""
    """For segmentation `ss` or `ms` (one scale or several), then `+flip` and `+crf`; empty elsewhere."""
    policy: str = "fixed"
    tier: Tier = "recomputed"
    """How much of the row was done here: see `TIERS`. Rows that are older than it were all recomputed."""

    miou: float | None
    """0..1; None when failed, or when no class is defined. Undecided pixels of a pseudo label (255) are background."""
    miou_covered: float | None = None
    """Of pseudo labels: the mIoU of decided pixels alone, which are what a segmentation network is taught."""
    per_class: list[float | None] = field(default_factory=list)
    """IoU in the order of `classes`; None where undefined."""
    classes: list[str] = field(default_factory=list)
    """K + 1 names, background first."""
    undefined: list[str] = field(default_factory=list)
    threshold: float | None = None
    coverage: float | None = None
    """Of pseudo labels: the share of pixels with a known truth that are decided."""
    precision: float | None = None
    """Of the pixels that are said to be of a class, the share that is right: mean over classes, 255 as in `miou`."""
    recall: float | None = None
    counts: str = ""
    """Sixteen hexadecimal digits of the confusion behind `miou`: rows of a line that share them are one measurement."""
    masks_sha256: str = ""
    """Of masks that were handed in to a leaderboard: the sha256 of all their pixels; empty for every other row."""

    protocol: str = "voc/1"
    protocol_version: int = 1
    evaluation_fingerprint: str
    training_fingerprint: str

    supervision: str
    """The board: `I`, `I+S`, …; empty for a control that uses none, `M` for a ceiling: both stand on every board."""
    labels_read: int = 0
    label_hours: float = 0.0
    """Estimated work of the annotators who made the labels, and the masks that were chosen or trained on."""
    extra_photos: int = 0
    """Photos beside the target set's that were trained on: what the audit and a filter left."""
    extra_dropped: int = 0
    """By the audit: near-duplicates of evaluated photos, unreadable and tiny files, exact duplicates."""
    extra_filtered: int = 0
    """By the web filter."""
    extra_in_stage_2: bool = False
    filter: str = ""
    noise_rate: float | None = None
    """The share of extra photos that do not show their label, where it was made; None where nobody knows."""
    without_extra: list[str] = field(default_factory=list)
    """Target classes that extra photos say nothing of."""
    masks_scored: int = 0
    masks_chosen: int = 0
    """Masks that options were chosen on: those that the run read for it, and `masks_declared`."""
    masks_declared: int = 0
    """Of `masks_chosen`: those on which options were chosen before the run, as the suite declares."""
    masks_trained: int = 0

    seconds: float = 0.0
    """What the stage and everything that it comes from took; GPU-seconds likewise."""
    gpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    photos: int = 0
    """How many photos were scored."""
    photos_of_split: int = 0
    """How many photos the split has: more than were scored where some have no true mask."""
    arithmetic: str = ""
    """Of the networks behind it: `float32`, `bfloat16` or `bfloat16 products` (on a CPU); empty where there was no
    choice, and in rows that are older than it. Rows of two kinds never meet on a board."""
    train_processes: int = 1
    """How many processes trained each network behind it."""
    batch_norm: str = ""
    """Where several did: `synchronised` (over the whole batch) or `per process`, which bounds how far they differ from
    one; empty for one."""
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""
    stale: list[str] = field(default_factory=list)
    """Components whose artefacts were made by other sources than today's."""
    provenance: str = "{}"
    """JSON."""
    row_version: int = ROW_VERSION

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, found {self.stage!r}")
        if self.status not in ("ok", "failed"):
            raise ValueError(f"status must be ok or failed, found {self.status!r}")
        if self.tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, found {self.tier!r}")
        for name in ("miou", "miou_covered"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be 0..1 or None, found {value}")
        if self.status == "failed" and (self.miou is not None or not self.reason):
            raise ValueError("a failed row has a reason and no miou")
        if self.per_class and len(self.per_class) != len(self.classes):
            raise ValueError(f"{len(self.per_class)} per-class values for {len(self.classes)} classes")
        if self.provenance != "{}":
            json.loads(self.provenance)

    @property
    def identity(self) -> tuple[Any, ...]:
        """The values of the `IDENTITY` columns."""
        return _identity_of(self)

    @property
    def option_set(self) -> OptionSet:
        """The recipe, and what it was run with."""
        return OptionSet(self.recipe, self.backbone, self.backbone_size, self.options, self.tier)


_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_KINDS: dict[Any, tuple[pa.DataType, str]] = {
    str: (_TEXT, "str"),
    int: (_WHOLE, "int64"),
    bool: (pa.bool_(), "bool"),
    float: (_REAL, "float64"),
    float | None: (_REAL, "float64"),
    list[str]: (pa.list_(_TEXT), "object"),
    list[float | None]: (pa.list_(_REAL), "object"),
    ScoredStage: (_TEXT, "str"),
    Tier: (_TEXT, "str"),
    Literal["ok", "failed"]: (_TEXT, "str"),
}
COLUMNS = tuple(f.name for f in fields(Row))
SCHEMA = pa.schema(
    [pa.field(f.name, _KINDS[f.type][0], nullable=f.type == float | None) for f in fields(Row)],
)
"""The parquet schema of rows."""
_COLUMNS_DIGEST = fingerprint([ROW_VERSION, *map(str, SCHEMA)])[:16]
ROWS_AT_ONCE = 1000
"""So many files' rows a cache has in memory as texts."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows in the given order; the same rows give the same bytes. ValueError where two have one identity."""
    rows = list(rows)
    if len({row.identity for row in rows}) < len(rows):
        raise ValueError(f"two rows have the same {', '.join(IDENTITY)}")
    write_table(path, pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA))


class RowCache:
    """Rows of files by these files' sha256, since a parquet file of one row takes milliseconds to read."""

    def __init__(self, database: Path) -> None:
        self._table = CachedTable(database, "rows (key TEXT PRIMARY KEY, rows TEXT)")

    def read(self, path: Path, sha256: str) -> list[Row]:
        """The rows of a file with that content, kept or read now; raises UserError as `read_rows` does."""
        (rows,) = self.read_all([(path, sha256)])
        return rows

    def read_all(self, files: Sequence[tuple[Path, str]]) -> Iterator[list[Row]]:
        """As `read`, for each path and sha256 in their order, looked up together."""
        # Rows of another version, or of other columns, are other rows.
        keys = [f"{_COLUMNS_DIGEST}:{sha256}" for _, sha256 in files]
        for start in range(0, len(keys), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            kept = self._table.entries(keys[some])
            for key, (path, _) in zip(keys[some], files[some], strict=True):
                yield _rows_in(*kept.get(key, ())) or self._read_now(path, key)

    def _read_now(self, path: Path, key: str) -> list[Row]:
        rows = read_rows(path)
        text = json.dumps([vars(row) for row in rows])
        self._table.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (key, text))
        return rows


def _rows_in(text: str = "") -> list[Row]:
    """The rows that a cache keeps as that text; none where they cannot be read."""
    with suppress(ValueError, TypeError, RecursionError):
        return [Row(**record) for record in json.loads(text)]
    return []


@cache
def shared_rows() -> RowCache:
    """This process's cache, in `cache_folder()`."""
    return RowCache(cache_folder() / "rows.sqlite")


def read_rows(path: Path) -> list[Row]:
    """Read rows; raises UserError for a damaged file, another row version and missing or unknown columns."""
    table = _brought_up(read_table(path))
    _check_columns(path, table)
    try:
        return [Row(**record) for record in table.select(COLUMNS).cast(SCHEMA).to_pylist()]
    except (pa.ArrowException, TypeError, ValueError, RecursionError) as error:
        raise UserError(path, f"an unreadable row ({error})", f"rows of version {ROW_VERSION}") from None


def frame(rows: Iterable[Row]) -> "pd.DataFrame":
    """Rows as a DataFrame, a column per field; missing numbers are nan, lists stay lists."""
    # Every worker imports this module, and none that trains makes a data frame: pandas takes half a second to import.
    import pandas as pd

    # All fields of a row at once, in their order: one by one they take ten times as long.
    values = list(zip(*(vars(row).values() for row in rows), strict=True)) or [()] * len(COLUMNS)
    columns = {
        f.name: pd.Series(list(of_field), dtype=_KINDS[f.type][1])
        for f, of_field in zip(fields(Row), values, strict=True)
    }
    return pd.DataFrame(columns)


def rows_of(table: "pd.DataFrame") -> list[Row]:
    """The rows of a DataFrame that `frame` made, whatever was filtered or added; KeyError for a missing column."""
    values = [_without_nan(table[name]) for name in COLUMNS]
    return [Row(**dict(zip(COLUMNS, of_row, strict=True))) for of_row in zip(*values, strict=True)]


def _without_nan(column: "pd.Series[Any]") -> list[Any]:
    values = column.tolist()
    if not column.hasnans:
        return values
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def _brought_up(table: pa.Table) -> pa.Table:
    """A table of an earlier version with what was added since, less what was dropped; any other as it is."""
    place = table.schema.get_field_index("row_version")  # -1, too, where a damaged file has two of them
    if place < 0 or not pa.types.is_integer(table.schema.field(place).type):
        return table
    versions = set(table.column(place).to_pylist())
    version = versions.pop() if len(versions) == 1 else None if versions else OLDEST
    if version is None or not OLDEST <= version < ROW_VERSION:
        return table
    table = table.set_column(place, "row_version", pa.array([ROW_VERSION] * len(table), _WHOLE))
    for later in range(version + 1, ROW_VERSION + 1):
        for name, value in ADDED[later].items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array([value] * len(table)))
        table = table.drop_columns([name for name in DROPPED.get(later, ()) if name in table.column_names])
    return table


def _check_columns(path: Path, table: pa.Table) -> None:
    found = table.column_names
    if "row_version" in found:
        versions = {str(version) for version in table.column("row_version").to_pylist()} - {str(ROW_VERSION)}
        if versions:
            mend = (
                "use the Seedbed that wrote it, or `seedbed store rm row --store STORE` and run the suite again: "
                "rows alone are made anew"
            )
            raise UserError(path, f"row version {min(versions)}", f"row version {ROW_VERSION}", mend)
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise UserError(path, f"no column {', '.join(missing)}", f"all columns of row version {ROW_VERSION}")
    if len(found) > len(COLUMNS):
        unknown = [name for name in found if name not in COLUMNS]
        raise UserError(path, f"the columns {', '.join(unknown)}", f"only columns of row version {ROW_VERSION}")
