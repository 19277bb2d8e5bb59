"""A line on stderr now and then, for work that is usually over before anybody wonders."""

from __future__ import annotations

import sys
import time

INTERVAL_S = 5.0


class Patience:
    """A listener of `settings.progress`: nothing is said within the first seconds."""

    def __init__(self, what: str) -> None:
        self._what, self._begin = what, time.monotonic()
        self._last = self._begin

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say how far it is, where enough time has passed."""
        now = time.monotonic()
        if now - self._last >= INTERVAL_S:
            self._last = now
            sys.stderr.write(f"{self._what}: {done}/{total} {what}\n")
