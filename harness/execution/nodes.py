"""The nodes of a Ray cluster: which there are, what they offer, and asking all of them one question.

Nodes import this module to answer, also those where nothing is installed that Seedbed depends on: it needs Python
alone. Ray is imported in those functions that the driver calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypedDict, TypeVar

from harness.execution.credentials import Credentials, adopt, credentials
from harness.execution.meeting import Meeting, meeting_in

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["TIMEOUT_S", "Node", "Reply", "all_nodes", "ask", "clock_offset", "offered", "strangers_to"]

T = TypeVar("T")
TIMEOUT_S = 60.0
"""How long nodes have to answer; a doctor's question needs most of it where torch comes over a network, or the node
is busy: Ray starts workers with a niceness of 15."""
CLOCK_S = 5.0
"""How long a node may take to tell the time."""
CLOCK_LOOKS = 3
"""How often it is asked for the time: the quickest answer is the most exact one."""


class _Entry(TypedDict, total=False):
    """What `ray.nodes` tells of a node, as far as it is read here; a dead one has no resources."""

    NodeID: str
    NodeManagerHostname: str
    NodeManagerAddress: str
    Alive: bool
    Resources: dict[str, float]
    DeathReasonMessage: str | None


class _Task(Protocol[T]):
    """A function as a Ray task, as far as it is used here: Ray has types for functions of known arguments alone."""

    def remote(self, *arguments: object) -> ObjectRef[T]:
        """Start it on a worker; what it returns can be fetched by the reference."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster, as Ray knows it."""

    id: str
    host: str
    is_alive: bool
    cpus: float = 0.0
    gpus: float = 0.0
    """GPUs that Ray was told of, or found, when it was started there."""
    reason: str = ""
    """Why the node is dead."""


@dataclass(frozen=True)
class Reply(Generic[T]):
    """What a node's answer was, or the trouble that it had in giving one."""

    value: T | None = None
    trouble: str = ""


def all_nodes() -> list[Node]:
    """Every node, dead ones too, of the cluster that this process is connected to, sorted by host."""
    return sorted(map(_node, _entries()), key=lambda node: (node.host, node.id))


def offered() -> list[dict[str, float]]:
    """What each node that is alive offers, by Ray's names: `CPU`, `GPU`, `memory` in bytes, custom resources."""
    return [entry["Resources"] for entry in _entries() if entry["Alive"]]


def ask(
    nodes: Sequence[Node], function: Callable[..., T], arguments: Callable[[Node], tuple[object, ...]], timeout_s: float
) -> dict[str, Reply[T]]:
    """The replies of nodes by their id; one that takes longer than `timeout_s` is given up and has no entry.

    Each node runs `function(*arguments(node))` as a task of its own, which no other node may run in its place, with
    what opens stores here.
    """
    import ray

    tasks = {node.id: _task_on(node, _asked).remote(credentials(), function, *arguments(node)) for node in nodes}
    if not tasks:
        return {}
    ended, late = ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=timeout_s)
    # A worker that hangs (a dead network drive) is ended, or it would stay there for good.
    for task in late:
        ray.cancel(task, force=True)
    return {node_id: _reply(task) for node_id, task in tasks.items() if task in ended}


def clock_offset(node: Node) -> Reply[tuple[float, float]]:
    """How many seconds a node's clock is ahead of this machine's, and by how many seconds that may be wrong."""
    import ray

    task = _task_on(node, _clock)
    looks = []
    try:
        for _ in range(CLOCK_LOOKS):
            before, began = time.time(), time.monotonic()
            there = ray.get(task.remote(), timeout=CLOCK_S)
            # The answer was given somewhere between asking and hearing: in the middle, give or take half of it.
            one_way = (time.monotonic() - began) / 2
            looks.append((there - before - one_way, one_way))
    except ray.exceptions.RayError as error:
        return Reply(trouble=_reason(error))
    return Reply(min(looks, key=lambda look: look[1]))


def strangers_to(store: str) -> dict[str, str]:
    """The hosts to which a store is another folder than to this process, or none, and what is wrong there.

    This process must be connected to the cluster. Nodes without CPUs run no stage and are not asked.
    """
    meeting = meeting_in(store).begin()
    try:
        if meeting.driver_trouble:
            return {"this machine": meeting.driver_trouble}
        asked = {node.id: node for node in all_nodes() if node.is_alive and node.cpus}
        replies = ask(list(asked.values()), Meeting.visit, lambda node: (meeting, node.id), TIMEOUT_S)
        troubles = {asked[node_id].host: reply.value or reply.trouble for node_id, reply in replies.items()}
        return {host: trouble for host, trouble in troubles.items() if trouble}
    finally:
        meeting.end()


def _asked(handed: Credentials, function: Callable[..., T], *arguments: object) -> T:
    adopt(handed)
    return function(*arguments)


def _clock() -> float:
    # Of our own, since Ray takes no builtin function for a task.
    return time.time()


def _entries() -> list[_Entry]:
    import ray

    entries: list[_Entry] = ray.nodes()  # type: ignore[no-untyped-call]
    return entries


def _node(entry: _Entry) -> Node:
    resources = entry.get("Resources") or {}
    reason = str(entry.get("DeathReasonMessage") or "")
    return Node(
        id=entry["NodeID"],
        host=entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress") or entry["NodeID"][:8],
        is_alive=bool(entry["Alive"]),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        reason=" ".join(reason.split())[:200],
    )


def _task_on(node: Node, function: Callable[..., T]) -> _Task[T]:
    """The function as a Ray task that this node alone may run; it takes no CPU, so that a busy node answers too."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Not soft: another node would answer for one that has died meanwhile.
    strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
    task: _Task[T] = ray.remote(max_retries=0, num_cpus=0)(function).options(scheduling_strategy=strategy)
    return task


def _reply(task: ObjectRef[T]) -> Reply[T]:
    import ray

    try:
        return Reply(ray.get(task))
    except ray.exceptions.RayError as error:
        return Reply(trouble=_reason(error))


def _reason(error: Exception) -> str:
    """One line: of the error on the node its message, of Ray's own errors the last line, which names the cause."""
    # Ray wraps what a task raised, and tells its whole traceback in the message.
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [""]
    told = lines[0]
    if cause is error:
        told = lines[-1]
    return f"{type(cause).__name__}: {told}"[:300]
