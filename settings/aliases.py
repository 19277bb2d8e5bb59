"""Names that mean one class: `aeroplane`, `airplane`, `plane`. The table is `aliases.yaml`; a suite may add to it."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import yaml

from settings.errors import unknown_name
from settings.records import LabelSpace

__all__ = ["Aliases"]

TABLE = Path(__file__).with_name("aliases.yaml")


class Aliases:
    """Finds the class of a label space that a name means, whatever its case, `_`, `-` and spaces."""

    def __init__(self, further: Mapping[str, Iterable[str]] | None = None) -> None:
        groups = [[name, *others] for name, others in {**_table()}.items()]
        groups += [[name, *others] for name, others in (further or {}).items()]
        self._groups = [frozenset(map(_plain, group)) for group in groups]

    def class_id(self, name: str, space: LabelSpace, where: object, otherwise: str = "") -> int:
        """The 0-based class id.

        Raises UserError with the nearest class, and what would mend it `otherwise`, where no class is meant.
        """
        class_id = self.find(name, space)
        if class_id is None:
            raise unknown_name(where, "class", name, space.names, otherwise)
        return class_id

    def find(self, name: str, space: LabelSpace) -> int | None:
        """The 0-based class id, None where no class is meant; a class of this very name comes before its aliases."""
        own = _plain(name)
        known = [_plain(each) for each in space.names]
        for meant in ({own}, *(group for group in self._groups if own in group)):
            for class_id, each in enumerate(known):
                if each in meant:
                    return class_id
        return None

    def knows(self, name: str) -> bool:
        """Whether the table has this name, whatever the label space."""
        return any(_plain(name) in group for group in self._groups)


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


@cache
def _table() -> dict[str, list[str]]:
    content: dict[str, list[str]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return content
