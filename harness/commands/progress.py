"""How far a verb is, told on standard error, so that a file that takes the output holds results alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import typer

__all__ = ["Patience", "meter", "watched"]

# A line now and then, for work that is usually over before anybody wonders.
PATIENCE_S = 5.0
PLAIN_INTERVAL_S = 10.0
T = TypeVar("T")


@contextmanager
def meter(verb: str = "", unit: str = "") -> Iterator[Callable[[float, float], None]]:
    """A bar on a terminal, which goes when the work ends, and nothing elsewhere; it is told what is done, and of what.

    The numbers are shown as they are told, between the verb and the unit.
    """
    # Imported here, for `--help` and mistakes are answered without it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    text = TextColumn(verb + " {task.completed:.0f}/{task.total:.0f} " + unit)
    columns = (text, BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(verb, total=1)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def watched(items: Sequence[T]) -> Iterator[T]:
    """The items; how many are done is shown on standard error: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console

    is_terminal = Console(stderr=True).is_terminal
    last = time.monotonic()
    with meter() as progress:
        for done, item in enumerate(items):
            progress(done, len(items))
            if not is_terminal and time.monotonic() - last >= PLAIN_INTERVAL_S:
                last = time.monotonic()
                typer.echo(f"{done}/{len(items)}", err=True)
            yield item


class Patience:
    """A listener of `settings.progress`, silent within the first seconds, then with a line now and then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say on standard error how far the work is, where enough time has passed."""
        now = time.monotonic()
        if now - self._last >= PATIENCE_S:
            self._last = now
            typer.echo(f"{self._what}: {done}/{total} {what}", err=True)
