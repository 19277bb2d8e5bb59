"""What an archive's members may be: its index, records and plain files, every one of them from a stranger."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.store.care.archive import FORMAT, INDEX
from harness.store.care.inventory import NOT_KINDS
from harness.store.layout import Ref
from settings.errors import UserError

MAX_RECORD = 64 << 20
Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,63}$")]


class Refused(Exception):
    """Why an artefact is not imported."""


class Index(BaseModel):
    """An archive's first member."""

    format: int
    artefacts: list[tuple[Kind, Sha, Sha]]
    """Kind, key and sha256 of the record."""


class Record(BaseModel):
    """What others read in an artefact's record."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    kind: Kind
    key: Sha
    files: dict[str, Sha]
    inputs: list[tuple[Kind, Sha]]
    label: str
    seconds: float
    device: str
    peak_memory_bytes: int
    sources: dict[str, str]
    identity: dict[str, Any]
    ledger: list[dict[str, Any]] = Field(default_factory=list)


def read_index(tar: tarfile.TarFile, path: Path) -> dict[Ref, str]:
    """The artefacts of an archive, each with the sha256 of its record; raises UserError for a foreign file."""
    member = tar.next()
    if member is None or member.name != INDEX or member.size > MAX_RECORD:
        raise no_archive(path)
    try:
        index = Index.model_validate_json(content_of(tar, member).read())
    except (ValidationError, Refused):
        raise no_archive(path) from None
    if index.format != FORMAT:
        raise UserError(path, f"archive format {index.format}", f"format {FORMAT}", "import it with its own Seedbed")
    return {Ref(kind, key): sha for kind, key, sha in index.artefacts if kind not in NOT_KINDS}


def place_of(name: str) -> tuple[Ref | None, str]:
    """`<kind>/<key>/<file>` → whose it is and which file; None for a name that would lead elsewhere."""
    parts = name.split("/")
    if len(parts) < 3 or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        return None, ""
    return Ref(parts[0], parts[1]), "/".join(parts[2:])


def content_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """A plain file's content; raises Refused for links, devices, folders and sparse files."""
    content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if content is None:
        raise Refused(f"'{shown(member.name)}' is no plain file")
    return content


def read_record(text: bytes, ref: Ref, sha: str) -> dict[str, Any]:
    """The record of this artefact; raises Refused for one that the index or its own place belies."""
    if hashlib.sha256(text).hexdigest() != sha:
        raise Refused("its record is damaged")
    try:
        record = Record.model_validate_json(text)
    except ValidationError:
        raise Refused("its record is not one of Seedbed's") from None
    if (record.kind, record.key) != ref:
        raise Refused(f"its record is that of {Ref(record.kind, record.key)}")
    if any(not _is_own_file(name, record.files) for name in record.files):
        raise Refused("its record names a file outside its folder, or one inside another")
    return record.model_dump(mode="json")


def _is_own_file(name: str, names: Collection[str]) -> bool:
    within = place_of(f"kind/key/{name}")[0] is not None
    short = all(len(part.encode(errors="replace")) < 250 for part in name.split("/"))
    return within and short and not any(str(parent) in names for parent in PurePosixPath(name).parents)


def shown(name: str) -> str:
    """A foreign name, fit to be printed."""
    return re.sub(r"[^\x20-\x7e]", "?", name)[:120]


def no_archive(path: Path) -> UserError:
    """The error for a file that `seedbed store export` did not write."""
    return UserError(path, "no archive of Seedbed's", "what `seedbed store export` wrote", "export it again")
