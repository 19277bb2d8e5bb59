"""Creating an object only where there is none: what keeps two machines off one artefact.

What holds: S3 and other backends of the `pipe_file(mode="create")` kind decide it at the server; `file://` by a hard
link; `memory://` under a lock of this process. Any other backend is asked, written and read back: two that write
within the same moment may both believe that they won. Then work is done twice, and no result is wrong: artefacts of
one key are equal.
"""

from __future__ import annotations

import errno
import inspect
import threading
import time
from pathlib import Path
from typing import Any

from settings.files import create_exclusively, write_bytes

TRIES = 4
MEMORY = threading.Lock()


def create(system: Any, path: str, data: bytes) -> bool:
    """Create the object; False where there is another one.

    Who is refused looks at what is there: an answer that was lost on its way makes the client ask twice, and the
    second time it finds its own object.
    """
    for again in range(TRIES):
        try:
            _create(system, path, data)
            return True
        except FileExistsError:
            refusal = None
        except OSError as error:  # servers word a refused condition differently
            refusal = error
        try:
            return read(system, path) == data
        except FileNotFoundError:
            if refusal is not None and (refusal.errno != errno.EBUSY or again == TRIES - 1):
                raise refusal from None
        # Two at once ("409, try again"), or it was removed between the refusal and the look.
        time.sleep(0.1 * again)
    return False


def read(system: Any, path: str) -> bytes:
    """An object's content, in one request."""
    return bytes(system.cat_file(path, **reading(system)))


def reading(system: Any) -> dict[str, Any]:
    """What makes the file system ask once for a small object: s3fs would ask for its length before, to cut it."""
    return {"max_concurrency": 1} if is_s3(system) else {}


def write(system: Any, path: str, data: bytes) -> None:
    """Replace an object, in one step where the backend can: objects of a store are, files by renaming."""
    if is_local(system):
        write_bytes(Path(path), data)
    else:
        system.pipe_file(path, data)


def is_local(system: Any) -> bool:
    """Whether it is this machine's (or a mounted) file system."""
    return "file" in _protocols(system)


def is_s3(system: Any) -> bool:
    """Whether it is s3fs."""
    return "s3" in _protocols(system)


def _create(system: Any, path: str, data: bytes) -> None:
    if is_local(system):
        if not create_exclusively(Path(path), data):
            raise FileExistsError(path)
    elif "memory" in _protocols(system):
        with MEMORY:
            system.pipe_file(path, data, mode="create")
    elif "mode" in inspect.signature(getattr(system, "_pipe_file", create)).parameters:
        system.pipe_file(path, data, mode="create")
    elif system.exists(path):
        raise FileExistsError(path)
    else:
        system.pipe_file(path, data)
        if read(system, path) != data:
            raise FileExistsError(path)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
