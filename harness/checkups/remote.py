"""Whether a store behind a URL answers."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checkups import Finding
from harness.store.backends.urls import shown
from settings.errors import UserError


def state(url: str) -> Iterator[Finding]:
    """Whether its package is there, its server answers, and a run has made it. Nothing is written."""
    from harness.store.store import Store

    mend = "see docs/workers.md"
    try:
        found = "a store" if Store.at(url).exists() else "nothing yet: the first run makes it"
    except UserError as error:
        yield Finding("store", "error", str(error), mend)
    except OSError as error:
        yield Finding("store", "error", f"{shown(url)}: {error}", mend)
    else:
        yield Finding("store", "ok", f"{shown(url)}: {found}")
