"""The two sides of `seedbed compare`: rows of a leaderboard's folder or of a store, or folders of masks."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.reports.files import LeaderboardFiles
from harness.reports.gathering import row_of
from harness.stages.planning import make_plan
from harness.store.backends.urls import Location, absolute
from harness.store.layout import CountFiles
from harness.store.store import Artefact, Lost, Store
from harness.suites.suite import load_suite
from results.counted import ImageSums, image_sums, sums_of_folder
from results.lines import Column, pipeline_order
from results.loading import latest_rows
from results.mask_folders import Void
from results.pair import Side
from results.per_image import read_table
from results.rows import IDENTITY, STAGES, Row, read_rows
from results.scoring import FolderScore, score_two
from results.selection import is_ranked
from settings.errors import UserError, counted, unknown_name

__all__ = [
    *("LeaderboardPlace", "MaskOptions", "Place", "Sides", "StorePlace", "Wanted"),
    *("place_at", "sides_of_masks", "sides_of_rows"),
]

KEY = re.compile("[0-9a-f]{8,64}")
"""How the beginning of a row's key is told from a recipe."""
TOLD = ("policy", "supervision", "masks_chosen", "masks_trained", "training_mode", "arithmetic", "backbone")
"""The fields of rows that make a comparison unequal: where the sides differ in one, a note says so."""


@dataclass(frozen=True)
class Wanted:
    """Which rows of a recipe are compared; None stands for the only one, and for the last stage that both have."""

    setting: str | None = None
    stage: str | None = None
    variant: str | None = None
    policy: str | None = None


class Place(ABC):
    """Where rows lie, with their counts of each photo."""

    def __init__(self, name: str, rows: Sequence[Row], keys: Sequence[str] = ()) -> None:
        self.name = name
        self.rows = tuple(rows)
        self.keys = tuple(keys)

    @abstractmethod
    def counts(self, positions: Sequence[int]) -> list[ImageSums]:
        """What these of the rows were scored from; raises UserError where that is not kept."""


class LeaderboardPlace(Place):
    """A leaderboard's folder, as a run leaves it."""

    def __init__(self, folder: Path) -> None:
        self._files = LeaderboardFiles(folder)
        if not self._files.rows.exists():
            raise UserError(folder, "no rows.parquet", "a leaderboard's folder, as a run leaves it")
        super().__init__(str(folder), read_rows(self._files.rows))

    def counts(self, positions: Sequence[int]) -> list[ImageSums]:
        """From the tables of counts in the folder, held against the rows."""
        found = sums_of_folder(self.rows, self._files.score_counts, self._files.sweep_counts, positions)
        for position in positions:
            if position not in found:
                row = self.rows[position]
                what = f"no counts of {row.recipe}, {row.setting}, rng seed {row.rng_seed}, {row.stage}"
                raise UserError(self.name, what, "counts.parquet and sweeps.parquet with all rows")
        return [found[position] for position in positions]


class StorePlace(Place):
    """The rows of a store: those of a suite, or all of them."""

    def __init__(self, location: Location, suite: str | None = None, overrides: Sequence[str] = ()) -> None:
        store = Store.at(absolute(location))
        try:
            found = latest_rows(location) if suite is None else _rows_of_suite(store, suite, overrides)
        except Lost as error:
            raise UserError(store.name, str(error), "whole artefacts", "run the suite again") from None
        rows, self._artefacts = [row for row, _ in found], [artefact for _, artefact in found]
        super().__init__(str(store.name), rows, [artefact.ref.key for artefact in self._artefacts])

    def counts(self, positions: Sequence[int]) -> list[ImageSums]:
        """From the artefacts of the rows."""
        sums = []
        for position in positions:
            row, path = self.rows[position], CountFiles(self._artefacts[position].folder).counts
            try:
                sums.append(image_sums(read_table(path), len(row.classes), row.threshold))
            except ValueError as error:
                raise UserError(path, str(error), f"counts of {len(row.classes)} classes") from None
        return sums


def place_at(location: str, suite: str | None = None, overrides: Sequence[str] = ()) -> Place:
    """A leaderboard's folder where its rows lie there, else a store."""
    if LeaderboardFiles(Path(location)).rows.exists():
        return LeaderboardPlace(Path(location))
    return StorePlace(location, suite, overrides)


def _rows_of_suite(store: Store, suite: str, overrides: Sequence[str]) -> list[tuple[Row, Artefact]]:
    """The rows of a suite that are there, in plan order."""
    planned = make_plan(load_suite(suite, overrides)).rows
    there = store.present(planned)
    refs = [ref for ref in planned if ref in there]
    if not refs:
        raise UserError(
            store.name, f"no row of suite {suite}", "what a run leaves there", f"`seedbed run {suite}` first"
        )
    return [(row_of(artefact), artefact) for artefact in store.open_all(refs)]


