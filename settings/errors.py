"""The user's errors: one line that names the file or option, what was found, what was expected and the mend."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

__all__ = ["Contradictory", "Impossible", "UserError", "changed", "counted", "kind_of", "printable", "unknown_name"]

MAX_LISTED = 50
"""More known names than these are counted, not listed."""
MAX_FOUND = 400
"""What users gave is shown up to this length, its middle left out."""
MAX_EXPECTED = 2000


class UserError(Exception):
    """A mistake that the user can mend; the command line prints it as one line and ends with exit code 2."""

    def __init__(self, where: object, found: str, expected: str, mend: str = "") -> None:
        self._parts = (str(where), found, expected, mend)
        place, found = _shown(where, MAX_FOUND), _shown(found, MAX_FOUND)
        expected, mend = _shown(expected, MAX_EXPECTED), _shown(mend, MAX_EXPECTED)
        super().__init__(f"{place}: found {found}; expected {expected}" + (f"; {mend}" if mend else ""))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, ...]]:
        return type(self), self._parts


class Impossible(UserError):
    """Parts that do not go together, or not on this machine: no mistake where combinations were asked for."""

    @property
    def reason(self) -> str:
        """The line without its place."""
        return str(self).removeprefix(f"{_shown(self._parts[0], MAX_FOUND)}: ")


class Contradictory(Impossible):
    """Options or parts that are right one by one and contradict each other: a mistake, unless a grid crossed them."""


def changed(where: object, found: str, planned: str) -> UserError:
    """The error for a file that is not the one that a run was planned with; both contents are sha256 in hexadecimal."""
    expected = f"that with which the run was planned ({planned[:12]}…)"
    return UserError(where, f"another content ({found[:12]}…)", expected, "put the file back, or plan again")


def unknown_name(where: object, what: str, name: str, known: Iterable[str], otherwise: str = "") -> UserError:
    """The error for a name that nobody knows, with the nearest known name as the mend, then what else would mend it."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    nearest = f"did you mean '{close[0]}'?" if close else ""
    return UserError(where, f"unknown {what} '{name}'", _choice(known), " ".join(filter(None, [nearest, otherwise])))


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 photo`, `2 photos`; the plural of a noun that does not take an s is given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def kind_of(path: Path) -> str:
    """What lies at a path where a file was expected, for messages: `a folder`, `a pipe`, …"""
    kinds = {"a folder": path.is_dir, "a file": path.is_file, "a pipe": path.is_fifo, "a socket": path.is_socket}
    for kind, is_so in kinds.items():
        if is_so():
            return kind
    if path.exists():
        return "a device"
    return "a link that leads nowhere" if path.is_symlink() else "nothing"


def printable(text: str) -> str:
    """The text with escapes for control characters and lone surrogates, which terminals obey or refuse."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shown(part: object, most: int) -> str:
    text = " ".join(str(part).split())
    return printable(text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}")


def _choice(known: list[str]) -> str:
    if len(known) > MAX_LISTED:
        return f"one of the {len(known)} known names"
    return "one of " + ", ".join(known) if known else "a known name, of which there is none yet"
