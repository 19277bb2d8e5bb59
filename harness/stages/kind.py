"""The central concept of the harness: a kind of stage is one class, with its identity, its runtime and its files.

A kind says what its key consists of (`identity`), what it needs to run (`runtime`), what it writes, what it costs and
what it does. Everything else in the harness asks the kind: nothing is looked up by a kind's name. A new kind is one new
file in this folder: `kinds` finds it, `targets` puts its stages into plans.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib import import_module
from inspect import isabstract
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter

from harness.store.layout import BESIDE, Ref, StageFiles
from harness.suites.data import Seen
from methods.base import BackboneOptions
from settings.components import ComponentSpec
from settings.plugins import Plugin

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from harness.stages.graph import Stage
    from harness.stages.line import Line
    from harness.stages.work import Work

__all__ = [
    "AnyKind",
    "DataRuntime",
    "Identity",
    "Numerics",
    "PhotosRuntime",
    "Place",
    "Runtime",
    "StageKind",
    "kind_of",
    "kinds",
    "parsed",
    "plain",
]


@dataclass(frozen=True)
class Numerics:
    """The part of a key that names the arithmetic: what makes the same computation differ in its last digits."""

    device: str
    """`cpu` or `cuda`; which of a machine's GPUs it is stands in no key."""
    precision: str
    memory_format: str
    cpu: str | None = None
    """The widest vector unit of the CPU (`amx`, `avx512`, …); None on a GPU."""
    threads: int | None = None
    """Compute threads, whose number changes the order of sums; None on a GPU."""
    kernels: str | None = None
    """`torch` on a CPU where numba, and with it the compiled loops, is not installed; None where it is."""
    train_processes: int | None = None
    """How many processes train together; None for one."""
    sync_batch_norm: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What decides a stage's outcome besides its inputs, hence its key; each kind of stage adds its own entries.

    An entry whose default is None is left out of the key while it is None: so a new optional entry moves no key.
    """

    numerics: Numerics | None = None
    """For stages that compute with torch; filled in when the stage is put into the graph."""
    plugins: Mapping[str, str] | None = None
    """sha256 of the text of each plug-in file that decides the outcome, by the plug-in's name."""


@dataclass(frozen=True)
class Place:
    """Where a stage finds its data: the data set, the setting that the stage stands under, the backbone."""

    dataset: ComponentSpec
    # Stages that count masks were described without one by older versions: to them it makes no difference.
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    setting: ComponentSpec | None = None
    setting_label: str = ""
    """What the suite calls the setting."""
    dataset_seen: Seen | None = None
    """What planning saw of the data set; None in older descriptions."""
    setting_seen: Seen | None = None
    """What planning saw of the setting's offer; None without a setting, and in older descriptions."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a stage needs to run and what does not change its outcome; each kind of stage adds its own entries."""

    plugins: tuple[Plugin, ...] = ()
    """The plug-in files that the stage needs, as they were read at planning."""


@dataclass(frozen=True, kw_only=True)
class DataRuntime(Runtime):
    """For stages that open a data set or what a setting offers of it."""

    place: Place
    places: Mapping[str, object] | None = None
    """The component's options that say where its files lie: in no key, since the files' contents are."""


@dataclass(frozen=True, kw_only=True)
class PhotosRuntime(DataRuntime):
    """For stages that go through photos, named by their ids."""

    ids: tuple[str, ...]
    # None: not read, or planned by an older version. See `harness.stages.planned`.
    photo_contents: tuple[str, ...] | None = None
    """The beginning of each photo's content, as planning saw it."""
    mask_contents: tuple[str, ...] | None = None
    """The beginning of each true mask's content, as planning saw it, where the stage reads masks."""
    file_contents: tuple[str, ...] | None = None
    """The beginning of the content of each photo's files of other programs, as planning saw them."""


SomeIdentity = TypeVar("SomeIdentity", bound=Identity)
SomeRuntime = TypeVar("SomeRuntime", bound=Runtime)


