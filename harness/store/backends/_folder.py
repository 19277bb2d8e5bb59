"""A store in a folder that several processes, perhaps on several machines, share."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from uuid import uuid4

from harness.store.backends.backend import Entry, Part, Slot, attempts_that_count, format_in
from harness.store.events import EventLog, EventReader
from harness.store.layout import (
    ATTEMPT,
    BESIDE,
    DAMAGED,
    EVENTS,
    FAILURES,
    FORMAT,
    LEADERBOARDS,
    LOG_SUFFIX,
    MARKER,
    PARTIAL_FOLDER,
    STAGES,
    FolderPlaces,
    Ref,
)
from harness.store.lease import FileLease
from harness.store.record import Record
from settings.errors import UserError
from settings.files import create_exclusively, read_plain, sync_files, write_bytes, write_json

KEY = re.compile(r"[0-9a-f]{64}")
# A writer replaces its partial file within moments; one that is older than this was left by a kill.
PARTIAL_S = 60


class FolderBackend:
    """A folder as the place of a store; what each method promises is told by `Backend`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = self.name = str(root)

    def create(self) -> None:
        """Make the folder and its marker; raises UserError for a folder of something else, or one of another format."""
        marker = self.root / MARKER
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if marker.exists():
                self._check_format(marker)
            # A machine that lost its power may leave the marker empty; whose it is, its name says.
            if marker.exists() and marker.stat().st_size:
                return
            # Another process may be writing the marker: the name of its partial file begins with a dot.
            foreign = [entry for entry in self.root.iterdir() if not entry.name.startswith(".")]
            # Looked at again: another process may have made it meanwhile.
            if foreign and not marker.exists():
                raise UserError(self.root, "a folder with other files", "a Seedbed store or an empty folder")
            write_json(marker, {"format": FORMAT})
            sync_files([marker])
        except OSError as error:
            raise self.unusable(error) from None

    def exists(self) -> bool:
        return (self.root / MARKER).is_file()

    def check_there(self) -> None:
        """Raise UserError where the marker is gone: the store was moved, deleted or unmounted while it was used."""
        if not self.exists():
            mend = "bring back what was moved, deleted or unmounted, and run again"
            raise UserError(self.root, "no store any more", "the store that the run began with", mend)

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written: better told before a night's work than after."""
        try:
            with TemporaryFile(dir=self.root) as probe:  # of no name, so that runs do not trip over each other's
                probe.write(b"probe")
        except OSError as error:
            raise self.unusable(error) from None
        self._check_links()

    def _check_links(self) -> None:
        """Raise UserError on a file system without hard links, by which artefacts are published."""
        probe = self.root / f".probe.{uuid4().hex[:8]}"
        try:
            create_exclusively(probe, b"probe")
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise self.unusable(error) from None
            found = f"a file system without hard links ({error.strerror})"
            raise UserError(self.root, found, "one that has them", "give --store a folder on another one") from None
        finally:
            probe.unlink(missing_ok=True)

    def unusable(self, error: OSError) -> UserError:
        found = f"a folder that cannot be used ({error.strerror or error})"
        return UserError(self.root, found, "a writable store with room")

    def has(self, ref: Ref) -> bool:
        return os.path.exists(self._record_of(ref))  # noqa: PTH110 — as text: making a path takes longer than looking

    def _record_of(self, ref: Ref) -> str:
        return f"{self.root}/{FolderPlaces(ref).record}"

    def present(self, refs: Iterable[Ref]) -> set[Ref]:
        return {ref for ref in refs if self.has(ref)}

    def kinds(self) -> list[str]:
        """The names of all folders that may hold artefacts: those that are not reserved for something else."""
        return [path.name for path in entries_in(self.root) if path.is_dir() and path.name not in BESIDE]

    def keys(self, kind: str) -> list[str]:
        names = [path.name for path in entries_in(self.root / kind)]
        return [name for name in names if self.has(Ref(kind, name))]

    def records(self, refs: Iterable[Ref]) -> dict[Ref, bytes]:
        """The content of the records that are there; empty for one that cannot be read."""
        found: dict[Ref, bytes] = {}
        for ref in refs:
            try:
                found[ref] = read_plain(self._record_of(ref))
            except FileNotFoundError:
                continue
            except OSError:  # a disk that fails, a link, a pipe: the artefact is as good as damaged
                found[ref] = b""
        return found

    def publish(self, record: Record) -> bool:
        self.check_there()
        return create_exclusively(self.root / FolderPlaces(record.ref).record, record.to_json().encode())

    def set_aside(self, ref: Ref) -> None:
        self._move_aside(ref)

    def remove(self, ref: Ref) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._move_aside(ref))

    def lease(self, ref: Ref) -> FileLease:
        return FileLease(self.root / FolderPlaces(ref).lease)

    def fetch(self, ref: Ref) -> None:
        return None  # there are no other files than those in the folder

    def send(self, folder: Path) -> None:
        pass  # whoever shares the folder sees it

    def receive(self, folder: Path) -> None:
        pass  # what others wrote into the folder is in it

    def tidy(self, ref: Ref, keep: str) -> None:
        # Files stay: the record, and the lease, which its holder gives back itself.
        for path in entries_in(self.root / FolderPlaces(ref).folder):
            if path.is_dir() and path.name != keep:
                shutil.rmtree(path, ignore_errors=True)

    def read(self, name: str) -> bytes:
        return read_plain(self.root / name)

    def read_folder(self, folder: str) -> dict[str, bytes]:
        """The content of all documents in a folder, by name within it; empty for one that cannot be read."""
        found: dict[str, bytes] = {}
        for path in entries_in(self.root / folder):
            if path.is_file() and not path.name.startswith("."):
                try:
                    found[path.name] = read_plain(path)
                except OSError:
                    found[path.name] = b""
        return found

    def write(self, documents: Mapping[str, bytes]) -> None:
        self.check_there()
        for name, content in documents.items():
            path = self.root / name
            # Each run describes all its stages anew, and nearly always there is nothing new to say.
            with suppress(OSError):
                if read_plain(path) == content:
                    continue
            write_bytes(path, content)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below a folder, by its path within; partial files are left out."""
        top = self.root / folder
        found: dict[str, int] = {}
        for path in sorted(top.rglob("*")):
            with suppress(FileNotFoundError):
                within = path.relative_to(top)
                is_partial = any(part.startswith(".") for part in within.parts)
                if not is_partial and not path.is_dir():
                    found[within.as_posix()] = path.lstat().st_size
        return found

    def delete(self, name: str) -> None:
        path = self.root / name
        # Of a link the link goes, and what it leads to stays: that may be anybody's.
        if name.endswith("/") and not path.is_symlink():
            with suppress(FileNotFoundError):
                shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            # A read-only disk refuses to remove even what is not there.
            path.unlink(missing_ok=True)

    def log(self, path: Path) -> EventLog:
        return EventLog(path)

    def reader(self, path: Path) -> EventReader:
        return EventReader(path)

    def logs(self) -> list[Path]:
        logs: list[Path] = []
        for path in (self.root / EVENTS).glob(f"*{LOG_SUFFIX}"):
            with suppress(FileNotFoundError):
                # Neither a link, which leads out of the store, nor a pipe, which is waited for.
                if S_ISREG(path.lstat().st_mode):
                    logs.append(path)
        return sorted(logs)

    def slots(self) -> list[Slot]:
        """Every folder that is called like a key; other folders are none of a store's business."""
        found: list[Slot] = []
        for kind in self.kinds():
            for folder in entries_in(self.root / kind):
                if KEY.fullmatch(folder.name) and folder.is_dir():
                    ref = Ref(kind, folder.name)
                    found.append(Slot(ref, self.has(ref), self.lease(ref), partial(self._listed, ref)))
        return found

    def leavings(self) -> list[Entry]:
        """What is in `damaged/`, and partial files and half-made leaderboards whose writers were killed."""
        found = [self._entry("damaged", path) for path in entries_in(self.root / DAMAGED)]
        places = ["", STAGES, FAILURES]
        places += [f"{LEADERBOARDS}/{path.name}" for path in entries_in(self.root / LEADERBOARDS)]
        for place in places:
            for path in entries_in(self.root / place):
                begins = PARTIAL_FOLDER if path.is_dir() else "."
                if path.name.startswith(begins) and _is_old(path):
                    found.append(self._entry("partial", path))
        return found

    def _listed(self, ref: Ref) -> list[Entry]:
        folder = self.root / FolderPlaces(ref).folder
        paths = entries_in(folder)
        attempts = [path.name for path in paths if path.name.startswith(ATTEMPT)]
        published = attempts_that_count(self.records([ref]).get(ref), ref, attempts)
        return [self._entry(_part_of(path, published), path) for path in paths]

    def _entry(self, part: Part, path: Path) -> Entry:
        name = path.relative_to(self.root).as_posix()
        if path.is_dir() and not path.is_symlink():
            name += "/"
        return Entry(part, name, partial(size_of, path))

    def _move_aside(self, ref: Ref) -> Path:
        # With the time: an artefact may be damaged again after it was made again.
        target = self.root / DAMAGED / f"{ref.kind}-{ref.key}-{time.time_ns()}"
        target.parent.mkdir(exist_ok=True)
        source = self.root / FolderPlaces(ref).folder
        with suppress(FileNotFoundError):  # another process may have set it aside already
            try:
                source.rename(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # A kind's folder may be a link to another disk.
                shutil.copytree(source, target, symlinks=True)
                shutil.rmtree(source)
        return target

    def _check_format(self, marker: Path) -> None:
        content = read_plain(marker)
        found = format_in(content)
        if content and found != FORMAT:
            raise UserError(marker, f"store format {found}", f"format {FORMAT}", "use another --store")


def entries_in(folder: Path) -> list[Path]:
    """A folder's entries by name; none where it is not there, or not any more."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(size_of(entry) for entry in entries_in(path))
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _part_of(path: Path, published: set[str]) -> Part:
    if path.name == FolderPlaces.RECORD or path.name in published:
        return "artefact"
    if path.name == FolderPlaces.CHECKPOINT:
        return "checkpoint"
    if path.name == FolderPlaces.LEASE:
        return "lease"
    if path.name.startswith(ATTEMPT):
        return "attempt"
    if path.name.startswith(".") and _is_old(path):
        return "partial"
    return "other"


def _is_old(path: Path) -> bool:
    """Whether no living writer can be at this partial file or folder: nothing in it was touched for a while."""
    try:
        newest = max(inner.stat().st_mtime for inner in (path, *path.rglob("*")))
    except FileNotFoundError:
        return False
    return time.time() - newest > PARTIAL_S
