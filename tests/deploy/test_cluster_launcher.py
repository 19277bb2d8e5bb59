"""The file for Ray's cluster launcher, against Ray's own validator."""

from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "deploy" / "cluster.yaml"
COMMANDS = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def test_ray_takes_it(config: dict[str, Any]) -> None:
    prepared = prepare_config(config)
    validate_config(prepared)
    machines = config["provider"]["worker_ips"]
    assert prepared["max_workers"] == config["min_workers"] == len(machines)
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == len(machines)
    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]
    with pytest.raises(ValidationError):
        validate_config({**prepared, "head_start_command": []})


def test_the_token_travels_and_ray_asks_for_it(config: dict[str, Any]) -> None:
    assert config["file_mounts"] == {"~/seedbed": ".", "~/.ray/auth_token": "~/.ray/auth_token"}
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        stop, begin = commands
        assert stop.endswith("bin/ray stop")
        assert begin.startswith("RAY_AUTH_MODE=token ")
    head, worker = config["head_start_ray_commands"][1], config["worker_start_ray_commands"][1]
    assert "--head" in head and "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker


def test_what_is_told_to_ray_are_its_options(config: dict[str, Any]) -> None:
    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        told = {word.partition("=")[0] for word in commands[1].split() if word.startswith("--")}
        assert told <= known


def test_machines_get_the_pinned_packages_and_no_runs(config: dict[str, Any]) -> None:
    pips = [command for command in config["setup_commands"] if "pip install" in command]
    assert len(pips) == 2 and all("-c ~/seedbed/constraints.txt" in command for command in pips)
    assert {".git", ".venv", "runs"} <= set(config["rsync_exclude"])
    assert all(isinstance(command, str) for key in COMMANDS for command in config[key])
