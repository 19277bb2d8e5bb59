"""Stages and how they hang together: the vocabulary of planner, executors and store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from harness.stages.kind import AnyKind, Identity, Numerics, Place, Runtime, kind_of, parsed, plain
from harness.store.layout import Ref
from harness.suites.resources import Demand, Wants
from settings.records import fingerprint

__all__ = ["Graph", "Stage", "missing_stages"]


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
        """sha256 in hexadecimal."""
        inputs = {role: [list(ref) for ref in refs] for role, refs in self.inputs.items()}
        return fingerprint({"kind": self.kind.name, "identity": plain(self.identity), "inputs": inputs})

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def slots(self) -> int:
        """Compute threads of all its processes."""
        return self.threads * self.processes

    @cached_property
    def ref(self) -> Ref:
        """Where its artefact is found."""
        return Ref(self.kind.name, self.key)

    @property
    def numerics(self) -> Numerics:
        """The arithmetic that its key names; that of one CPU thread for stages that compute without torch."""
        return self.identity.numerics or Numerics("cpu", "float32", "channels_last")

    @property
    def device(self) -> str:
        """Where it computes: `cpu` or `cuda`."""
        return self.numerics.device

    def wants(self) -> Wants:
        """What must be free so that it can run."""
        return self.demand.wants(self.slots, self.processes, self.device)

    def needs(self) -> Iterator[Ref]:
        """All artefacts that it reads, role by role; one that has two roles comes twice."""
        return (ref for refs in self.inputs.values() for ref in refs)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as descriptions and other processes have it; `from_json` reads them."""
        runtime = plain(self.runtime)
        # On disk the place stands flat among the other entries: so the descriptions of older stores are read too.
        runtime |= runtime.pop("place", {})
        return {
            "kind": self.kind.name,
            "identity": plain(self.identity),
            "inputs": {role: [list(ref) for ref in refs] for role, refs in self.inputs.items()},
            "runtime": runtime,
            "label": self.label,
            "group": self.group,
            "photos": self.photos,
            "threads": self.threads,
            "processes": self.processes,
            "bundle": self.bundle,
            "demand": asdict(self.demand),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stage:
        """The stage that `to_json` wrote; raises LookupError, TypeError or ValueError for anything else."""
        kind = kind_of(content["kind"])
        runtime = dict(content["runtime"])
        if "place" in {field.name for field in fields(kind.runtime)}:
            runtime["place"] = {name: runtime.pop(name) for name in _PLACE if name in runtime}
        return cls(
            kind,
            parsed(kind.identity, content["identity"]),
            parsed(kind.runtime, runtime),
            {role: tuple(Ref(*ref) for ref in refs) for role, refs in content["inputs"].items()},
            content["label"],
            content["group"],
            content["photos"],
            content["threads"],
            content.get("processes", 1),
            content["bundle"],
            Demand.from_json(content["demand"]) if "demand" in content else Demand(),
        )


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
