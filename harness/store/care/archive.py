"""Artefacts as one tar archive, to carry from store to store; what an archive says is believed only where hashes agree.

The first member, the index, names every artefact with the sha256 of its record; then follow, artefact by artefact,
its record and the files that this record names with their own hashes. What reads them takes each for a stranger's.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, FailFast, Field, ValidationError

from harness.store.care.usage import Progress
from harness.store.layout import ARCHIVE_FORMAT, ARCHIVE_INDEX, BESIDE, FolderPlaces, Ref
from harness.store.record import Record
from harness.store.store import Artefact, Lost, Store
from settings.errors import UserError
from settings.files import replaced

__all__ = [
    "CHUNK",
    "Refused",
    "content_of",
    "export",
    "foreign",
    "place_of",
    "printable",
    "read_index",
    "read_record",
    "reading",
]

Codec = Literal["gzip", "zstd"] | None
COMPRESSION: Mapping[str, Codec] = {
    ".tar": None,
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
}
CHUNK = 1 << 20
# Bytes: an archive may be a stranger's, and what it calls an index is read into memory whole, which takes twenty times
# as many.
MAX_INDEX = 32 << 20
SHA = r"^[0-9a-f]{64}$"
KIND = r"^[a-z][a-z_]{0,63}$"
Kind = Annotated[str, Field(pattern=KIND)]
Sha = Annotated[str, Field(pattern=SHA)]


class Refused(Exception):
    """Raised, with the reason, where an artefact is not imported; the others of its archive are."""


class Index(BaseModel):
    """An archive's first member: what is to follow, so that what is missing at the end can be named."""

    format: int
    # At the first thing that is none: the errors of millions would take a hundred times as much memory as the index.
    artefacts: Annotated[list[tuple[Kind, Sha, Sha]], FailFast()]
    """Kind, key and sha256 of the record."""


def export(store: Store, refs: Iterable[Ref], path: Path, progress: Progress = lambda done, total: None) -> int:
    """Write artefacts, verified, into a new archive that appears in one step; returns how many.

    Raises UserError for an archive that exists or has no known suffix, for no artefacts, and for a damaged one.
    """
    codec = _compression_of(path)
    if path.exists():
        raise UserError(path, "an existing file", "a new archive", "remove it first")
    artefacts = [_whole(store, ref) for ref in refs]
    if not artefacts:
        raise UserError(store.name, "no artefact to export", "a store that a suite was run on", "see seedbed store du")
    # What a killed export of this archive has left; nobody else's name begins so.
    for left in path.parent.glob(f".{escape(path.name)}.????????"):
        left.unlink(missing_ok=True)
    # pyarrow's stubs lack its None, for no compression, here and below.
    with replaced(path) as partial, pa.output_stream(str(partial), compression=codec) as stream:  # type: ignore[arg-type]
        _write(stream, artefacts, progress)
    return len(artefacts)


@contextmanager
def reading(path: Path) -> Iterator[tarfile.TarFile]:
    """An archive to be read once from its beginning.

    Raises UserError for a file that is not there, or whose name ends with no known suffix.
    """
    codec = _compression_of(path)
    if not path.is_file():
        raise UserError(path, "no such file", "an archive that `seedbed store export` wrote")
    # Blocks that are no header are passed over: behind a damaged member the others are still found.
    with (
        pa.input_stream(str(path), compression=codec) as stream,  # type: ignore[arg-type]
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, ignore_zeros=True) as tar,
    ):
        yield tar


def read_index(tar: tarfile.TarFile, path: Path) -> dict[Ref, str]:
    """The artefacts of an archive, each with the sha256 of its record; raises UserError for a foreign file."""
    member = tar.next()
    if member is None or member.name != ARCHIVE_INDEX or member.size > MAX_INDEX:
        raise foreign(path)
    try:
        index = Index.model_validate_json(content_of(tar, member).read())
    except (ValidationError, Refused):
        raise foreign(path) from None
    if index.format != ARCHIVE_FORMAT:
        expected = f"format {ARCHIVE_FORMAT}"
        raise UserError(path, f"archive format {index.format}", expected, "import it with its own Seedbed")
    artefacts: dict[Ref, str] = {}
    for kind, key, sha in index.artefacts:
        # A kind that is called like a folder of documents would be written among them.
        if kind not in BESIDE:
            artefacts[Ref(kind, key)] = sha
    return artefacts


