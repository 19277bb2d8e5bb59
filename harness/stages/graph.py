"""Stages and how they hang together: the vocabulary of planner, executors and store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from harness.store.layout import Ref
from harness.suites.resources import Demand, Wants
from settings.records import fingerprint

KINDS = (
    *("weak_set", "classify", "filter", "features"),
    *("localizer_fit", "localizer_apply", "refiner_fit", "refiner_apply", "cue_fit", "cue", "reveal", "label"),
    *("segmenter_fit", "segment", "sweep", "score", "select", "row", "gallery"),
    *("examine", "diagnose", "examine_cue"),
)
"""All kinds of stage."""


@dataclass(frozen=True)
class Stage:
    """One unit of work. Its key is the sha256 of kind, identity and inputs: all that can change the outcome."""

    kind: str
    identity: Mapping[str, Any]
    inputs: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    """What the stage needs to run but what does not change its outcome: where data lie, which ids belong to it."""
    label: str = ""
    group: str = ""
    """Stages of one group are shown as one line: `features`, `cam · fit`."""
    photos: int = 0
    threads: int = 1
    """Compute threads of each process."""
    processes: int = 1
    """How many processes train it together."""
    bundle: str = ""
    """Stages of one bundle that are ready together run as one job, because they share work."""
    demand: Demand = field(default_factory=Demand)
    """What else it asks of the machine that runs it."""

    @cached_property
    def key(self) -> str:
        """sha256, in hexadecimal."""
        inputs = {role: [list(ref) for ref in refs] for role, refs in self.inputs.items()}
        return fingerprint({"kind": self.kind, "identity": self.identity, "inputs": inputs})

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def slots(self) -> int:
        """Compute threads of all its processes."""
        return self.threads * self.processes

    @property
    def ref(self) -> Ref:
        """Kind and key."""
        return Ref(self.kind, self.key)

    @property
    def device(self) -> str:
        """Where it computes: `cpu` or `cuda`."""
        return str(self.identity.get("numerics", {}).get("device", "cpu"))

    def wants(self) -> Wants:
        """What must be free so that it can run."""
        return self.demand.wants(self.slots, self.processes, self.device)

    def needs(self) -> Iterator[Ref]:
        """All inputs."""
        return (ref for refs in self.inputs.values() for ref in refs)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as workers receive it."""
        return {**asdict(self), "inputs": {role: [list(ref) for ref in refs] for role, refs in self.inputs.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stage:
        """The stage that `to_json` wrote."""
        inputs = {role: tuple(Ref(*ref) for ref in refs) for role, refs in content["inputs"].items()}
        demand = Demand.from_json(content["demand"]) if "demand" in content else Demand()
        return cls(**{**content, "inputs": inputs, "demand": demand})


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
