"""`seedbed doctor`: what keeps Seedbed from running here, each finding with its mend."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness.checkups import Finding, _files, _machine
from harness.execution.meeting import meeting_in
from harness.execution.workers import show_token
from harness.stages.provenance import OURS
from harness.store.backends.urls import Location, is_url, mirror_folder

__all__ = ["diagnose", "diagnose_cluster", "is_fit", "to_text"]

Check = Callable[[], Iterator[Finding]]
WIDTH = 120
MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def diagnose(store: Location, imports: bool = False) -> list[Finding]:
    """Look at everything; with `imports` also import torch, Ray and others (seconds), each in its own process.

    Nothing is written. A check that fails itself is a finding, so that one broken thing hides no other.
    """
    # A store behind a URL fills this machine's disk too: with its mirror.
    folder = Path(store)
    if is_url(store):
        folder = mirror_folder(str(store))
    checks: dict[str, Check] = {
        "python": _machine.python,
        "packages": _machine.packages,
        "imports": _machine.imports,
        "hidden packages": _machine.shadows,
        "devices": _machine.devices,
        "threads": _machine.threads,
        "disk": partial(_machine.disk, folder),
        "shared memory": _machine.shared_memory,
        "weights": _files.weights,
        "data": _files.data,
        "store": partial(_files.store, store),
    }
    # On request alone: they take seconds.
    if not imports:
        del checks["imports"]
    findings: list[Finding] = []
    for name, check in checks.items():
        findings += _safely(name, check)
    return findings


def diagnose_cluster(address: str, store: str) -> list[Finding]:
    """Ask every node of a Ray cluster, and judge it against this process: what would fail or differ there.

    Driver and nodes each write a file into the store, and take it away again. Raises UserError where no cluster
    answers.
    """
    # Before anything imports Ray, which reads the variables for its token then and never again.
    show_token()
    from harness.checkups._cluster import judge, probe
    from harness.checkups._probe import Question, answer

    names = tuple(requirement.name for requirement in _machine.requirements())
    meeting = meeting_in(store).begin()
    try:
        question = Question(OURS, names, _files.roots(), meeting)
        return list(judge(probe(address, question), answer(question), question))
    finally:
        meeting.end()


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether Seedbed can run here: warnings may slow it down, errors keep it from running."""
    return not any(finding.state == "error" for finding in findings)


def to_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, its mend below; at the end how many errors and warnings there are."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines += _wrapped(f"{MARKS[finding.state]} {finding.name:{width}}  ", finding.found)
        if finding.mend:
            lines += _wrapped(f"  {'':{width}}  → ", finding.mend)
    states = [finding.state for finding in findings]
    lines.append(f"errors: {states.count('error')}, warnings: {states.count('warning')}")
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    # Neither words nor hyphens are broken: paths and commands are copied from here.
    blank = " " * len(head)
    return textwrap.wrap(head + text, WIDTH, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False)


def _safely(name: str, check: Check) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except Exception as error:  # whatever a broken installation does
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        findings.append(Finding(name, "warning", f"could not be looked at ({reason})"))
    return findings
