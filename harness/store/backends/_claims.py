"""Leases at a remote: a chain of claims. Claim n + 1 may be made once claim n is silent; the highest one holds.

Only exclusive creation is asked of the backend, so of several that would evict a dead holder as many win as may
create one object: one (see `_creation`). Nobody writes another's claim: a heartbeat rewrites its holder's own.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from uuid import uuid4

from harness.store.backends._remote import Remote
from harness.store.layout import RemotePlaces, key_of_document
from harness.store.lease import HEARTBEAT_S, TIMEOUT_S, Lease, lives, this_process

Holder = dict[str, object]


class ClaimLease(Lease):
    """The lease of one stage; `folder` is where its claims lie."""

    def __init__(self, remote: Remote, folder: str, timeout_s: float = TIMEOUT_S) -> None:
        self._remote, self._folder = remote, folder
        self._timeout_s = timeout_s
        self._token = uuid4().hex
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def acquire(self) -> bool:
        """Take the lease if it is free or its holder is dead; False when somebody else works on it."""
        # Nearly always nobody has it: then the first claim is all that has to be made.
        if not self._claim(1):
            last = max(self._numbers(), default=0)
            if (last and not self._is_abandoned(last)) or not self._claim(last + 1):
                return False
        self._thread.start()
        return True

    def is_held(self) -> bool:
        """Whether this holder still has it: one that was paused past its lease finds a higher claim, or none."""
        return self._is_mine(self._numbers())

    def release(self) -> None:
        """Give it back, with what dead holders left."""
        self._stop.set()
        if not self._number:
            return
        if self._thread.is_alive():
            self._thread.join()  # a heartbeat under way would bring the claim back
        with suppress(OSError):  # a remote that does not answer sees it die with its holder
            numbers = self._numbers()
            if self._is_mine(numbers):
                for number in numbers:
                    self._remote.delete(self._at(number))

    def is_alive(self) -> bool:
        """Whether the holder of the highest claim lives."""
        last = max(self._numbers(), default=0)
        return last > 0 and not self._is_abandoned(last)

    def is_dead(self) -> bool:
        """Whether the holder of the highest claim does not live any more."""
        last = max(self._numbers(), default=0)
        return last > 0 and self._is_abandoned(last)

    def _claim(self, number: int) -> bool:
        if not self._remote.create(self._at(number), self._content()):
            return False
        self._number = number
        # Looked at again: another's claim may be higher, and some backends let two create one object.
        numbers = self._numbers()
        if self._is_mine(numbers):
            return True
        # Withdrawn, for others look at the highest claim alone; one of our number may be another's by now.
        if max(numbers, default=0) > number:
            self._remote.delete(self._at(number))
        self._number = 0
        return False

    def _is_mine(self, numbers: list[int]) -> bool:
        if not self._number or max(numbers, default=0) != self._number:
            return False
        return (self._read(self._number) or {}).get("token") == self._token

    def _numbers(self) -> list[int]:
        names = map(key_of_document, self._remote.sizes(self._folder))
        return sorted(int(name) for name in names if name.isdecimal())

    def _is_abandoned(self, number: int) -> bool:
        holder = self._read(number)
        # A holder here that lives may still have lost its way to the remote: then its heartbeat decides.
        if holder is None or lives(holder) is False:
            return True
        try:
            age = self._remote.age(self._at(number))
        except FileNotFoundError:
            return True
        if age is None:
            # The remote tells no times: what the holder wrote by its own clock is compared with ours.
            written = holder.get("t")
            if not isinstance(written, float):
                return True
            age = time.time() - written
        return age > self._timeout_s

    def _read(self, number: int) -> Holder | None:
        """A claim's content, empty for a damaged one; None when it was given back meanwhile."""
        try:
            content = json.loads(self._remote.read(self._at(number)))
            return {**content, "t": float(content["t"]), "pid": int(content["pid"])}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            return {}

    def _content(self) -> bytes:
        return json.dumps({"token": self._token, "t": time.time(), **this_process()}).encode()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with suppress(OSError):
                if not self.is_held():
                    return
                self._remote.write(self._at(self._number), self._content())

    def _at(self, number: int) -> str:
        return RemotePlaces.claim(self._folder, number)
