"""`seedbed doctor --cluster`: each node of a cluster is asked, and its answer is held against the driver's own.

`judge` turns answers into findings and needs no cluster.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.checkups import Finding, State
from harness.checkups._machine import RAY_FULL, room_in_store
from harness.checkups._probe import Answer, Question, answer
from harness.execution.nodes import TIMEOUT_S, Node, Reply, all_nodes, ask, clock_offset
from harness.stages.provenance import PACKAGES
from harness.store.lease import TIMEOUT_S as LEASE_TIMEOUT_S

CLOCK_WARNING_S = 1.0
# A worker with torch takes 0.6 GB, Ray itself about as much, a small training the rest.
MEMORY_WARNING = 2 * 10**9
PINNED = "or run with --packages pinned"


@dataclass(frozen=True)
class Probed:
    """A node and what it answered; without an answer the trouble that it had."""

    node: Node
    answer: Answer | None = None
    offset_s: float = 0.0
    """How far its clock is ahead of the driver's."""
    offset_error_s: float = 0.0
    is_seen: bool = True
    """Whether the driver sees what the node wrote into the store."""
    trouble: str = ""


def probe(address: str, question: Question, timeout_s: float = TIMEOUT_S) -> list[Probed]:
    """Ask each node of the cluster at `address`, which has `timeout_s` to answer; dead nodes are told, not asked.

    Raises UserError where no cluster answers.
    """
    from harness.execution.cluster import connect, disconnect

    connect(address)
    try:
        alive = [node for node in all_nodes() if node.is_alive]
        replies = ask(alive, answer, lambda node: (question, node.id, node.gpus), timeout_s)
        # The nodes are looked at again: Ray takes some seconds to notice that one is gone.
        return [_probed(node, replies.get(node.id), question, timeout_s) for node in all_nodes()]
    finally:
        disconnect()


def judge(probed: Sequence[Probed], here: Answer, question: Question) -> Iterator[Finding]:
    """All findings: the cluster, then each node against the driver's own answer `here`."""
    alive = [each.node for each in probed if each.node.is_alive]
    cpus, gpus = sum(node.cpus for node in alive), sum(node.gpus for node in alive)
    found = f"{len(alive)} nodes alive, {len(probed) - len(alive)} dead; {cpus:g} CPUs, {gpus:g} GPUs"
    if alive:
        yield Finding("cluster", "ok", found)
    else:
        yield Finding("cluster", "error", found, "start Ray on a node: `ray start`")
    if question.meeting.driver_trouble:
        found = f"{_place(question)} {question.meeting.driver_trouble}: no node was asked for it"
        yield Finding("driver: store", "error", found, "mend its rights, or use another --store")
    hosts = Counter(each.node.host for each in probed)
    for each in probed:
        name = each.node.host
        # Several nodes of one host are told apart by their ids.
        if hosts[name] > 1:
            name = f"{name}/{each.node.id[:6]}"
        for finding in _of_node(each, here, question):
            yield Finding(f"{name}: {finding.name}", finding.state, finding.found, finding.mend)


def _probed(node: Node, reply: Reply[Answer] | None, question: Question, timeout_s: float) -> Probed:
    if not node.is_alive:
        return Probed(node)
    if reply is None:
        return Probed(node, trouble=f"no answer within {timeout_s:g} s")
    if reply.value is None:
        return Probed(node, trouble=reply.trouble)
    clock = clock_offset(node)
    if clock.value is None:
        return Probed(node, trouble=clock.trouble)
    has_written = not question.meeting.driver_trouble and not reply.value.store_trouble
    is_seen = not has_written or question.meeting.has_seen(node.id)
    return Probed(node, reply.value, *clock.value, is_seen)


def _of_node(probed: Probed, here: Answer, question: Question) -> Iterator[Finding]:
    answer = probed.answer
    if not probed.node.is_alive:
        mend = "start Ray there again, or go on without it: its stages run elsewhere"
        yield Finding("node", "warning", f"dead ({probed.node.reason or 'Ray does not say why'})", mend)
    elif answer is None:
        mend = (
            "install Seedbed and what it needs there (pip install -c constraints.txt), "
            "or see Ray's logs there: /tmp/ray/session_latest/logs; `ray stop` there takes it out"
        )
        yield Finding("probe", "error", probed.trouble, mend)
    else:
        yield _sources(answer, here)
        yield _python(answer, here)
        yield from _packages(answer, here)
        yield _devices(answer, probed.node.gpus)
        yield _clock(probed.offset_s, probed.offset_error_s)
        if not question.meeting.driver_trouble:
            yield _store(answer, probed.is_seen, question)
        yield from _data(answer, question)
        yield _memory(answer)
        yield _disk(answer)


def _sources(answer: Answer, here: Answer) -> Finding:
    """Seedbed's own code travels with each run, but another copy on the node may come first."""
    if answer.sources == here.sources:
        return Finding("sources", "ok", f"the driver's ({here.sources[:8]})")
    found = f"{answer.sources[:8]}, and the driver's are {here.sources[:8]}"
    return Finding("sources", "error", found, "take away the other Seedbed that comes first there (PYTHONPATH)")


