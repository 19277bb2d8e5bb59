"""From made-up answers to findings: no cluster is needed."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from harness.checkups import Finding, _cluster
from harness.checkups._cluster import Probed, judge
from harness.checkups._probe import Answer, Question
from harness.execution.meeting import Meeting
from harness.execution.nodes import Node
from harness.store.lease import TIMEOUT_S

QUESTION = Question(("harness",), ("torch", "rich"), {"data voc12": "/data/voc12"}, Meeting("/shared/runs", "t"))
HERE = Answer(
    sources="a" * 64,
    python="3.12.4",
    packages={"torch": "2.10.1+cpu", "ray": "2.60.0", "rich": "15.0.0", "optuna": ""},
    gpus=0,
    gpu_trouble="",
    store_trouble="",
    data_troubles={"data voc12": ""},
    memory_free=20 * 10**9,
    temporary_free=50 * 10**9,
    temporary_total=100 * 10**9,
    store_free=10**12,
)


def node(name: str = "n1", **values: object) -> Node:
    return replace(Node(f"{name}0123456789", name, True, 8.0), **values)  # type: ignore[arg-type]


def findings_of(*probed: Probed, question: Question = QUESTION) -> dict[str, Finding]:
    return {finding.name: finding for finding in judge(probed, HERE, question)}


def bad(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.name: finding.state for finding in findings if finding.state != "ok"}


def test_a_node_that_is_like_the_driver_is_fit() -> None:
    found = findings_of(Probed(node(), HERE), Probed(node("n2"), HERE))
    assert not bad(found.values())
    assert found["cluster"].found == "2 nodes alive, 0 dead; 16 CPUs, 0 GPUs"
    about = ("sources", "python", "packages", "gpus", "clock", "store", "data voc12", "memory", "disk")
    assert list(found) == ["cluster", *(f"{host}: {what}" for host in ("n1", "n2") for what in about)]
    assert found["n1: packages"].found == "3 of 3 are the driver's", "what the driver lacks is not asked for"
    assert found["n1: store"].found == "/shared/runs: seen both ways, 1000.0 GB free"
    assert all(finding.mend == "" for finding in found.values())


def test_nodes_of_one_host_are_told_apart() -> None:
    found = findings_of(Probed(node(id="aaaaaa1"), HERE), Probed(node(id="bbbbbb2"), HERE), Probed(node("n2"), HERE))
    assert {name.partition(": ")[0] for name in found} == {"cluster", "n1/aaaaaa", "n1/bbbbbb", "n2"}


def test_dead_and_silent_nodes_are_findings() -> None:
    dead = node("n1", is_alive=False, reason="heartbeats missed")
    found = findings_of(Probed(dead), Probed(node("n2"), trouble="no answer within 30 s"), Probed(node("n3"), HERE))
    assert found["cluster"].found == "2 nodes alive, 1 dead; 16 CPUs, 0 GPUs"
    assert (found["n1: node"].state, found["n1: node"].found) == ("warning", "dead (heartbeats missed)")
    assert (found["n2: probe"].state, found["n2: probe"].found) == ("error", "no answer within 30 s")
    assert bad(findings_of(Probed(dead)).values()) == {"cluster": "error", "n1: node": "warning"}


@pytest.mark.parametrize(
    ("name", "version", "state"),
    [
        ("torch", "2.10.1+cu128", None),
        ("torch", "2.9.0", "error"),
        ("torch", "", "error"),
        ("ray", "2.59.0", "error"),
        ("rich", "14.0", "warning"),
        ("rich", "", "error"),
        ("optuna", "5.0", None),
    ],
)
def test_packages_that_differ(name: str, version: str, state: str | None) -> None:
    found = findings_of(Probed(node(), replace(HERE, packages={**HERE.packages, name: version})))
    assert bad(found.values()) == ({f"n1: {name}": state} if state else {})
    if state:
        wanted = HERE.packages[name].partition("+")[0]
        assert found[f"n1: {name}"].found == f"{version or 'absent'}, and the driver has {HERE.packages[name]}"
        assert f"pip install {name}=={wanted} there" in found[f"n1: {name}"].mend
        assert ("--packages pinned" in found[f"n1: {name}"].mend) == (name != "ray"), "Ray cannot replace itself"
        assert found["n1: packages"].found == "2 of 3 are the driver's"


@pytest.mark.parametrize(("version", "state"), [("3.12.4", "ok"), ("3.12.9", "warning"), ("3.11.4", "error")])
def test_another_python(version: str, state: str) -> None:
    assert _cluster._python(replace(HERE, python=version), HERE).state == state


def test_other_sources_are_an_error_that_names_both() -> None:
    found = _cluster._sources(replace(HERE, sources="b" * 64), HERE)
    assert (found.state, found.found) == ("error", "bbbbbbbb, and the driver's are aaaaaaaa")


@pytest.mark.parametrize(
    ("declared", "gpus", "trouble", "state"),
    [(0, 0, "", "ok"), (2, 2, "", "ok"), (2, 1, "", "error"), (0, 2, "", "warning"), (1, 0, "no end", "error")],
)
def test_gpus_that_ray_declares_against_those_of_torch(declared: int, gpus: int, trouble: str, state: str) -> None:
    found = _cluster._devices(replace(HERE, gpus=gpus, gpu_trouble=trouble), declared)
    assert found.state == state
    assert (f"Ray declares {declared}, torch finds {gpus}" in found.found) == (declared != gpus and not trouble)


@pytest.mark.parametrize(
    ("offset_s", "error_s", "state"),
    [
        (0.0, 0.0, "ok"),
        (-1.0, 0.0, "ok"),
        (1.01, 0.0, "warning"),
        (-1.01, 0.0, "warning"),
        (1.5, 0.6, "ok"),  # what the way there may hide is not held against the clock
        (TIMEOUT_S / 2, 0.0, "warning"),
        (TIMEOUT_S / 2 + 0.1, 0.0, "error"),
        (-TIMEOUT_S, 1.0, "error"),
    ],
)
def test_clocks(offset_s: float, error_s: float, state: str) -> None:
    assert _cluster._clock(offset_s, error_s).state == state


def test_a_node_without_the_store_is_an_error_that_names_node_and_mend() -> None:
    found = findings_of(Probed(node(), replace(HERE, store_trouble="is not there")), Probed(node("n2"), HERE))
    assert bad(found.values()) == {"n1: store": "error"}
    assert found["n1: store"].found == "/shared/runs is not there"
    assert found["n1: store"].mend == "mount it there at the same path, or use another --store (a path or a URL)"
    unseen = findings_of(Probed(node(), HERE, is_seen=False))["n1: store"]
    assert (unseen.state, unseen.found.split()[-4:]) == ("error", ["is", "not", "seen", "here"])


@pytest.mark.parametrize(("free", "state"), [(10**12, "ok"), (10**9, "warning"), (10**8, "error"), (-1, "error")])
def test_room_in_the_store(free: int, state: str) -> None:
    assert _cluster._store(replace(HERE, store_free=free), True, QUESTION).state == state


def test_a_store_behind_a_url_is_told_to_be_opened_and_never_shown() -> None:
    question = replace(QUESTION, meeting=Meeting("s3://key:secret@bucket/runs", "t"))
    for trouble in ("", "cannot be opened (no s3fs)"):
        found = findings_of(Probed(node(), replace(HERE, store_trouble=trouble)), question=question)["n1: store"]
        assert found.state == ("error" if trouble else "ok")
        assert "secret" not in found.found + found.mend
        assert found.found == f"the store's URL {trouble or 'was opened there'}"
    question = replace(question, meeting=replace(question.meeting, driver_trouble="cannot be opened"))
    told = findings_of(Probed(node(), HERE), question=question)["driver: store"]
    assert told.found == "the store's URL cannot be opened: no node was asked for it"


def test_a_store_that_the_driver_cannot_write_is_asked_of_no_node() -> None:
    question = replace(QUESTION, meeting=Meeting("/runs", "t", driver_trouble="cannot be written (No space)"))
    found = findings_of(Probed(node(), HERE), question=question)
    assert bad(found.values()) == {"driver: store": "error"}
    assert "n1: store" not in found


def test_data_memory_and_disk() -> None:
    full = replace(HERE, data_troubles={"data voc12": "is not a folder there"}, memory_free=10**9, temporary_free=10**9)
    found = findings_of(Probed(node(), full))
    assert bad(found.values()) == {"n1: data voc12": "error", "n1: memory": "warning", "n1: disk": "warning"}
    assert found["n1: data voc12"].found == "/data/voc12 is not a folder there"
    assert found["n1: disk"].found == "1.0 GB free (99% full) for temporary files"
    assert _cluster._memory(replace(HERE, memory_free=-1)).state == "ok"
