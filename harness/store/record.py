"""The record of an artefact: what its `done.json` says, typed; and the errors about artefacts that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, TypedDict, cast

from harness.store.layout import Ref

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Absent", "Damaged", "Lost", "NumericsFields", "Record"]

Text = str | bytes
Options = dict[str, object]


class _FailFast:
    """pydantic's own of this name: a sequence is read up to its first fault. Of a hostile record, the errors alone
    would take gigabytes. Nodes import this module without pydantic."""

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Options]) -> Options:
        return {**handler(source), "fail_fast": True}


class Lost(RuntimeError):
    """An artefact that was published and cannot be used now; it will be made again."""

    def __init__(self, ref: Ref, why: str) -> None:
        super().__init__(ref, why)
        self.ref = ref

    def __str__(self) -> str:
        return f"{self.ref}: {self.args[1]}"


class Damaged(Lost):
    """Its files or its record are not those that were published; it was set aside."""


class Absent(Lost):
    """It is not there, or not any more."""


class NumericsFields(TypedDict, total=False):
    """Those entries of a record that tell how an artefact was computed, as far as somebody asks for them."""

    device: str
    train_processes: int
    sync_batch_norm: bool


@dataclass(frozen=True)
class Record:
    """What is known of an artefact: where its files lie, what they hash to, what they were made of and at what cost.

    Kind, key, attempt and files are in every record; the rest has defaults, for records of other versions.
    """

    # Strict, for a record may be a stranger's (an archive's): a number that is written as text is refused, as is NaN.
    __pydantic_config__: ClassVar[dict[str, bool]] = {"strict": True, "allow_inf_nan": False}

    kind: str
    key: str
    attempt: str
    """The folder, within the key's, that holds the files."""
    files: dict[str, str]
    """Path within the attempt → sha256 in hexadecimal."""
    bytes: int = 0
    """Of all files together."""
    finished: str = ""
    """When it was published: ISO 8601 with a time zone."""
    run: str = ""
    """The run that published it. Names of runs are in the order in which they began, whatever clocks said; empty in
    records of older versions."""
    label: str = ""
    group: str = ""
    identity: Options = field(default_factory=dict)
    """What its key was computed from, beside the kind and the inputs."""
    inputs: Annotated[tuple[Ref, ...], _FailFast()] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """User and system time of the process that ran it: other programs on the machine do not lengthen it. 0 where nobody
    measured it: by older versions, and where several processes trained together."""
    photos: int = 0
    device: str = ""
    peak_memory_bytes: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    """Module → hash of the sources that made it."""
    ledger: Annotated[tuple[Options, ...], _FailFast()] = ()
    """What was read of the true masks and labels, and for which purpose."""
    gpus: int = 1
    """How many it was made on, where it was made on any."""

    @property
    def ref(self) -> Ref:
        """Where the artefact is found: its kind and key together."""
        return Ref(self.kind, self.key)

    @property
    def numerics(self) -> NumericsFields:
        """How the artefact was computed: device, precision, processes; empty for a kind that computes nothing."""
        numerics = self.identity.get("numerics")
        if not isinstance(numerics, dict):
            return {}
        return cast("NumericsFields", numerics)

    @classmethod
    def from_json(cls, text: Text, ref: Ref) -> Record:
        """Read the record of that artefact; entries that nobody here knows are passed over.

        Raises ValueError for anything else than a record, for another artefact's, and for one with files outside of
        its folder.
        """
        record = _reader().validate_json(text)
        # A record that was copied to another key's place would otherwise pass for that key's artefact.
        if record.ref != ref:
            raise ValueError(f"the place of {record.ref}")
        if "/" in record.attempt or record.attempt in ("", ".", "..") or not record.attempt.isprintable():
            raise ValueError(f"attempt {record.attempt!r}")
        for name in record.files:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"file {name!r} outside of its folder")
        return record

    def to_json(self) -> str:
        """The text that `from_json` reads; equal records have equal texts."""
        content = asdict(self)
        # Where there is nothing to tell, records are as they were before there were such entries.
        if not self.ledger:
            del content["ledger"]
        if self.gpus == 1:
            del content["gpus"]
        if not self.cpu_seconds:
            del content["cpu_seconds"]
        if not self.run:
            del content["run"]
        return json.dumps(content, indent=1, sort_keys=True)


@cache
def _reader() -> TypeAdapter[Record]:
    # Made when the first record is read: a plan against an empty store reads none.
    from pydantic import TypeAdapter

    return TypeAdapter(Record)