@dataclass(frozen=True)
class Sides:
    """Two sides that may be held against each other, with what is to be told of both."""

    a: Side
    b: Side
    scored: str
    """What was scored, in words."""
    notes: tuple[str, ...]
    first_rows: tuple[Row, Row] | None = None
    """The row of the first rng seed of each side; None for folders of masks."""


def sides_of_rows(a: str, b: str, place_a: Place, place_b: Place, wanted: Wanted) -> Sides:
    """Find the rows that `a` and `b` name, each `RECIPE`, `RECIPE@SETTING`, or the beginning of a row's key.

    Raises UserError for names that nobody has, for rows that differ in more than the rng seed, for holes, and where
    no stage, or none of several rng seeds, is common to both sides.
    """
    found_a, found_b = _positions(a, place_a, wanted), _positions(b, place_b, wanted)
    if not (_is_key(a, place_a) and _is_key(b, place_b)):
        column = _common_column(a, [place_a.rows[n] for n in found_a], b, [place_b.rows[n] for n in found_b])
        found_a = [n for n in found_a if _column_of(place_a.rows[n]) == column]
        found_b = [n for n in found_b if _column_of(place_b.rows[n]) == column]
    by_seed_a, by_seed_b = _by_seed(a, place_a, found_a), _by_seed(b, place_b, found_b)
    seeds = sorted(by_seed_a.keys() & by_seed_b.keys())
    if not seeds and len(by_seed_a) == len(by_seed_b) == 1:
        chosen_a, chosen_b = [*by_seed_a.values()], [*by_seed_b.values()]
    elif seeds:
        chosen_a, chosen_b = [by_seed_a[seed] for seed in seeds], [by_seed_b[seed] for seed in seeds]
    else:
        own = " and ".join(", ".join(map(str, sorted(each))) for each in (by_seed_a, by_seed_b))
        raise UserError(f"{a} and {b}", f"no rng seed in common ({own})", "rows of the same rng seeds")
    rows_a, rows_b = [place_a.rows[n] for n in chosen_a], [place_b.rows[n] for n in chosen_b]
    _check_protocol(a, rows_a[0], b, rows_b[0])
    names = _names(rows_a, rows_b, place_a, place_b)
    scored = dict.fromkeys(f"{row.dataset}, {_column_of(row).title}, {row.split}" for row in (rows_a[0], rows_b[0]))
    return Sides(
        Side(names[0], tuple(rows_a[0].classes), _evaluation(a, rows_a), tuple(place_a.counts(chosen_a))),
        Side(names[1], tuple(rows_b[0].classes), _evaluation(b, rows_b), tuple(place_b.counts(chosen_b))),
        " against ".join(scored),
        (*_seeds_told(names, by_seed_a, by_seed_b), *_differences(rows_a[0], rows_b[0])),
        (rows_a[0], rows_b[0]),
    )


def _is_key(name: str, place: Place) -> bool:
    return bool(KEY.fullmatch(name)) and all(row.recipe != name for row in place.rows)


def _positions(name: str, place: Place, wanted: Wanted) -> list[int]:
    """The rows that a name may mean, by position."""
    if _is_key(name, place):
        found = [n for n, key in enumerate(place.keys) if key.startswith(name)]
        if len(found) != 1:
            raise UserError(place.name, f"{counted(len(found), 'row')} of key {name}…", "exactly one row")
        return found
    recipe, _, setting = name.partition("@")
    found = [n for n, row in enumerate(place.rows) if row.recipe == recipe]
    if not found:
        raise unknown_name(place.name, "recipe", recipe, {row.recipe for row in place.rows})
    asked = {
        "setting": setting or wanted.setting,
        "stage": wanted.stage,
        "variant": wanted.variant,
        "policy": wanted.policy,
    }
    for field, value in asked.items():
        if value is not None:
            known = {getattr(place.rows[n], field) for n in found}
            if value not in known:
                raise unknown_name(f"--{field}", f"{field} of {recipe}", value, known)
            found = [n for n in found if getattr(place.rows[n], field) == value]
    # An oracle's rows are compared where they are asked for.
    ranked = [n for n in found if is_ranked(place.rows[n].policy)]
    return found if wanted.policy is not None else ranked or found


def _column_of(row: Row) -> Column:
    return Column(row.stage, row.variant)


def _common_column(a: str, rows_a: Sequence[Row], b: str, rows_b: Sequence[Row]) -> Column:
    """The last stage that both have, in its first variant."""
    own_a, own_b = ({_column_of(row) for row in rows} for rows in (rows_a, rows_b))
    common = own_a & own_b
    if not common:
        told = [", ".join(column.title for column in sorted(own, key=pipeline_order)) for own in (own_a, own_b)]
        raise UserError(f"{a} and {b}", f"no stage in common ({' and '.join(told)})", "a stage that both have")
    last = max(STAGES.index(column.stage) for column in common)
    return min((column for column in common if STAGES.index(column.stage) == last), key=pipeline_order)


