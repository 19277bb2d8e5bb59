"""`seedbed show`: one sheet of what a store holds of some photos, recipes side by side. No stage is run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.drawing.cells import Column, masks_column
from harness.drawing.overlays import outlines
from harness.drawing.sheet import Row, to_png
from harness.pictures.columns import KINDS, Refs, Subject
from harness.pictures.wanted import Found, Wanted, find, one
from harness.stages.line import Line
from harness.stages.plugins import read_plugins
from harness.store.backends.urls import Location
from harness.store.store import Artefact, Lost, Store
from harness.suites.suite import load_suite
from settings.dataset import Dataset
from settings.errors import UserError
from settings.plugins import plugged_in
from settings.records import Image, Mask
from settings.supervision import Gate

TRUTH = "truth"
USUAL = ("maps", "refined", "pseudo_labels", "prediction", TRUTH)
"""The columns that are drawn where none are named."""
Needs = Mapping[tuple[Line, str], Mapping[str, Refs]]
"""What is read of a line for a kind of column, by role."""


def show(
    name: str | Path,
    overrides: Sequence[str],
    location: Location,
    wanted: Wanted,
    output: Path | None = None,
    with_outlines: bool = False,
) -> Path:
    """Write the sheet as PNG, by default into the leaderboard's folder, and return its path.

    `with_outlines` draws outlines in place of photos that are not ours, so that the sheet may be given away.
    Raises UserError for names that the suite does not know, for what the store does not hold, and for an output
    that cannot be written.
    """
    if output is not None and output.suffix.lower() != ".png":
        raise UserError("--output", f"'{output}'", "a file that ends with .png")
    suite, store = load_suite(name, overrides), Store.at(location)
    command = shlex.join(["seedbed", "run", str(name), *(f"--set={o}" for o in overrides), f"--store={store.name}"])
    with plugged_in(read_plugins(suite.plugins)):
        found = find(suite, wanted)
        base = outlines if with_outlines and not _dataset(found).photos_are_ours else None
        png = _draw(found, wanted.columns, Shelf(store, f"run `{command}` first"), base)
    free = base is not None or _dataset(found).photos_are_ours
    # Pictures of others' photos begin with `photos-`: the repository ignores such files.
    path = output or store.root / "leaderboards" / suite.folder_name / ("sheet.png" if free else "photos-sheet.png")
    _write(path, png)
    return path


@dataclass(frozen=True)
class Shelf:
    """What a store holds, for a reader that makes nothing."""

    store: Store
    mend: str

    def check(self, needs: Needs) -> None:
        """Raise UserError that names all that is not there."""
        absent = [
            f"no {KINDS[kind].what} of {line.recipe}"
            for (line, kind), roles in needs.items()
            if not all(self.store.has(*ref) for refs in roles.values() for ref in refs)
        ]
        if absent:
            raise UserError(self.store.name, ", ".join(absent), "what a run leaves there", self.mend)

    def take(self, roles: Mapping[str, Refs]) -> dict[str, list[Artefact]]:
        """The artefacts, by role; raises UserError for one that is damaged."""
        try:
            return {role: [self.store.open(*ref) for ref in refs] for role, refs in roles.items()}
        except Lost as error:
            raise UserError(self.store.name, str(error), "an artefact as it was published", self.mend) from None


def _draw(found: Found, names: Sequence[str], shelf: Shelf, base: Callable[[Image], Image] | None) -> bytes:
    for name in names:
        one("--columns", "column", name, dict.fromkeys((*KINDS, TRUTH)))
    kinds = [name for name in names or USUAL if name != TRUTH]
    needs = _needs(found, kinds)
    if names:
        _check_made(found, set(kinds) - {kind for _, kind in needs})
    shelf.check(needs)
    columns: list[Column] = []
    for (line, kind), roles in needs.items():
        columns += KINDS[kind].draw(line, found.subject, shelf.take(roles))
    if TRUTH in (names or _usual_truth(found)):
        columns.append(_truth(_dataset(found), found.subject))
    rows = [Row(photo) for photo in found.subject.photos]
    return to_png(rows, columns, _dataset(found).label_space, found.title, base)


def _needs(found: Found, kinds: Sequence[str]) -> Needs:
    """What several recipes have in common, such as one localizer's maps, is drawn under the first."""
    every = {(line, kind): KINDS[kind].needs(line, found.subject) for line in found.lines for kind in kinds}
    first: dict[tuple[str, str], tuple[Line, str]] = {}
    for (line, kind), roles in every.items():
        if roles:
            first.setdefault((kind, repr(sorted(roles.items()))), (line, kind))
    return {what: every[what] for what in first.values()}


def _check_made(found: Found, unmade: set[str]) -> None:
    for name in sorted(unmade):
        made = dict.fromkeys(kind for _, kind in _needs(found, tuple(KINDS)))
        where = f"'{name}', which no run makes of these recipes and photos of {found.subject.split}"
        raise UserError("--columns", where, ", ".join([*made, TRUTH]))


def _usual_truth(found: Found) -> tuple[str, ...]:
    """An empty column is of no use to who did not ask for it."""
    return (TRUTH,) if any(map(_dataset(found).has_mask, found.subject.ids)) else ()


def _truth(dataset: Dataset, subject: Subject) -> Column:
    gate = Gate(dataset, "show", "show")

    def truth(photo_id: str) -> Mask | None:
        return gate.mask(subject.split, photo_id) if dataset.has_mask(photo_id) else None

    return masks_column("truth", truth)


def _dataset(found: Found) -> Dataset:
    return found.lines[0].blueprint.dataset


def _write(path: Path, png: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    except OSError as error:
        raise UserError(
            "--output", f"'{path}', which cannot be written ({error.strerror})", "a place for a PNG"
        ) from None
