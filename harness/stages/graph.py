"""Stages and how they hang together: the vocabulary of planner, executors and store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import NotRequired, TypedDict

from harness.stages.kind import AnyKind, Identity, Numerics, Place, Runtime, kind_of, parsed, plain
from harness.store.layout import Ref
from harness.suites.resources import Demand, Wants
from settings.records import fingerprint

__all__ = ["Graph", "Stage", "StageContent", "missing_stages"]


class StageContent(TypedDict):
    """A stage in plain types, as descriptions on disk and other processes have it."""

    kind: str
    identity: dict[str, object]
    inputs: dict[str, list[list[str]]]
    runtime: dict[str, object]
    label: str
    group: str
    photos: int
    threads: int
    processes: NotRequired[int]
    bundle: str
    demand: NotRequired[dict[str, object]]


@dataclass(frozen=True)
class Stage:
    """One unit of work. Its key is the sha256 of kind, identity and inputs: all that can change the outcome."""

    kind: AnyKind
    identity: Identity
    runtime: Runtime = field(default_factory=Runtime)
    inputs: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    """The artefacts that it reads, by the role that they have for it."""
    label: str = ""
    """What people are told of it: recipe, setting, rng seed, step."""
    group: str = ""
    """Stages of one group are shown as one line: `features of train and dev`, `cam · maps`."""
    photos: int = 0
    threads: int = 1
    """Compute threads of each process."""
    processes: int = 1
    """How many processes train it together."""
    bundle: str = ""
    """Stages of one bundle that are ready together run as one job, because they share work."""
    demand: Demand = field(default_factory=Demand)
    """What else it asks of the machine that runs it."""

    def __post_init__(self) -> None:
        # The one place where identities and runtimes of all kinds mix: from here on `Work` relies on their types.
        if not isinstance(self.identity, self.kind.identity) or not isinstance(self.runtime, self.kind.runtime):
            found = f"{type(self.identity).__name__} and {type(self.runtime).__name__}"
            raise TypeError(f"a stage of kind {self.kind} with {found}")

    @cached_property
    def key(self) -> str:
        """sha256 in hexadecimal over kind, identity and inputs, whose own keys stand for all that lies behind them."""
        return fingerprint({"kind": self.kind.name, "identity": plain(self.identity), "inputs": self._plain_inputs()})

    def __hash__(self) -> int:
        # By the key: the mappings among the entries have no hash of their own.
        return hash(self.key)

    @property
    def slots(self) -> int:
        """How many compute threads all its processes take together: so many slots of a run are busy with it."""
        return self.threads * self.processes

    @cached_property
    def ref(self) -> Ref:
        """Kind and key: the address of its artefact in any store."""
        return Ref(self.kind.name, self.key)

    @property
    def numerics(self) -> Numerics:
        """The arithmetic that its key names; that of one CPU thread for stages that compute without torch."""
        return self.identity.numerics or Numerics("cpu", "float32", "channels_last")

    @property
    def device(self) -> str:
        """The kind of device that it computes on, as its key names it: `cpu` or `cuda`."""
        return self.numerics.device

    def wants(self) -> Wants:
        """What must be free on a machine so that all its processes can run: threads, GPUs, memory, custom resources."""
        return self.demand.wants(self.slots, self.processes, self.device)

    def needs(self) -> Iterator[Ref]:
        """All artefacts that it reads, role by role; one that has two roles comes twice."""
        for refs in self.inputs.values():
            yield from refs

    def to_json(self) -> StageContent:
        """The stage in plain types, with what it needs to run, for descriptions and other processes."""
        runtime = plain(self.runtime)
        # On disk the place stands flat among the other entries: so the descriptions of older stores are read too.
        place = runtime.pop("place", {})
        assert isinstance(place, dict)
        return {
            "kind": self.kind.name,
            "identity": plain(self.identity),
            "inputs": self._plain_inputs(),
            "runtime": runtime | place,
            "label": self.label,
            "group": self.group,
            "photos": self.photos,
            "threads": self.threads,
            "processes": self.processes,
            "bundle": self.bundle,
            "demand": asdict(self.demand),
        }

    @classmethod
    def from_json(cls, content: StageContent) -> Stage:
        """The stage that `to_json` wrote; raises LookupError, TypeError or ValueError for anything else."""
        kind = kind_of(content["kind"])
        runtime = dict(content["runtime"])
        if "place" in {field.name for field in fields(kind.runtime)}:
            runtime["place"] = {name: runtime.pop(name) for name in _PLACE if name in runtime}
        inputs = {}
        for role, refs in content["inputs"].items():
            inputs[role] = tuple(Ref(*ref) for ref in refs)
        return cls(
            kind,
            parsed(kind.identity, content["identity"]),
            parsed(kind.runtime, runtime),
            inputs,
            content["label"],
            content["group"],
            content["photos"],
            content["threads"],
            # Descriptions of older stores know neither several processes nor a demand.
            content.get("processes", 1),
            content["bundle"],
            parsed(Demand, content.get("demand", {})),
        )

    def _plain_inputs(self) -> dict[str, list[list[str]]]:
        plain_inputs = {}
        for role, refs in self.inputs.items():
            plain_inputs[role] = [list(ref) for ref in refs]
        return plain_inputs


_PLACE = tuple(field.name for field in fields(Place))
Graph = Mapping[Ref, Stage]
"""Stages by reference, every stage after its inputs."""


def missing_stages(graph: Graph, targets: Iterable[Ref], exists: Mapping[Ref, bool]) -> dict[Ref, Stage]:
    """The stages that must run so that all targets exist, in the graph's order.

    What lies behind an existing artefact is not looked at: a finished suite asks for its rows alone.
    """
    wanted: set[Ref] = set()
    pending = list(targets)
    while pending:
        ref = pending.pop()
        if ref not in wanted and not exists[ref]:
            wanted.add(ref)
            pending.extend(graph[ref].needs())
    return {ref: stage for ref, stage in graph.items() if ref in wanted}