class StageKind(ABC, Generic[SomeIdentity, SomeRuntime]):
    """One kind of stage: what its key consists of, what it needs, what it writes, what it costs, what it does.

    Instances hold nothing; two of one class are equal. The functions that plan stages of a kind stand beside its
    class, since their arguments differ from kind to kind.
    """

    name: ClassVar[str]
    """As keys, stores and suites (`resources:`) know it: never changed."""
    identity: ClassVar[type[Identity]]
    runtime: ClassVar[type[Runtime]]
    writes: ClassVar[type[StageFiles]]
    seconds_a_photo: ClassVar[float] = 0.0
    """A guess on one core of a laptop, for estimates before anything of the kind was measured."""
    bytes_a_photo: ClassVar[int] = 0
    halves_when_out_of_memory: ClassVar[bool] = False
    """True where photos go through in batches, each for itself: half the batch cannot change what comes out."""
    sources: ClassVar[str | None] = None
    """The module whose text decides the outcome, where no component stands for the kind: rows tell when it changed."""
    curve: ClassVar[str] = ""
    """What the training curves of this kind are called; empty for kinds whose curves are not drawn."""

    @abstractmethod
    def run(self, work: Work[SomeIdentity, SomeRuntime]) -> None:
        """Read the inputs, compute, and write the stage's files; raises UserError for what the user can mend."""

    def run_together(self, works: Sequence[Work[SomeIdentity, SomeRuntime]]) -> None:
        """Run the stages of one bundle; kinds whose stages can share work override this."""
        for work in works:
            self.run(work)

    def seconds(self, stage: Stage) -> float:
        """Seconds on one core that the stage may take, guessed: the queue's order, until this store has measured."""
        return self.seconds_a_photo * stage.photos

    def bytes(self, stage: Stage) -> int:
        """Bytes that the stage may write, guessed: `plan` tells their sum before anything is written."""
        return self.bytes_a_photo * stage.photos

    def targets(self, line: Line) -> Iterable[Ref]:
        """Stages of this kind that a suite is run for, planned for one line of its leaderboard; most kinds have none.

        Rows, pictures and diagnostics are asked for elsewhere (`planning`): this is the place for a kind that stands
        beside them.
        """
        return ()

    # By class: a stage that has come to another process equals the one that was planned here.
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return self.name


# Any: no pair of identity and runtime fits all kinds, and `Stage` checks each pair where it is made.
AnyKind = StageKind[Any, Any]


@cache
def kinds() -> Mapping[str, AnyKind]:
    """Every kind of stage by its name: all subclasses of `StageKind` in the modules of this folder."""
    folder = import_module(__package__)
    for module in pkgutil.iter_modules(folder.__path__):
        import_module(f"{__package__}.{module.name}")
    found: dict[str, AnyKind] = {}
    pending = StageKind.__subclasses__()
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        # An abstract class is a common base, as `FitKind`. A test's kind elsewhere joins no suite.
        if not isabstract(kind) and kind.__module__.startswith(f"{__package__}."):
            _check(kind, found)
            found[kind.name] = kind()
    return dict(sorted(found.items()))


def _check(kind: type[AnyKind], found: Mapping[str, AnyKind]) -> None:
    """Raise TypeError for a kind that is not told whole, or whose name is taken: better than a plan without it."""
    where = f"{kind.__module__}.{kind.__name__}"
    missing = [entry for entry in ("name", "identity", "runtime", "writes") if not hasattr(kind, entry)]
    if missing:
        raise TypeError(f"{where}: no {', '.join(missing)}; a kind of stage names them all")
    if kind.name in BESIDE:
        raise TypeError(f"{where}: a store has a folder '{kind.name}' beside those of kinds; call it otherwise")
    if kind.name in found:
        other = type(found[kind.name])
        taken = f"is that of {other.__module__}.{other.__name__}"
        raise TypeError(f"{where}: the name '{kind.name}' {taken}; each kind has a name of its own")


def kind_of(name: str) -> AnyKind:
    """The kind of stage that bears the name; raises LookupError where there is none."""
    return kinds()[name]


def plain(model: DataclassInstance) -> dict[str, object]:
    """A dataclass as JSON has it; an entry that is None by default and in fact is left out, so that no key moves."""
    content: dict[str, object] = {}
    for name, is_optional in _entries(model.__class__):
        entry = getattr(model, name)
        if isinstance(entry, tuple):
            content[name] = [_plain_entry(each) for each in entry]
        elif entry is not None or not is_optional:
            content[name] = _plain_entry(entry)
    return content


def _plain_entry(value: object) -> object:
    # Most entries are text and numbers, and a plan has thousands of stages: they are told first.
    if value is None or isinstance(value, (str, int, float, Mapping)):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    return value


@cache
def _entries(model: type[DataclassInstance]) -> tuple[tuple[str, bool], ...]:
    """The names of a dataclass's entries, and whether each is left out where it is None."""
    return tuple((field.name, field.default is None) for field in fields(model))


Parsed = TypeVar("Parsed")


def parsed(model: type[Parsed], content: Mapping[str, object]) -> Parsed:
    """The dataclass that `plain` made the content of; raises ValueError where the content does not fit it."""
    return cast("Parsed", _adapter(cast("Hashable", model)).validate_python(content))


# Kept: pydantic takes longer to read a class than to read a thousand stages by it.
@cache
def _adapter(model: Hashable) -> TypeAdapter[object]:
    return TypeAdapter(cast("type[object]", model))
