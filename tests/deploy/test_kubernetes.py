"""The KubeRay file: what its comments and the docs claim is there, and nothing that should not be."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from ray.scripts.scripts import start

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "deploy" / "kuberay.yaml"
PINNED = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line)
# The fields of ray.io/v1 that are used, by the type that has them.
JOB = {
    "entrypoint",
    "submissionMode",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "rayClusterSpec",
}
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture(scope="module")
def documents() -> Mapping[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(FILE.read_text())}


@pytest.fixture(scope="module")
def groups(documents: Mapping[str, Any]) -> Mapping[str, Any]:
    cluster = documents["RayJob"]["spec"]["rayClusterSpec"]
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


def containers(groups: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, group in groups.items():
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        yield name, pod, container


def test_only_fields_that_kuberay_knows(documents: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    assert set(documents) == {"PersistentVolumeClaim", "RayJob"}
    job = documents["RayJob"]
    assert (job["apiVersion"], set(job["spec"])) == ("ray.io/v1", JOB)
    assert job["spec"]["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    assert set(job["spec"]["rayClusterSpec"]) == CLUSTER
    assert set(groups["head"]) == {"rayStartParams", "template"}
    assert set(groups["cpu"]) == set(groups["gpu"]) == WORKERS
    for group in (groups["cpu"], groups["gpu"]):
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_what_is_told_to_ray_are_its_options(groups: Mapping[str, Any]) -> None:
    known = {option.lstrip("-") for parameter in start.params for option in parameter.opts}
    for group in groups.values():
        assert set(group["rayStartParams"]) <= known
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert groups["head"]["rayStartParams"]["num-cpus"] == "0"


def test_the_suite_runs_on_the_cluster_and_in_the_volume(documents: Mapping[str, Any]) -> None:
    words = shlex.split(documents["RayJob"]["spec"]["entrypoint"])
    assert words == ["seedbed", "run", "scenes-leaderboard", "--address", "auto", "--store", "/runs"]
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert documents["RayJob"]["spec"]["backoffLimit"] > 0


def test_each_pod_has_image_resources_store_and_shared_memory(
    documents: Mapping[str, Any], groups: Mapping[str, Any]
) -> None:
    claim = documents["PersistentVolumeClaim"]["metadata"]["name"]
    for name, pod, container in containers(groups):
        assert container["image"] == f"registry.example.org/seedbed:{'cuda' if name == 'gpu' else 'cpu'}"
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["runs"]["persistentVolumeClaim"] == {"claimName": claim}
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {"/runs": "runs", "/dev/shm": "shm"}
    assert "nvidia.com/gpu" not in groups["cpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert groups["gpu"]["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_authentication_stays_on_and_no_pod_has_rights(documents: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    assert documents["RayJob"]["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for _, pod, container in containers(groups):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "env" not in container and not container.get("envFrom")
    assert not re.search(r"(?i)(password|secret_?key|access_?key|auth_token)\s*[:=]", FILE.read_text())


def test_ray_is_the_images(documents: Mapping[str, Any]) -> None:
    assert documents["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == PINNED["ray"]
