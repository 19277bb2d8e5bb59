"""Asking every node of a cluster about itself: one task a node, on that node or nowhere."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.checkups.cluster import Node, Probed
from harness.checkups.meeting import Meeting, meeting_in
from harness.checkups.probe import Question, answer, clock
from harness.execution.cluster import connect, disconnect

TIMEOUT_S = 30.0
CLOCK_S, LOOKS = 5.0, 3
"""How long a node may take to tell the time; of so many looks the one with the shortest way counts."""


def probe_nodes(address: str, question: Question, timeout_s: float = TIMEOUT_S) -> list[Probed]:
    """What each node of the cluster at `address` answers within `timeout_s`; dead nodes are told, not asked.

    Raises UserError where no cluster answers.
    """
    connect(address)
    try:
        told = _asked(question, timeout_s)
        # Looked at again: Ray takes some seconds to notice that a node is gone.
        return [_taken(node, told.get(node.id), question, timeout_s) for node in _nodes()]
    finally:
        disconnect()


def strangers_to(store: str) -> dict[str, str]:
    """Of the cluster that this process is connected to: nodes to which a store is no store, and why."""
    meeting = meeting_in(store).begin()
    try:
        if meeting.driver_trouble:
            return {"this machine": meeting.driver_trouble}
        alive = [node for node in _nodes() if node.is_alive]
        asked = {_on(node, _visit).remote(meeting, node.id): node for node in alive if node.cpus}
        ended, _ = ray.wait(list(asked), num_returns=len(asked), timeout=TIMEOUT_S)
        return {asked[reference].host: trouble for reference in ended if (trouble := _trouble(reference))}
    finally:
        meeting.end()


def _visit(meeting: Meeting, node: str) -> str:
    return meeting.visit(node)


def _trouble(reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as error:
        return _reason(error)


def _asked(question: Question, timeout_s: float) -> dict[str, Any]:
    """The references of those that ended in time, by node; the others are given up."""
    asked = {node.id: _on(node, answer).remote(question, node.id, node.gpus) for node in _nodes() if node.is_alive}
    ended = set(ray.wait(list(asked.values()), num_returns=len(asked), timeout=timeout_s)[0]) if asked else set()
    for reference in set(asked.values()) - ended:
        ray.cancel(reference, force=True)
    return {node: reference for node, reference in asked.items() if reference in ended}


def _taken(node: Node, reference: Any, question: Question, timeout_s: float) -> Probed:
    if not node.is_alive:
        return Probed(node)
    if reference is None:
        return Probed(node, trouble=f"no answer within {timeout_s:g} s")
    try:
        given = ray.get(reference)
        offset_s, way_s = _clock(node)
    except ray.exceptions.RayError as error:
        return Probed(node, trouble=_reason(error))
    asked_store = not (question.meeting.driver_trouble or given.store_trouble)
    return Probed(node, given, offset_s, way_s, not asked_store or question.meeting.has_seen(node.id))


def _clock(node: Node) -> tuple[float, float]:
    """(how far the node's clock is ahead of this one, by how much that may be wrong), in seconds."""
    tell = _on(node, clock)
    looks = []
    for _ in range(LOOKS):
        before, began = time.time(), time.monotonic()
        there = ray.get(tell.remote(), timeout=CLOCK_S)
        half = (time.monotonic() - began) / 2
        looks.append((there - before - half, half))
    return min(looks, key=lambda look: look[1])


def _on(node: Node, function: Any) -> Any:
    """The function as a task of no CPU, so that a node that is busy answers too."""
    strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(max_retries=0, num_cpus=0)(function).options(scheduling_strategy=strategy)


def _nodes() -> list[Node]:
    entries: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sorted(map(_node, entries), key=lambda node: (node.host, node.id))


def _node(entry: dict[str, Any]) -> Node:
    resources = entry.get("Resources") or {}
    return Node(
        id=entry["NodeID"],
        host=entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress") or entry["NodeID"][:8],
        is_alive=bool(entry["Alive"]),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        reason=" ".join(str(entry.get("DeathReasonMessage") or "").split())[:200],
    )


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[-1] if cause is error else lines[0]}"[:300]