def _by_seed(name: str, place: Place, found: Sequence[int]) -> dict[int, int]:
    """The positions by rng seed; raises UserError where rows differ in anything else, and for a hole."""
    rows = [place.rows[n] for n in found]
    for field in IDENTITY:
        values = sorted({str(getattr(row, field)) for row in rows})
        if field != "rng_seed" and len(values) > 1:
            listed = f"rows of {name} that differ in {field}: {', '.join(values)}"
            mend = (
                f"--{field} names one" if field in ("setting", "policy") else "--suite, or the keys of two rows, tell"
            )
            raise UserError(place.name, listed, "rows that differ in the rng seed alone", mend)
    for row in rows:
        if row.miou is None:
            reason = row.reason or "no class is defined"
            raise UserError(place.name, f"no mIoU of {name}, rng seed {row.rng_seed} ({reason})", "rows without holes")
    return {place.rows[n].rng_seed: n for n in found}


def _check_protocol(a: str, row_a: Row, b: str, row_b: Row) -> None:
    own = [f"{row.protocol} version {row.protocol_version}" for row in (row_a, row_b)]
    if own[0] != own[1]:
        raise UserError(f"{a} and {b}", f"the protocols {own[0]} and {own[1]}", "rows of one protocol")


def _evaluation(name: str, rows: Sequence[Row]) -> str:
    """The evaluation fingerprint that all rng seeds of a side have."""
    found = {row.evaluation_fingerprint for row in rows}
    if len(found) > 1 or len({tuple(row.classes) for row in rows}) > 1:
        raise UserError(
            name, "rng seeds that were scored on other photos, masks or classes", "one evaluation fingerprint"
        )
    return found.pop()


def _names(rows_a: Sequence[Row], rows_b: Sequence[Row], place_a: Place, place_b: Place) -> tuple[str, str]:
    """What the sides are called: recipe and setting, and further things where these are the same."""
    plain = [f"{rows[0].recipe}, {rows[0].setting}" for rows in (rows_a, rows_b)]
    if plain[0] != plain[1]:
        return plain[0], plain[1]
    if place_a.name != place_b.name:
        return f"{plain[0]} ({place_a.name})", f"{plain[1]} ({place_b.name})"
    more = []
    for rows in (rows_a, rows_b):
        row = rows[0]
        more.append(f"{plain[0]}, {_column_of(row).title}, rng seed {row.rng_seed}, options {row.options}")
    return more[0], more[1]


def _seeds_told(names: Sequence[str], a: dict[int, int], b: dict[int, int]) -> list[str]:
    """Which rng seeds are not compared, since the other side lacks them."""
    if not a.keys() & b.keys():
        return [f"the rng seeds differ: {next(iter(a))} and {next(iter(b))}"]
    notes = []
    for name, own, other in ((names[0], a, b), (names[1], b, a)):
        alone = sorted(own.keys() - other.keys())
        if alone:
            notes.append(f"left out, for {name} alone has them: rng seeds {', '.join(map(str, alone))}")
    return notes


def _differences(a: Row, b: Row) -> list[str]:
    """What beside the method may be why one side is better, in words."""
    parts = []
    for field in TOLD:
        one, other = getattr(a, field), getattr(b, field)
        # An empty one says that there was no choice, which is no difference.
        is_told = field not in ("training_mode", "arithmetic", "backbone") or (one and other)
        if one != other and is_told:
            parts.append(f"{field.replace('_', ' ')} ({one or 'none'} and {other or 'none'})")
    return [f"A and B differ in {', '.join(parts)}"] if parts else []


@dataclass(frozen=True)
class MaskOptions:
    """Two folders of masks, and how they are read and scored, as `seedbed score` does."""

    a: Path
    b: Path
    truth: Path
    classes: int | None = None
    names: Path | None = None
    ids: Path | None = None
    void: Void = "error"


def sides_of_masks(options: MaskOptions) -> Sides:
    """Score two folders of masks against the same true masks; raises UserError as `seedbed score` does."""

    a, b = options.a, options.b
    scores = score_two(a, b, options.truth, options.classes, void=options.void, names=options.names, ids=options.ids)
    names = [a.name, b.name] if a.name != b.name else [str(a), str(b)]
    sides = [
        Side(name, _class_names(score), score.fingerprint, (score.images,))
        for name, score in zip(names, scores, strict=True)
    ]
    notes = [f"{name}: {note}" for name, score in zip(names, scores, strict=True) for note in score.notes()]
    return Sides(sides[0], sides[1], f"masks of {options.truth}", tuple(notes))


def _class_names(score: FolderScore) -> tuple[str, ...]:
    """The K + 1 names, numbers where none were given."""
    return score.class_names or tuple(map(str, range(score.counts.classes)))
