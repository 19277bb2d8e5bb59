"""Probing a cluster of three nodes on this machine: one whose GPUs are only declared, one that was taken away."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.checkups import Finding
from harness.checkups._cluster import probe
from harness.checkups._probe import Question
from harness.checkups.doctor import diagnose_cluster, is_fit
from harness.commands.main import doctor
from harness.execution.meeting import meeting_in
from harness.stages.provenance import OURS
from settings.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    # A node that does not answer is given up after 10 s instead of 15; no worker is started that nobody asked for, and
    # those that are yield to no other test.
    config = {"health_check_period_ms": 2000, "prestart_worker_first_driver": False, "worker_niceness": 0}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": config}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, num_gpus=2)
    doomed = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    cluster.remove_node(doomed, allow_graceful=False)
    yield cluster.address
    cluster.shutdown()


def by_name(findings: list[Finding]) -> dict[str, list[Finding]]:
    """Findings by what they are about, over all nodes."""
    named: dict[str, list[Finding]] = {}
    for finding in findings:
        named.setdefault(finding.name.rpartition(": ")[2], []).append(finding)
    return named


def test_every_node_is_told_with_what_it_lacks(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(f"data: {{voc12: {tmp_path}, coco14: {tmp_path / 'absent'}}}")
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("SEEDBED_REAL_DATA", raising=False)
    findings = diagnose_cluster(address, str(tmp_path / "new" / "store"))
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


def test_a_node_that_does_not_answer_in_time_is_told(address: str, tmp_path: Path) -> None:
    probed = probe(address, Question(OURS, (), {}, meeting_in(str(tmp_path))), timeout_s=0.001)
    assert sorted(each.trouble for each in probed) == ["", "no answer within 0.001 s", "no answer within 0.001 s"]
    assert all(each.answer is None for each in probed)


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--address: found '127\.0\.0\.1:1', where no cluster answers"):
        doctor(str(tmp_path / "store"), cluster=True, address="127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"without --cluster; expected both"):
        doctor(str(tmp_path), address="auto")
