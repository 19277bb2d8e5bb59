"""From what the nodes of a cluster answer to findings; pure, so that it needs no cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.checkups import Finding, State
from harness.checkups.machine import RAY_FULL, STORE_ERROR, STORE_WARNING
from harness.checkups.probe import Answer, Question
from harness.stages.provenance import PACKAGES
from harness.store.lease import TIMEOUT_S

CLOCK_WARNING_S = 1.0
MEMORY_WARNING = 2 * 10**9
"""A worker with torch takes 0.6 GB, Ray itself about as much, a small training the rest."""
PINNED = "or run with --packages pinned"


@dataclass(frozen=True)
class Node:
    """A node as Ray knows it."""

    id: str
    host: str
    is_alive: bool
    cpus: float = 0.0
    gpus: float = 0.0
    """Those that Ray was told, or found, when it was started there."""
    reason: str = ""
    """Why it is dead."""


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


def judge(probed: Sequence[Probed], here: Answer, question: Question) -> Iterator[Finding]:
    """All findings: the cluster, then each node against the driver's own answer `here`."""
    hosts = Counter(each.node.host for each in probed)
    alive = [each.node for each in probed if each.node.is_alive]
    found = (
        f"{len(alive)} nodes alive, {len(probed) - len(alive)} dead; "
        f"{sum(node.cpus for node in alive):g} CPUs, {sum(node.gpus for node in alive):g} GPUs"
    )
    mend = "" if alive else "start Ray on a node: `ray start`"
    yield Finding("cluster", "ok" if alive else "error", found, mend)
    if question.meeting.driver_trouble:
        found = f"{_place(question)} {question.meeting.driver_trouble}: no node was asked for it"
        yield Finding("driver: store", "error", found, "mend its rights, or use another --store")
    for each in probed:
        name = each.node.host if hosts[each.node.host] == 1 else f"{each.node.host}/{each.node.id[:6]}"
        for finding in _of_node(each, here, question):
            yield Finding(f"{name}: {finding.name}", finding.state, finding.found, finding.mend)


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
        yield sources(answer, here)
        yield python(answer, here)
        yield from packages(answer, here)
        yield devices(answer, probed.node.gpus)
        yield clock(probed.offset_s, probed.offset_error_s)
        if not question.meeting.driver_trouble:
            yield store(answer, probed.is_seen, question)
        yield from data(answer, question)
        yield memory(answer)
        yield disk(answer)


def sources(answer: Answer, here: Answer) -> Finding:
    """Seedbed's own code: it travels with each run, but another copy may come first."""
    if answer.sources == here.sources:
        return Finding("sources", "ok", f"the driver's ({here.sources[:8]})")
    found = f"{answer.sources[:8]}, and the driver's are {here.sources[:8]}"
    return Finding("sources", "error", found, "take away the other Seedbed that comes first there (PYTHONPATH)")


def python(answer: Answer, here: Answer) -> Finding:
    """The same minor version is needed; another patch may be well."""
    if answer.python == here.python:
        return Finding("python", "ok", answer.python)
    state: State = "warning" if _minor(answer.python) == _minor(here.python) else "error"
    return Finding("python", state, f"{answer.python}, and the driver's is {here.python}", f"use {here.python} there")


def packages(answer: Answer, here: Answer) -> Iterator[Finding]:
    """Those that the driver has. A build (`+cu128`) may differ: devices tell; what rows name must not."""
    wanted = {name: version for name, version in here.packages.items() if version}
    same = 0
    for name, version in wanted.items():
        found = answer.packages.get(name, "")
        if _public(found) == _public(version):
            same += 1
            continue
        state: State = "error" if not found or name in PACKAGES else "warning"
        mend = f"pip install {name}=={_public(version)} there" + ("" if name == "ray" else f", {PINNED}")
        yield Finding(name, state, f"{found or 'absent'}, and the driver has {version}", mend)
    yield Finding("packages", "ok", f"{same} of {len(wanted)} are the driver's")


