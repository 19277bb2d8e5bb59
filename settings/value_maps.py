"""What the values of other programs' masks stand for, as users write it: `0:255,1:0`, or a mapping."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import BeforeValidator

from settings.errors import UserError
from settings.records import UNKNOWN, Mask

__all__ = ["ValueMap", "composed", "lookup_table", "parse_value_map", "value_map_text"]

_FORM = "pairs FOUND:MEANT of mask values 0..255, separated by commas, such as 0:255,1:0"


def _pairs(given: object) -> dict[int, int]:
    """The pairs of a text or a mapping; raises ValueError for another form, and for a value that is named twice."""
    if isinstance(given, int) and not isinstance(given, bool) and given >= 60:
        # YAML takes a lone 255:1 for minutes and seconds, and gives 15301.
        given = "{}:{}".format(*divmod(given, 60))
    if isinstance(given, Mapping):
        given = ",".join(f"{found}:{meant}" for found, meant in given.items())
    if not isinstance(given, str):
        raise ValueError(_FORM)
    pairs: dict[int, int] = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        found, _, meant = (text.strip() for text in part.partition(":"))
        are_numbers = all(text.isascii() and text.isdigit() and len(text) <= 3 for text in (found, meant))
        if not are_numbers or max(int(found), int(meant)) > UNKNOWN:
            raise ValueError(_FORM)
        if int(found) in pairs:
            raise ValueError(f"each value once; {found} is named twice")
        pairs[int(found)] = int(meant)
    return dict(sorted(pairs.items()))


ValueMap: TypeAlias = Annotated[dict[int, int], BeforeValidator(_pairs)]
"""An option that says which mask value each value found in files stands for; the others stay as they are."""


def parse_value_map(text: str | None, where: str) -> dict[int, int]:
    """The map that an option of the command line gives, empty for None; raises UserError for another form."""
    if text is None:
        return {}
    try:
        return _pairs(text)
    except ValueError as error:
        raise UserError(where, f"'{text}'", str(error)) from None


def lookup_table(values: Mapping[int, int]) -> Mask:
    """What each of the 256 values stands for, uint8 (256,): indexed with a mask it gives the mask that is meant."""
    table = np.arange(256, dtype=np.uint8)
    for found, meant in values.items():
        table[found] = meant
    return table


def composed(first: Mapping[int, int], then: Mapping[int, int]) -> dict[int, int]:
    """The one map that says what reading by `first`, and its outcome by `then`, says."""
    values = {found: then.get(meant, meant) for found, meant in first.items()}
    return dict(sorted({**then, **values}.items()))


def value_map_text(values: Mapping[int, int]) -> str:
    """The map as users write it."""
    return ",".join(f"{found}:{meant}" for found, meant in sorted(values.items()))
