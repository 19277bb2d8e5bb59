"""Names in a leaderboard's folder, held together at planning: a run would lose one of two files that share a name."""

from __future__ import annotations

from harness.stages.gallery import GalleryRuntime, sheet_name
from harness.stages.graph import Stage
from harness.store.layout import GalleryFiles, run_log
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["FileNames"]

LONGEST = 255
"""Bytes that file systems allow a name."""
STAMPS = run_log("20000101-000000--000000")
"""What stands around a suite's name in the longest name that is made of it."""
RENAME = "rename the recipe or the setting"


class FileNames:
    """The names that were given away in one plan, each with whose it is."""

    def __init__(self, suite: Suite) -> None:
        """Raises UserError for a suite with too long a name."""
        self._suite = suite
        self._owners: dict[str, str] = {}
        room = LONGEST - len(STAMPS)
        if len(suite.name.encode()) > room:
            found = f"{len(suite.name.encode())} bytes"
            raise UserError(suite.place_of("name"), found, f"at most {room}: it is a part of file names")

    def add(self, name: str, recipe: str, owner: str) -> None:
        """Give a name to `owner`, as people are told of it; UserError where it is another's, or too long."""
        place = self._suite.place_of(f"recipes.{recipe}")
        if len(name.encode()) > LONGEST:
            found = f"a file name of {len(name.encode())} bytes for {owner}"
            raise UserError(place, found, f"at most {LONGEST}", RENAME)
        before = self._owners.setdefault(name, owner)
        if before != owner:
            found = f"the file name {name} for {owner} and for {before}"
            raise UserError(place, found, "names that tell lines apart", RENAME)

    def add_sheets(self, recipe: str, stage: Stage) -> None:
        """Give the sheets of a gallery their names; UserError as `add`."""
        assert isinstance(stage.runtime, GalleryRuntime)
        for file in (GalleryFiles.gallery, GalleryFiles.photos):
            self.add(sheet_name(file.name, stage.runtime), recipe, stage.label)