def devices(answer: Answer, declared: float) -> Finding:
    """GPUs that Ray gives out against those that torch can use."""
    found = f"Ray declares {declared:g}, torch finds {answer.gpus}"
    if answer.gpu_trouble:
        mend = "reinstall torch there; `seedbed doctor --imports` there tells more"
        return Finding("gpus", "error", f"torch could not be asked ({answer.gpu_trouble})", mend)
    if declared > answer.gpus:
        mend = (
            f"a CUDA build of torch and a driver there (nvidia-smi), or start Ray there with --num-gpus={answer.gpus}"
        )
        return Finding("gpus", "error", found, mend)
    if declared < answer.gpus:
        return Finding("gpus", "warning", f"{found}: they stay idle", f"start Ray there with --num-gpus={answer.gpus}")
    return Finding("gpus", "ok", f"{declared:g}" if declared else "none")


def clock(offset_s: float, error_s: float) -> Finding:
    """Leases compare file times with clocks: an offset that comes near their timeout takes living workers for dead."""
    certain_s = max(0.0, abs(offset_s) - error_s)
    state: State = "error" if certain_s > TIMEOUT_S / 2 else "warning" if certain_s > CLOCK_WARNING_S else "ok"
    found = f"{offset_s:+.3f} s ± {error_s:.3f} s against the driver's"
    return Finding("clock", state, found, "" if state == "ok" else "set its clock by NTP (chronyd, systemd-timesyncd)")


def store(answer: Answer, is_seen: bool, question: Question) -> Finding:
    """Whether it is the same folder there as here, both ways; one behind a URL was opened there."""
    is_url = question.meeting.is_url
    place = _place(question)
    trouble = answer.store_trouble or ("" if is_seen else "is another folder there: what it wrote is not seen here")
    if trouble:
        mend = "its package and credentials there" if is_url else "mount it there at the same path"
        return Finding("store", "error", f"{place} {trouble}", f"{mend}, or use another --store (a path or a URL)")
    if is_url:
        return Finding("store", "ok", f"{place} was opened there")
    free = answer.store_free
    state: State = "error" if free < STORE_ERROR else "warning" if free < STORE_WARNING else "ok"
    mend = "" if state == "ok" else "`seedbed store gc SUITE…`, or a --store on a larger disk"
    return Finding("store", state, f"{place}: seen both ways, {free / 1e9:.1f} GB free", mend)


def data(answer: Answer, question: Question) -> Iterator[Finding]:
    """Each folder that the driver's configuration names."""
    for name, root in question.data.items():
        if trouble := answer.data_troubles.get(name, ""):
            yield Finding(name, "error", f"{root} {trouble}", "mount it there at the same path")
        else:
            yield Finding(name, "ok", root)


def memory(answer: Answer) -> Finding:
    """Memory that programs can still have."""
    if answer.memory_free < 0:
        return Finding("memory", "ok", "this kernel does not tell")
    mend = "end other programs there, or run with fewer --slots" if answer.memory_free < MEMORY_WARNING else ""
    return Finding("memory", "warning" if mend else "ok", f"{answer.memory_free / 1e9:.1f} GB free", mend)


def disk(answer: Answer) -> Finding:
    """Where Ray keeps its session."""
    full = 1 - answer.temporary_free / max(answer.temporary_total, 1)
    mend = "free space there, or start Ray there with --temp-dir on another disk" if full > RAY_FULL else ""
    found = f"{answer.temporary_free / 1e9:.1f} GB free ({full:.0%} full) for temporary files"
    return Finding("disk", "warning" if mend else "ok", found, mend)


def _place(question: Question) -> str:
    """The store, without what a URL may hold of secrets."""
    return "the store's URL" if question.meeting.is_url else question.meeting.store


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _public(version: str) -> str:
    """2.10.1+cu128 → 2.10.1."""
    return re.sub(r"\+.*", "", version)
