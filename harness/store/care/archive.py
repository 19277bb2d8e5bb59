"""Artefacts as one tar archive, to carry from store to store; what an archive says is believed only where hashes agree.

The first member, `seedbed-archive.json`, names every artefact with the sha256 of its record; then follow, artefact by
artefact, `<kind>/<key>/done.json` and the files that this record names with their own hashes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from harness.store.layout import Ref
from harness.store.store import Artefact, Lost, Store
from settings.errors import UserError

FORMAT = 1
INDEX = "seedbed-archive.json"
RECORD = "done.json"
COMPRESSION: Mapping[str, Any] = {".tar": None, ".tar.gz": "gzip", ".tgz": "gzip", ".tar.zst": "zstd", ".tzst": "zstd"}
CHUNK = 1 << 20
Progress = Callable[[int, int], None]
"""Told artefacts done and artefacts in all."""


def export(store: Store, refs: Iterable[Ref], path: Path, progress: Progress = lambda done, total: None) -> int:
    """Write artefacts, verified, into a new archive that appears in one step; returns how many.

    Raises UserError for an archive that exists or has no known suffix, for no artefacts, and for a damaged one.
    """
    codec = compression_of(path)
    if path.exists():
        raise UserError(path, "an existing file", "a new archive", "remove it first")
    artefacts = [_whole(store, ref) for ref in refs]
    if not artefacts:
        raise UserError(store.root, "no artefact to export", "a store that a suite was run on", "see seedbed store du")
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with pa.output_stream(str(partial), compression=codec) as stream:
            _write(stream, artefacts, progress)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return len(artefacts)


def compression_of(path: Path) -> Any:
    """The compression that an archive's suffix names, None for none; raises UserError for another suffix."""
    for suffix, codec in COMPRESSION.items():
        if path.name.endswith(suffix):
            return codec
    raise UserError(path, f"suffix '{''.join(path.suffixes)}'", "one of " + ", ".join(COMPRESSION))


def check_archive(path: Path) -> None:
    """Raise UserError for a file that is not there or has no known suffix."""
    compression_of(path)
    if not path.is_file():
        raise UserError(path, "no such file", "an archive that `seedbed store export` wrote")


@contextmanager
def reading(path: Path) -> Iterator[tarfile.TarFile]:
    """An archive to be read once from its beginning; raises UserError where there is none."""
    check_archive(path)
    # Blocks that are no header are passed over: behind a damaged member the others are still found.
    with (
        pa.input_stream(str(path), compression=compression_of(path)) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, ignore_zeros=True) as tar,
    ):
        yield tar


class _Header(tarfile.TarInfo):
    """A member's header that cannot ask for more memory than a long name takes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type not in tarfile.SUPPORTED_TYPES[:2] and header.size > CHUNK):
            raise tarfile.HeaderError("a header of absurd size")
        return header


def _whole(store: Store, ref: Ref) -> Artefact:
    try:
        return store.open(*ref)
    except Lost as error:
        raise UserError(ref, str(error), "a whole artefact", "run its suite again, then export") from None


def _write(stream: Any, artefacts: list[Artefact], progress: Progress) -> None:
    records = {artefact.key: _record_path(artefact).read_bytes() for artefact in artefacts}
    index = [[item.kind, item.key, hashlib.sha256(records[item.key]).hexdigest()] for item in artefacts]
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, INDEX, json.dumps({"format": FORMAT, "artefacts": index}).encode())
        for done, artefact in enumerate(artefacts, 1):
            folder = f"{artefact.kind}/{artefact.key}"
            _add(tar, f"{folder}/{RECORD}", records[artefact.key])
            for name in sorted(artefact.record["files"]):
                _add_file(tar, f"{folder}/{name}", artefact.path(name))
            progress(done, len(artefacts))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No owner and no time: the same artefacts make the same archive.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(member, file)


def _record_path(artefact: Artefact) -> Path:
    return artefact.folder.parent / RECORD
