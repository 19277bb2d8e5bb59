"""The guard around running stages: a file of true masks that is opened past the gate ends the stage, and names it.

Python tells its audit hooks of every file that is opened through it; what is refused here cannot be caught by accident,
though it is a seat belt, not a prison: code that wants to cheat can open files in other ways.
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from settings.errors import UserError

__all__ = ["at_the_gate", "guarded"]

TRUTHS = ".truth.csv"
"""The end of the names of files that say which web photos are noise."""


class _Watch:
    """What is guarded in this process: stages run one at a time in it."""

    stage: str = ""
    folders: tuple[str, ...] = ()


_watch = _Watch()
_here = threading.local()


@contextmanager
def guarded(stage: str, folders: Iterable[Path]) -> Iterator[None]:
    """While the block runs, opening a file in `folders`, or a truth file, raises UserError that names the stage."""
    _install()
    before = _watch.stage, _watch.folders
    _watch.folders = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)
    _watch.stage = stage
    try:
        yield
    finally:
        _watch.stage, _watch.folders = before


@contextmanager
def at_the_gate() -> Iterator[None]:
    """What the gate itself reads, in this thread."""
    before = getattr(_here, "open", False)
    _here.open = True
    try:
        yield
    finally:
        _here.open = before


@cache
def _install() -> None:
    # A hook cannot be taken away again: one for the whole process, idle where nothing is guarded.
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _watch.stage or getattr(_here, "open", False):
        return
    path = arguments[0]
    if not isinstance(path, str | bytes):
        return
    name = os.fsdecode(path)
    if name.endswith(TRUTHS) or os.path.realpath(name).startswith(_watch.folders):
        raise UserError(
            name,
            f"opened by stage '{_watch.stage}' past the gate",
            "true masks to be read through settings.supervision alone",
            "masks made elsewhere belong into a folder of their own",
        )
