"""Whether driver and nodes mean the same folder by a store's path: each writes a file there that the other must see."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from harness.checkups.machine import existing
from harness.store.backends.urls import is_url

SEEN_WITHIN_S = 5.0
"""Network file systems tell of a new file some moments later."""
PAUSE_S = 0.1


@dataclass(frozen=True)
class Meeting:
    """A folder inside the store, gone afterwards; its driver's file holds a token that no other store knows."""

    store: str
    """An absolute path, or a URL."""
    token: str
    kept: str = ""
    """The store's folder, or the nearest above it, that was there before."""
    driver_trouble: str = ""
    """Why the driver could not begin it; then no node is asked."""

    @property
    def folder(self) -> Path:
        """Where both write."""
        return Path(self.store) / f".doctor-{self.token}"

    @property
    def is_url(self) -> bool:
        """A store that is opened, not mounted: there is no folder to meet in."""
        return is_url(self.store)

    def begin(self) -> Meeting:
        """On the driver: write its file, or open the URL. What fails is told by `driver_trouble`."""
        if self.is_url:
            return replace(self, driver_trouble=opened(self.store))
        try:
            self.folder.mkdir(parents=True)
            (self.folder / "driver").write_text(self.token, encoding="utf-8")
        except OSError as error:
            return replace(self, driver_trouble=f"cannot be written ({error.strerror})")
        return self

    def visit(self, node: str) -> str:
        """On a node: find the driver's file and leave one; what is wrong with the store there, or nothing."""
        if self.is_url:
            return opened(self.store)
        if not Path(self.store).is_dir():
            return "is not there"
        if not _soon(lambda: (self.folder / "driver").read_text(encoding="utf-8") == self.token):
            return "is another folder there: what the driver wrote into it is not seen"
        try:
            (self.folder / node).write_text(self.token, encoding="utf-8")
        except OSError as error:
            return f"cannot be written there ({error.strerror})"
        return ""

    def has_seen(self, node: str) -> bool:
        """On the driver: whether the node's file arrived."""
        return self.is_url or _soon(lambda: (self.folder / node).read_text(encoding="utf-8") == self.token)

    def end(self) -> None:
        """On the driver: leave nothing behind, not even the store's folder where this made it."""
        if self.is_url:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # a folder that somebody has begun to use meanwhile stays
            for made in [Path(self.store), *Path(self.store).parents]:
                if str(made) == self.kept:
                    return
                made.rmdir()


def meeting_in(store: str) -> Meeting:
    """One in this store that nobody else has."""
    if is_url(store):
        return Meeting(store, uuid4().hex)
    return Meeting(str(Path(store).resolve()), uuid4().hex, str(existing(Path(store))))


def opened(url: str) -> str:
    """Why a store behind a URL cannot be opened from this process, or nothing."""
    from harness.checkups.remote import state

    return next((f"cannot be opened ({finding.found})" for finding in state(url) if finding.state != "ok"), "")


def _soon(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + SEEN_WITHIN_S
    while True:
        with suppress(OSError, ValueError):
            if is_so():
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(PAUSE_S)
