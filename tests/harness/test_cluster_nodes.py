"""A cluster of nodes on this machine: one whose GPUs are only declared, one that was taken away.

`doctor` tells what each node lacks, and what none has is refused before any work. In the runs, which `make chaos` alone
makes, the table is the same as of one process, also when a node dies in between.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.checkups import Finding
from harness.checkups._cluster import probe
from harness.checkups._probe import Question
from harness.checkups.doctor import diagnose_cluster, is_fit
from harness.commands.main import doctor
from harness.execution.cluster import connect, disconnect
from harness.execution.meeting import meeting_in
from harness.execution.nodes import TIMEOUT_S, all_nodes, ask
from harness.execution.workers import Workers
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.provenance import OURS
from harness.store.events import EventReader
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM, results_of, undrawn

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
SHARED = ("resources.segmenter_fit={gpu: 0.5}", "resources.localizer_fit={gpu: 0.5, custom: {fast: 1}}")
SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}
TAKES_A_MINUTE = pytest.mark.skipif("SEEDBED_CHAOS_ROUNDS" not in os.environ, reason="takes a minute: `make chaos`")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with undrawn():
        return run_and_gather(load_suite("smoke", ONLY_CAM), tmp_path_factory.mktemp("alone"), "serial")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes that live, and one that died."""
    from ray.cluster_utils import Cluster

    # A node that does not answer is given up after 5 s instead of 15; no worker is started that nobody asked for.
    config = {"health_check_period_ms": 1000, "prestart_worker_first_driver": False}
    head = {"include_dashboard": False, "_system_config": config, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_gpus=2, resources={"fast": 1}, **SMALL)
        doomed = cluster.add_node(**SMALL)
        cluster.wait_for_nodes()
        cluster.remove_node(doomed, allow_graceful=False)
        yield cluster
    finally:
        cluster.shutdown()


def by_name(findings: list[Finding]) -> dict[str, list[Finding]]:
    """Findings by what they are about, over all nodes."""
    named: dict[str, list[Finding]] = {}
    for finding in findings:
        named.setdefault(finding.name.rpartition(": ")[2], []).append(finding)
    return named


def test_every_node_is_told_with_what_it_lacks(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(f"data: {{voc12: {tmp_path}, coco14: {tmp_path / 'absent'}}}")
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("SEEDBED_REAL_DATA", raising=False)
    findings = diagnose_cluster(cluster.address, str(tmp_path / "new" / "store"))
    named = by_name(findings)
    assert named["cluster"][0].found == "2 nodes alive, 1 dead; 2 CPUs, 2 GPUs"
    (dead,) = named["node"]
    assert dead.state == "warning" and dead.found.startswith("dead (")
    for name in ("sources", "python", "packages", "clock", "store", "data voc12"):
        assert [finding.state for finding in named[name]] == ["ok", "ok"], name
    assert sorted((finding.state, finding.found) for finding in named["gpus"]) == [
        ("error", "Ray declares 2, torch finds 0"),
        ("ok", "none"),
    ]
    assert {finding.found for finding in named["data coco14"]} == {f"{tmp_path / 'absent'} is not a folder there"}
    assert all("seen both ways" in finding.found for finding in named["store"])
    for finding in named["clock"]:
        # Both clocks are this machine's: the offset is what the way there may hide, and no more.
        offset, error = map(float, re.findall(r"[+-]?\d+\.\d+", finding.found))
        assert abs(offset) <= error + 0.001
    assert len({finding.name.partition(": ")[0] for finding in named["clock"] + named["node"]}) == 3
    assert not is_fit(findings)
    assert not (tmp_path / "new").exists(), "what was made for the probe is gone"


def test_a_node_that_does_not_answer_in_time_is_told(cluster: Any, tmp_path: Path) -> None:
    probed = probe(cluster.address, Question(OURS, (), {}, meeting_in(str(tmp_path))), timeout_s=0.001)
    assert sorted(each.trouble for each in probed) == ["", "no answer within 0.001 s", "no answer within 0.001 s"]
    assert all(each.answer is None for each in probed)


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--address: found '127\.0\.0\.1:1', where no cluster answers"):
        doctor(str(tmp_path / "store"), cluster=True, address="127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"without --cluster; expected both"):
        doctor(str(tmp_path), address="auto")


@TAKES_A_MINUTE
def test_two_nodes_give_the_same_table(cluster: Any, alone: Finished, tmp_path: Path) -> None:
    workers = Workers(address=cluster.address)
    ended = run_and_gather(load_suite("smoke", (*ONLY_CAM, *SHARED)), tmp_path / "store", workers)
    assert ended.exit_code == 0
    assert results_of(ended) == results_of(alone)


def test_what_no_node_has_is_refused_before_any_work(cluster: Any, tmp_path: Path) -> None:
    suite = load_suite("smoke", ["resources.localizer_fit={custom: {faster: 1}}"])
    with pytest.raises(UserError, match=r"resources\.localizer_fit: found 1 of faster for .*; expected at most the 0"):
        run_and_gather(suite, tmp_path / "store", Workers(address=cluster.address))
    assert list(tmp_path.glob("store/*/*/done.json")) == []


def test_a_store_that_nodes_do_not_see_is_refused_before_any_work(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.execution.meeting.Meeting.begin", lambda meeting: meeting)  # as if on another disk
    with pytest.raises(UserError, match=r"--store: found on .*: it is another folder there: what the driver wrote"):
        run_and_gather(load_suite("smoke", ONLY_CAM), tmp_path / "store", Workers(address=cluster.address))
    assert list(tmp_path.glob("store/*/*/done.json")) == []


def test_what_opens_a_store_reaches_every_node_and_no_log(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a secret of this test"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    connect(cluster.address)
    try:
        nodes = all_nodes()
        replies = ask(nodes, os.getenv, lambda node: ("AWS_SECRET_ACCESS_KEY",), 5 * TIMEOUT_S)
    finally:
        disconnect()
    assert [reply.value for reply in replies.values()] == [secret] * len(nodes) and len(nodes) > 1
    logs = [path for path in Path(cluster.head_node.get_logs_dir_path()).rglob("*") if path.is_file()]
    assert logs and not [path for path in logs if secret.encode() in path.read_bytes()]


@TAKES_A_MINUTE
def test_a_node_that_dies_is_done_without(cluster: Any, alone: Finished, tmp_path: Path) -> None:
    node = cluster.add_node(**SMALL)

    def kill() -> None:
        while not list(tmp_path.glob("store/*/*/done.json")):
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    ended = run_and_gather(
        load_suite("smoke", (*ONLY_CAM, *SHARED)), tmp_path / "store", Workers(address=cluster.address)
    )
    thread.join()
    assert ended.exit_code == 0
    assert results_of(ended) == results_of(alone)
    log = Store(tmp_path / "store").logs()[-1]
    assert {event["event"] for event in EventReader(log).new()} >= {"connected", "finished"}