def _python(answer: Answer, here: Answer) -> Finding:
    """Python's minor version must agree; another patch may do."""
    if answer.python == here.python:
        return Finding("python", "ok", answer.python)
    # Pickles of one minor version are understood by its other patches.
    state: State = "error"
    if answer.python.split(".")[:2] == here.python.split(".")[:2]:
        state = "warning"
    return Finding("python", state, f"{answer.python}, and the driver's is {here.python}", f"use {here.python} there")


def _packages(answer: Answer, here: Answer) -> Iterator[Finding]:
    """Those that the driver has; a package that rows name must agree, its build (`+cu128`) may differ."""
    # What the driver lacks no stage will ask for.
    wanted = {name: version for name, version in here.packages.items() if version}
    same = 0
    for name, version in wanted.items():
        found = answer.packages.get(name, "")
        if _public(found) == _public(version):
            same += 1
            continue
        # What rows name decides outcomes; the rest of them only has to be there.
        state: State = "error" if not found or name in PACKAGES else "warning"
        mend = f"pip install {name}=={_public(version)} there"
        # Ray cannot replace itself while it runs.
        if name != "ray":
            mend += f", {PINNED}"
        yield Finding(name, state, f"{found or 'absent'}, and the driver has {version}", mend)
    yield Finding("packages", "ok", f"{same} of {len(wanted)} are the driver's")


def _devices(answer: Answer, declared: float) -> Finding:
    """GPUs that Ray gives out against those that torch can use."""
    if answer.gpu_trouble:
        mend = "reinstall torch there; `seedbed doctor --imports` there tells more"
        return Finding("gpus", "error", f"torch could not be asked ({answer.gpu_trouble})", mend)
    found = f"Ray declares {declared:g}, torch finds {answer.gpus}"
    restart = f"start Ray there with --num-gpus={answer.gpus}"
    if declared > answer.gpus:
        return Finding("gpus", "error", found, f"a CUDA build of torch and a driver there (nvidia-smi), or {restart}")
    if declared < answer.gpus:
        return Finding("gpus", "warning", f"{found}: they stay idle", restart)
    if not declared:
        return Finding("gpus", "ok", "none")
    return Finding("gpus", "ok", f"{declared:g}")


def _clock(offset_s: float, error_s: float) -> Finding:
    """Leases compare file times with clocks: an offset that comes near their timeout takes living workers for dead."""
    # What the way there may hide is not held against the clock.
    certain_s = max(0.0, abs(offset_s) - error_s)
    found = f"{offset_s:+.3f} s ± {error_s:.3f} s against the driver's"
    mend = "set its clock by NTP (chronyd, systemd-timesyncd)"
    if certain_s > LEASE_TIMEOUT_S / 2:
        return Finding("clock", "error", found, mend)
    if certain_s > CLOCK_WARNING_S:
        return Finding("clock", "warning", found, mend)
    return Finding("clock", "ok", found)


def _store(answer: Answer, is_seen: bool, question: Question) -> Finding:
    """Whether the store is the same folder there as here, in both directions; one behind a URL was opened there."""
    is_url = question.meeting.is_url
    place = _place(question)
    trouble = answer.store_trouble
    if not trouble and not is_seen:
        trouble = "is another folder there: what it wrote is not seen here"
    if trouble:
        mend = "its package and credentials there" if is_url else "mount it there at the same path"
        return Finding("store", "error", f"{place} {trouble}", f"{mend}, or use another --store (a path or a URL)")
    if is_url:
        return Finding("store", "ok", f"{place} was opened there")
    state, mend = room_in_store(answer.store_free)
    return Finding("store", state, f"{place}: seen both ways, {answer.store_free / 1e9:.1f} GB free", mend)


def _data(answer: Answer, question: Question) -> Iterator[Finding]:
    """Each folder that the driver's configuration names."""
    for name, root in question.data.items():
        if trouble := answer.data_troubles.get(name, ""):
            yield Finding(name, "error", f"{root} {trouble}", "mount it there at the same path")
        else:
            yield Finding(name, "ok", root)


def _memory(answer: Answer) -> Finding:
    if answer.memory_free < 0:
        return Finding("memory", "ok", "this kernel does not tell")
    found = f"{answer.memory_free / 1e9:.1f} GB free"
    if answer.memory_free < MEMORY_WARNING:
        return Finding("memory", "warning", found, "end other programs there, or run with fewer --slots")
    return Finding("memory", "ok", found)


def _disk(answer: Answer) -> Finding:
    """The disk where Ray keeps its session."""
    full = 1 - answer.temporary_free / max(answer.temporary_total, 1)
    found = f"{answer.temporary_free / 1e9:.1f} GB free ({full:.0%} full) for temporary files"
    if full > RAY_FULL:
        return Finding("disk", "warning", found, "free space there, or start Ray there with --temp-dir on another disk")
    return Finding("disk", "ok", found)


def _place(question: Question) -> str:
    """The store's path; a URL is left out, since it may hold secrets."""
    return "the store's URL" if question.meeting.is_url else question.meeting.store


def _public(version: str) -> str:
    """A version without its build: 2.10.1+cu128 → 2.10.1."""
    return re.sub(r"\+.*", "", version)
