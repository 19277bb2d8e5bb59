"""Compare what our modules compute with what released programs gave, array by array.

    python -m tests.golden.check FILE.npz …

A file's name says its system: `neighbours_<system>_<anything>.npz` or `<system>_<anything>.npz`, of which
`tests/golden/systems/<system>.py` knows how our modules compute every output from the file's inputs. One line an array
names the worst difference and what is allowed. Exit code 0 where all arrays agree, 1 where one does not, 2 for a file
that cannot be read or whose system is not known.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from settings.errors import UserError
from tests.golden import systems
from tests.golden.system import Array, Inputs, System

ANY_ENDING = r"(_.*)?"


class BrokenFile(Exception):
    """A file that holds no arrays that can be checked; its text is the one line that says so."""


class Line(NamedTuple):
    """What came out for one array: whether it agrees, and the line that tells."""

    agrees: bool
    text: str


def known_systems() -> tuple[str, ...]:
    """The names of all systems, which are those of the files in `tests/golden/systems`."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(systems.__path__)))


def system_of(file: Path) -> System:
    """The system that a file's name says, the longest that fits; raises BrokenFile for a name of none."""
    stem = file.stem.removeprefix("neighbours_")
    fitting = [name for name in known_systems() if re.fullmatch(re.escape(name) + ANY_ENDING, stem)]
    if file.suffix != ".npz" or not fitting:
        known = ", ".join(known_systems())
        raise BrokenFile(f"{file}: found a name of no known system; expected <system>_….npz, one of {known}")
    found = importlib.import_module(f"{systems.__name__}.{max(fitting, key=len)}").SYSTEM
    if not isinstance(found, System):
        raise TypeError(f"{file}: SYSTEM of its system's file is a {type(found).__name__}")
    return found


def read(file: Path) -> Inputs:
    """The arrays of a file; raises BrokenFile for what is none, or holds Python objects."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return Inputs({name: stored[name] for name in stored.files})
    except FileNotFoundError:
        raise BrokenFile(f"{file}: found no such file; expected arrays of a released program") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BrokenFile(f"{file}: found no readable .npz ({one_line(error)}); make or copy it anew") from None


def check(file: Path) -> list[Line]:
    """One line an array of the file that is no input, in its order; raises BrokenFile where arrays are missing."""
    system, inputs = system_of(file), read(file)
    try:
        found = system.outputs(inputs)
    except KeyError as error:
        raise BrokenFile(f"{file}: found no array {error}; expected all inputs of its system") from None
    except UserError as error:
        raise BrokenFile(f"{file}: {one_line(error)}") from None
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise BrokenFile(f"{file}: its arrays do not fit together ({one_line(error)})") from None
    computed = {name: as_array(value) for name, value in found.items()}
    lines = [compared(system, name, computed[name], inputs[name]) for name in inputs if name in computed]
    lines += [Line(False, f"{name}: found no such array; we compute one") for name in computed if name not in inputs]
    for name in inputs:
        if name not in computed and name not in inputs.read:
            reason = system.reason_to_leave_out(name)
            lines.append(Line(reason is not None, f"{name}: not compared: {reason or 'no module of ours computes it'}"))
    return lines


def compared(system: System, name: str, found: Array, expected: Array) -> Line:
    """The worst difference of one array beside what is allowed."""
    if found.shape != expected.shape:
        return Line(False, f"{name}: BEYOND: we compute {found.shape}, the file has {expected.shape}")
    allowed = system.tolerance(name, expected)
    relative = expected.dtype.kind == "f" and not system.absolute
    difference = worst(found, expected, relative)
    agrees = difference <= allowed
    measure = "relative" if relative else "absolute"
    verdict = "agrees" if agrees else "BEYOND"
    return Line(agrees, f"{name}: {verdict}: worst difference {difference:.2g} {measure}, allowed {allowed:g}")


def worst(found: Array, expected: Array, relative: bool) -> float:
    """max |found − expected|, if `relative` divided by max |expected| where that is not 0; ∞ beside a NaN."""
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    if not ours.size:
        return 0.0
    difference = float(np.abs(ours - theirs).max())
    largest = float(np.abs(theirs).max())
    if np.isnan(difference):
        return float("inf")
    return difference / largest if relative and largest else difference


def as_array(value: Any) -> Array:
    """An array, tensor or number as an array."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def one_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error) or type(error).__name__).splitlines()[0]


def main(arguments: Sequence[str]) -> int:
    """Check the files that are named; the exit code."""
    if not arguments:
        print("found no file; expected: python -m tests.golden.check FILE.npz …", file=sys.stderr)
        return 2
    disagreeing, broken = 0, 0
    for argument in arguments:
        try:
            lines = check(Path(argument))
        except BrokenFile as error:
            print(error, file=sys.stderr)
            broken += 1
            continue
        print(argument)
        for line in lines:
            print(f"  {line.text}")
        disagreeing += sum(not line.agrees for line in lines)
    if broken:
        return 2
    print(f"{disagreeing} arrays beyond what is allowed" if disagreeing else "all arrays agree")
    return 1 if disagreeing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