def place_of(name: str) -> tuple[Ref | None, str]:
    """`<kind>/<key>/<file>` → whose it is and which file; None for a name that would lead elsewhere."""
    # Backslashes lead out of a folder on Windows; with a NUL no file can be opened.
    parts = name.split("/")
    if len(parts) < 3 or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        return None, ""
    return Ref(parts[0], parts[1]), "/".join(parts[2:])


def content_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """A plain file's content; raises Refused for links, devices, folders and sparse files."""
    content = None
    # tarfile would follow a link to another member, and fill a sparse file up with zeros that are not in the archive.
    if member.isreg() and not member.issparse():
        content = tar.extractfile(member)
    if content is None:
        raise Refused(f"'{printable(member.name)}' is no plain file")
    return content


def read_record(text: bytes, ref: Ref, sha: str) -> Record:
    """The record of this artefact; raises Refused for one that the index or its own place belies."""
    if hashlib.sha256(text).hexdigest() != sha:
        raise Refused("its record is damaged")
    try:
        record = Record.from_json(text, ref)
    except ValidationError:
        raise Refused("its record is not one of Seedbed's") from None
    except ValueError as error:
        raise Refused(f"its record has {error}") from None
    hashes = [*record.files.values(), *(need.key for need in record.inputs)]
    kinds = [need.kind for need in record.inputs]
    if not all(re.match(SHA, text) for text in hashes) or not all(re.match(KIND, kind) for kind in kinds):
        raise Refused("its record is not one of Seedbed's")
    if any(not _is_own_file(name, record.files) for name in record.files):
        raise Refused("its record has a file outside of its folder, or one inside another")
    return record


def printable(name: str) -> str:
    """A foreign name, fit to be printed."""
    return re.sub(r"[^\x20-\x7e]", "?", name)[:120]


def foreign(path: Path) -> UserError:
    """The error for a file that `seedbed store export` did not write."""
    return UserError(path, "no archive of Seedbed's", "what `seedbed store export` wrote", "export it again")


class _Header(tarfile.TarInfo):
    """A member's header that cannot ask for more memory than a long name takes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        # tarfile itself reads long names and other extended headers into memory, however long they claim to be.
        if header.size < 0 or (header.type not in tarfile.SUPPORTED_TYPES[:2] and header.size > CHUNK):
            raise tarfile.HeaderError("a header of absurd size")
        return header


def _compression_of(path: Path) -> Codec:
    """The compression that an archive's suffix names, None for none; raises UserError for another suffix."""
    for suffix, codec in COMPRESSION.items():
        if path.name.endswith(suffix):
            return codec
    raise UserError(path, f"suffix '{''.join(path.suffixes)}'", "one of " + ", ".join(COMPRESSION))


def _whole(store: Store, ref: Ref) -> Artefact:
    try:
        return store.open(ref)
    except Lost as error:
        raise UserError(ref, str(error), "a whole artefact", "run its suite again, then export") from None


def _write(stream: pa.NativeFile, artefacts: list[Artefact], progress: Progress) -> None:
    records: dict[Ref, bytes] = {}
    index: list[tuple[str, str, str]] = []
    for artefact in artefacts:
        record = artefact.record.to_json().encode()
        records[artefact.ref] = record
        index.append((*artefact.ref, hashlib.sha256(record).hexdigest()))
    listed = json.dumps({"format": ARCHIVE_FORMAT, "artefacts": index}).encode()
    if len(listed) > MAX_INDEX:
        raise UserError("export", f"{len(artefacts)} artefacts", "some 200,000 at most", "export suite by suite")
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, ARCHIVE_INDEX, listed)
        for done, artefact in enumerate(artefacts, 1):
            places = FolderPlaces(artefact.ref)
            _add(tar, places.record, records[artefact.ref])
            for name in sorted(artefact.record.files):
                _add_file(tar, f"{places.folder}/{name}", artefact.path(name))
            progress(done, len(artefacts))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Neither owner nor time: equal artefacts make equal archives.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(member, file)


def _is_own_file(name: str, names: Collection[str]) -> bool:
    within = place_of(f"kind/key/{name}")[0] is not None
    # Most file systems take names of 255 bytes.
    short = all(len(part.encode(errors="replace")) < 250 for part in name.split("/"))
    return within and short and not any(str(parent) in names for parent in PurePosixPath(name).parents)
