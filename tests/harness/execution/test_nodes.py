"""A cluster of some nodes, with (pretended) GPUs: the same table as serial, also when a node dies in between.

What is refused before any work, two nodes tell; the runs, of `make chaos`, are made on three.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.execution.cluster import connect, disconnect
from harness.execution.nodes import TIMEOUT_S, all_nodes, ask
from harness.execution.workers import Workers
from harness.reports.leaderboard import Finished, run_and_gather
from harness.store.events import EventReader
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM, results_of, undrawn

SHARED = ("resources.segmenter_fit={gpu: 0.5}", "resources.localizer_fit={gpu: 0.5, custom: {fast: 1}}")
SMALL = {"object_store_memory": 80 << 20}


IN_CHAOS = "SEEDBED_CHAOS_ROUNDS" in os.environ
TAKES_A_MINUTE = pytest.mark.skipif(not IN_CHAOS, reason="takes a minute: `make chaos`")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with undrawn():
        return run_and_gather(load_suite("smoke", ONLY_CAM), tmp_path_factory.mktemp("alone"), "serial")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    config = {"worker_niceness": 0}  # it yields to no other test
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": config, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, num_gpus=1, resources={"fast": 1}, **SMALL)
    if IN_CHAOS:
        cluster.add_node(num_cpus=1, num_gpus=1, **SMALL)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@TAKES_A_MINUTE
def test_three_nodes_give_the_same_table(cluster: Any, alone: Finished, tmp_path: Path) -> None:
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
    node = cluster.add_node(num_cpus=1, **SMALL)

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
