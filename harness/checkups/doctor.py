"""`seedbed doctor`: what keeps Seedbed from running here, each finding with its mend."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.checkups import Finding
from harness.execution.workers import show_token
from harness.store.backends.urls import Location, is_url, mirror_folder

__all__ = ["Finding", "diagnose", "diagnose_cluster", "is_fit", "to_text"]
Check = Callable[[], Iterator[Finding]]
WIDTH = 120
MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def diagnose(store: Location, imports: bool = False) -> list[Finding]:
    """Look at everything; with `imports` also import torch, Ray and others (seconds), each in its own process.

    Nothing is written. A check that fails itself is a finding, so that one broken thing hides no other.
    """
    return [finding for name, check in _checks(store, imports).items() for finding in _safely(name, check)]


def diagnose_cluster(address: str, store: str) -> list[Finding]:
    """Ask every node of a Ray cluster, and judge it against this process: what would fail or differ there.

    Driver and nodes each write a file into the store, and take it away again. Raises UserError where no cluster
    answers.
    """
    show_token()
    from harness.checkups import cluster, files, software
    from harness.checkups.meeting import meeting_in
    from harness.checkups.probe import Question, answer
    from harness.execution.probing import probe_nodes
    from harness.stages.provenance import OURS

    names = tuple(name for name, _, _ in software.requirements())
    meeting = meeting_in(store).begin()
    try:
        question = Question(OURS, names, files.roots(), meeting)
        return list(cluster.judge(probe_nodes(address, question), answer(question), question))
    finally:
        meeting.end()


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return not any(finding.state == "error" for finding in findings)


def to_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, its mend below; at the end how many errors and warnings there are."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines += _wrapped(f"{MARKS[finding.state]} {finding.name:{width}}  ", finding.found)
        lines += _wrapped(f"  {'':{width}}  → ", finding.mend) if finding.mend else []
    count = {state: sum(finding.state == state for finding in findings) for state in MARKS}
    return "\n".join([*lines, f"errors: {count['error']}, warnings: {count['warning']}"])


def _wrapped(head: str, text: str) -> list[str]:
    blank = " " * len(head)
    return textwrap.wrap(head + text, WIDTH, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False)


def _checks(store: Location, imports: bool) -> Mapping[str, Check]:
    from harness.checkups import files, machine, remote, software

    folder = mirror_folder(str(store)) if is_url(store) else Path(store)

    checks: dict[str, Check] = {
        "python": software.python,
        "packages": software.packages,
        "imports": software.imports,
        "hidden packages": software.shadows,
        "devices": machine.devices,
        "threads": machine.threads,
        "disk": partial(machine.disk, folder),
        "shared memory": machine.shared_memory,
        "weights": files.weights,
        "data": files.data,
        "store": partial(remote.state, str(store)) if is_url(store) else partial(files.store_state, folder),
    }
    return checks if imports else {name: check for name, check in checks.items() if name != "imports"}


def _safely(name: str, check: Check) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        findings.append(Finding(name, "warning", f"could not be looked at ({reason})"))
    return findings
