"""What a generated case may end in: success, or one line that a user can read; every case is counted."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from harness.commands import main as cli
from settings.errors import UserError

CASES = int(os.environ.get("SEEDBED_FUZZ_CASES", "120"))
"""Generated cases in all; each surface takes its share of them. `make fuzz` sets more than the ordinary suite runs."""
MAX_LINE = 4000
T = TypeVar("T")
judged = 0


def share(of_all: float) -> settings:
    """The hypothesis settings of a surface that takes this share of all cases; other inputs with other numbers."""
    most = max(4, round(CASES * of_all))
    return settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))


def judge(read: Callable[[], T]) -> T | None:
    """The value, or None where one line refuses it; whatever else is raised fails the test."""
    global judged
    judged += 1
    try:
        return read()
    except UserError as error:
        check_line(str(error))
        return None


def check_line(line: str) -> None:
    """What was found, what was expected, on one line that a terminal can show."""
    assert line.isprintable() and len(line) < MAX_LINE, line
    assert ": found " in line and "; expected " in line, line


class Ended(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def seedbed(*arguments: object) -> Ended:
    """Run a command in this process; exit code 2 comes with one line, and nothing ends in a traceback."""
    global judged
    judged += 1
    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch("sys.argv", ["seedbed", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    shown = Ended(code, out.getvalue(), err.getvalue())
    assert shown.code in (0, 1, 2) and "Traceback" not in shown.out + shown.err
    if shown.err:
        assert shown.err.startswith("seedbed: ") and shown.err.count("\n") == 1 and shown.err[:-1].isprintable(), shown
    assert shown.out or shown.err, "a command says how it ended"
    return shown


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one case."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path).resolve()


def names_in(root: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


Damage = list[tuple[str, int, bytes]]
KINDS = ("flip", "cut", "drop", "insert", "maximum")
PLACES = 1 << 16
DAMAGE: st.SearchStrategy[Damage] = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, PLACES - 1), st.binary(min_size=1, max_size=12)),
    min_size=1,
    max_size=5,
)


def damaged(content: bytes, damage: Damage) -> bytes:
    """The content after a few accidents, each at a place in 1/65536 of its length."""
    for kind, place, noise in damage:
        at, length = place * len(content) // PLACES, len(noise)
        content = {
            "flip": lambda c, at=at, noise=noise: c[:at] + noise[:1] + c[at + 1 :],
            "cut": lambda c, at=at: c[:at],
            "drop": lambda c, at=at, length=length: c[:at] + c[at + length :],
            "insert": lambda c, at=at, noise=noise: c[:at] + noise + c[at:],
            "maximum": lambda c, at=at: c[:at] + b"\xff\xff\xff\xff" + c[at + 4 :],
        }[kind](content)
    return content


def damage_file(path: Path, damage: Damage) -> bool:
    """Damage a file in place; False where that left it as it was."""
    before = path.read_bytes()
    after = damaged(before, damage)
    path.write_bytes(after)
    return after != before


def any_of(values: list[Any]) -> st.SearchStrategy[Any]:
    """One of the values."""
    return st.sampled_from(values)
