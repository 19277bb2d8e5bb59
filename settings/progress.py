"""How far long work is that happens before a run has a display: whoever wants to know sets a listener."""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["listener", "told"]

T = TypeVar("T")
Listener = Callable[[int, int, str], None]
"""(done, total, what): called after each step."""

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def told(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, one by one; the listener hears of each."""
    tell = listener.get()
    for done, item in enumerate(items, 1):
        yield item
        if tell:
            tell(done, len(items), what)
