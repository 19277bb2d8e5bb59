"""Whether a store is the same folder on every node: driver and nodes meet in it, and each looks for the other's file.

Nodes import this module too, also those where nothing is installed that Seedbed depends on: it needs Python alone.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from harness.store.backends.urls import is_url
from harness.store.store import answer_of

__all__ = ["Meeting", "meeting_in", "trouble_with"]

SEEN_WITHIN_S = 5.0
"""How long a file is looked for: network file systems show a new one to other machines some moments later."""
PAUSE_S = 0.1


@dataclass(frozen=True)
class Meeting:
    """A temporary folder inside a store where driver and nodes each write a file that the other must see.

    Its name and the files' content are a token that no other store knows. A store behind a URL is opened instead.
    """

    store: str
    """An absolute path, or a URL."""
    token: str
    kept: str = ""
    """The store's folder, or the nearest above it, that was there before the meeting."""
    driver_trouble: str = ""
    """Why the driver could not begin the meeting; no node is asked for the store then."""

    @property
    def folder(self) -> Path:
        """The folder inside the store that driver and nodes write their files into."""
        return Path(self.store) / f".doctor-{self.token}"

    @property
    def is_url(self) -> bool:
        """Whether the store is opened, not mounted, so that there is no folder to meet in."""
        return is_url(self.store)

    def begin(self) -> Meeting:
        """Write the driver's file, or open the URL; what fails is told by `driver_trouble` of the returned meeting."""
        if self.is_url:
            return replace(self, driver_trouble=trouble_with(self.store))
        try:
            self.folder.mkdir(parents=True)
            (self.folder / "driver").write_text(self.token, encoding="utf-8")
        except OSError as error:
            return replace(self, driver_trouble=f"cannot be written ({error.strerror})")
        return self

    def visit(self, node: str) -> str:
        """On a node: find the driver's file and leave one; returns what is wrong with the store there, or nothing."""
        if self.is_url:
            return trouble_with(self.store)
        if not Path(self.store).is_dir():
            return "is not there"
        if not self._is_soon_written("driver"):
            return "is another folder there: what the driver wrote into it is not seen"
        try:
            (self.folder / node).write_text(self.token, encoding="utf-8")
        except OSError as error:
            return f"cannot be written there ({error.strerror})"
        return ""

    def has_seen(self, node: str) -> bool:
        """On the driver: whether the file that a node left can be seen here, perhaps after some seconds."""
        return self.is_url or self._is_soon_written(node)

    def end(self) -> None:
        """On the driver: leave nothing behind, not even the store's folder where the meeting made it."""
        if self.is_url:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        # A folder that somebody has begun to use meanwhile stays: it cannot be removed while something is in it.
        with suppress(OSError):
            for made in [Path(self.store), *Path(self.store).parents]:
                if str(made) == self.kept:
                    return
                made.rmdir()

    def _is_soon_written(self, name: str) -> bool:
        """Whether a file of the meeting shows this meeting's token, now or within some seconds."""
        until = time.monotonic() + SEEN_WITHIN_S
        while True:
            # Not there yet, or half written and no text yet.
            with suppress(OSError, ValueError):
                if (self.folder / name).read_text(encoding="utf-8") == self.token:
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE_S)


def meeting_in(store: str) -> Meeting:
    """A meeting in a store, with a token of its own; nothing is written yet."""
    token = uuid4().hex
    if is_url(store):
        return Meeting(store, token)
    root = Path(store).resolve()
    kept = next(folder for folder in (root, *root.parents) if folder.exists())
    return Meeting(str(root), token, str(kept))


def trouble_with(url: str) -> str:
    """Why a store behind a URL cannot be opened from this process, or nothing."""
    trouble = answer_of(url).trouble
    if not trouble:
        return ""
    return f"cannot be opened ({trouble})"
