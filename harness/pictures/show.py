"""`seedbed show`: one sheet of what a store holds of some photos, recipes side by side. No stage is run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from harness.drawing.overlays import outlines
from harness.drawing.sheet import Column, Row, check_png, masks_column, to_png, write_png
from harness.pictures.columns import KINDS, Inputs, Needs
from harness.pictures.request import Request, Selection, one, select
from harness.stages.line import Line
from harness.stages.plugins import read_plugins
from harness.store.backends.urls import Location
from harness.store.store import Lost, Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from settings.plugins import plugged_in
from settings.records import Image, Mask
from settings.supervision import Gate

__all__ = ["Shelf", "show", "truth_column"]

TRUTH = "truth"
USUAL = ("maps", "refined", "pseudo_labels", "prediction", TRUTH)
"""The columns that are drawn where none are named."""
Asked = Mapping[tuple[Line, str], Needs]
"""What is read for each line and kind of column."""


def show(
    name: str | Path,
    overrides: Sequence[str],
    location: Location,
    request: Request,
    output: Path | None = None,
    with_outlines: bool = False,
) -> Path:
    """Write the sheet as PNG, by default into the leaderboard's folder, and return its path.

    `with_outlines` draws outlines in place of photos that are not ours, so that the sheet may be given away.
    Raises UserError for names that the suite does not know, for what the store does not hold, and for an output
    that cannot be written.
    """
    # Before anything is read: a sheet may take a minute.
    if output is not None:
        check_png(output)
    suite, store = load_suite(name, overrides), Store.at(location)
    command = shlex.join(["seedbed", "run", str(name), *(f"--set={o}" for o in overrides), f"--store={store.name}"])
    with plugged_in(read_plugins(suite.plugins)):
        selection = select(suite, request)
        base = None
        if with_outlines and not selection.dataset.photos_are_ours:
            base = outlines
        png = _draw(selection, request.columns, Shelf(store, f"run `{command}` first"), base)
    if output is None:
        # Pictures of others' photos begin with `photos-`: the repository ignores such files.
        is_free = base is not None or selection.dataset.photos_are_ours
        file = "sheet.png" if is_free else "photos-sheet.png"
        output = store.leaderboard_folder(suite.folder_name) / file
    with suppress(OSError):  # told when the PNG is written
        output.parent.mkdir(parents=True, exist_ok=True)
    write_png(output, png)
    return output


@dataclass(frozen=True)
class Shelf:
    """What a store holds, for a reader that makes nothing; `mend` tells how to make what is missing."""

    store: Store
    mend: str

    def check(self, asked: Asked) -> None:
        """Raise UserError that names all that is not there."""
        absent = []
        for (line, kind), needs in asked.items():
            if not all(map(self.store.has, chain(*needs.values()))):
                absent.append(f"no {KINDS[kind].what} of {line.recipe}")
        if absent:
            raise UserError(self.store.name, ", ".join(absent), "what a run leaves there", self.mend)

    def take(self, needs: Needs) -> Inputs:
        """The artefacts, by role; raises UserError for one that is damaged."""
        try:
            return {role: list(map(self.store.open, refs)) for role, refs in needs.items()}
        except Lost as error:
            raise UserError(self.store.name, str(error), "an artefact as it was published", self.mend) from None


def _draw(selection: Selection, names: Sequence[str], shelf: Shelf, base: Callable[[Image], Image] | None) -> bytes:
    for name in names:
        one("--columns", "column", name, dict.fromkeys((*KINDS, TRUTH)))
    kinds = [name for name in names or USUAL if name != TRUTH]
    asked = _asked(selection, kinds)
    # What nobody asked for by name may be missing: a floor has no maps.
    if names:
        _check_made(selection, set(kinds) - {kind for _, kind in asked})
    shelf.check(asked)
    columns: list[Column] = []
    for (line, kind), needs in asked.items():
        columns += KINDS[kind].draw(line, selection.subject, shelf.take(needs))
    dataset, subject = selection.dataset, selection.subject
    # An empty column of truth is of no use to users who did not ask for it.
    if TRUTH in names or (not names and any(map(dataset.has_mask, subject.ids))):
        columns.append(truth_column(selection))
    return to_png([Row(photo) for photo in subject.photos], columns, dataset.label_space, selection.title, base)


def _asked(selection: Selection, kinds: Sequence[str]) -> Asked:
    """What there is to read; what several recipes have in common, such as one localizer's maps, under the first."""
    asked: dict[tuple[Line, str], Needs] = {}
    seen = []
    for line in selection.lines:
        for kind in kinds:
            needs = KINDS[kind].needs(line, selection.subject)
            if needs and (kind, needs) not in seen:
                seen.append((kind, needs))
                asked[line, kind] = needs
    return asked


def _check_made(selection: Selection, unmade: set[str]) -> None:
    """Raise UserError for a named column that no run makes, with those that are made."""
    for name in sorted(unmade):
        made = dict.fromkeys(kind for _, kind in _asked(selection, tuple(KINDS)))
        found = f"'{name}', which no run makes of these recipes and photos of {selection.subject.split}"
        raise UserError("--columns", found, ", ".join([*made, TRUTH]))


def truth_column(selection: Selection) -> Column:
    """The true masks of the photos, read through the gate; a cell is empty where there is none."""
    dataset = selection.dataset
    # Through the gate, as everybody reads masks; its purpose "show" goes into no row's costs.
    gate = Gate(dataset, "show", "show")

    def truth(photo_id: str) -> Mask | None:
        if not dataset.has_mask(photo_id):
            return None
        return gate.mask(selection.subject.split, photo_id)

    return masks_column("truth", truth)
