"""The Slurm script, really run: Slurm's commands, Ray and Seedbed are small programs that log what they are told."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "deploy" / "slurm.sh"

SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames n[1-3]" ]] && printf 'n1\\nn2\\nn3\\n'
"""
SRUN = """#!/bin/bash
for option; do [[ $option == --nodelist=* ]] && export FAKE_NODE=${option#*=}; done
while [[ $1 == --* ]]; do echo "srun $FAKE_NODE $1" >> "$FAKE/log"; shift; done
[[ ${FAKE_BROKEN:-} != "$FAKE_NODE" ]] || { echo "$FAKE_NODE is down" >&2; exit 3; }
exec "$@"
"""
PYTHON = f"""#!/bin/bash
[[ $1 != -c ]] || exec {sys.executable} "$@"
if (( ${{FAKE_MISSING:-0}} )); then echo 1; else ls "$FAKE/joined" | wc -l; fi
"""
RAY = f"""#!{sys.executable}
import os, pathlib, signal, socket, sys
fake, node, told = pathlib.Path(os.environ["FAKE"]), os.environ["FAKE_NODE"], sys.argv[1:]
options = dict(item[2:].split("=", 1) for item in told if "=" in item)
def say(text):
    with (fake / "log").open("a") as file:
        file.write(f"ray {{node}} {{text}}\\n")
def end(*_):
    say("ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
server = socket.create_server(("127.0.0.1", int(options["port"]))) if "--head" in told else None
pathlib.Path(options["temp-dir"]).mkdir(exist_ok=True)
say(" ".join(told) + f" token={{os.environ['RAY_AUTH_MODE']}}:{{os.environ['RAY_AUTH_TOKEN']}}")
(fake / "joined" / node).touch()
while True:
    signal.pause()
"""
SEEDBED = """#!/bin/bash
echo "seedbed $* token=$RAY_AUTH_MODE:$RAY_AUTH_TOKEN" >> "$FAKE/log"
[[ $1 != doctor ]] || exit "${FAKE_DOCTOR:-0}"
[[ -n ${FAKE_LONG:-} ]] || exit "${FAKE_RUN:-0}"
trap 'echo "seedbed stopped" >> "$FAKE/log"; exit 130' TERM
touch "$FAKE/running"
while :; do sleep 0.05; done
"""
SLEEP = """#!/bin/bash
exec /bin/sleep 0.05
"""
"""The script looks every half a second whether all have joined: here ten times as often."""
FAKES = {"scontrol": SCONTROL, "srun": SRUN, "python": PYTHON, "ray": RAY, "seedbed": SEEDBED, "sleep": SLEEP}


@dataclass(frozen=True)
class Slurm:
    """A machine that pretends to be three nodes."""

    folder: Path
    job: int

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SEEDBED", "RAY"))}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        given = {"SLURM_JOB_ID": str(self.job), "SLURM_JOB_NODELIST": "n[1-3]", "SEEDBED_HEAD_IP": "127.0.0.1"}
        environment = {**known, "FAKE": str(self.folder), "PATH": path, **given, **variables}
        return subprocess.Popen(
            [str(SCRIPT), *arguments], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        process = self.start(*arguments, **variables)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    (tmp_path / "bin").mkdir()
    (tmp_path / "joined").mkdir()
    for name, text in FAKES.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return Slurm(tmp_path, next(job for job in range(1000 + os.getpid() % 5000, 9999) if is_free(20000 + job)))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "pip install -e '.[dev]'"
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("code", [0, 1])
def test_a_head_two_workers_a_run_and_nothing_is_left(slurm: Slurm, code: int) -> None:
    told, errors = slurm.run("smoke", str(slurm.store), "--set", "rng_seeds=[0, 1]", FAKE_RUN=str(code))
    assert told == code, errors
    log = slurm.log()
    address = f"127.0.0.1:{20000 + slurm.job}"
    (token,) = {line.partition("token=")[2] for line in log if "token=" in line}
    assert re.fullmatch("token:[0-9a-f]{64}", token), "one token, of this job alone"
    started = [line.partition(" token=")[0] for line in log if line.startswith("ray ") and "start" in line]
    cores, session = len(os.sched_getaffinity(0)), f"/tmp/seedbed-{slurm.job}"
    common = f"start --block --num-cpus={cores} --temp-dir={session}"
    port = f"--port={20000 + slurm.job}"
    assert started[0] == f"ray n1 {common} --head --node-ip-address=127.0.0.1 {port} --include-dashboard=false"
    assert sorted(started[1:]) == [f"ray {node} {common} --address={address}" for node in ("n2", "n3")]
    assert [line.partition(" token=")[0] for line in log if line.startswith("seedbed")] == [
        f"seedbed doctor --cluster --address {address} --store {slurm.store}",
        f"seedbed run smoke --address {address} --store {slurm.store} --set rng_seeds=[0, 1]",
    ]
    assert log.index(next(line for line in log if line.startswith("seedbed"))) > log.index(
        next(line for line in reversed(log) if "--address=" in line and line.startswith("ray"))
    ), "nothing runs before all have joined"
    assert sorted(line for line in log if line.endswith("ended")) == [f"ray n{n} ended" for n in (1, 2, 3)]
    assert not Path(session).exists()
    assert token.partition(":")[2] not in errors, "the token is told nobody"


def test_each_node_is_one_step_with_its_cores(slurm: Slurm) -> None:
    assert slurm.run("smoke", str(slurm.store), SLURM_CPUS_PER_TASK="8")[0] == 0
    steps = [line for line in slurm.log() if line.startswith("srun n2 ")]
    wanted = ["--nodes=1", "--ntasks=1", "--nodelist=n2", "--overlap", "--export=ALL", "--cpus-per-task=8"]
    assert steps == [f"srun n2 {option}" for option in wanted]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "found 0 arguments; expected SUITE STORE"),
        (("smoke",), "found 1 arguments"),
        (("--store", "/runs"), "found '--store' as the suite"),
        (("smoke", "runs"), "found 'runs' as the store; expected an absolute path, or a URL"),
        (("smoke", "/dev/null/runs"), "'/dev/null/runs' cannot be made"),
        (("absent.yaml", "/tmp"), "found no readable 'absent.yaml'"),
        (("smoke", "/tmp", "--address", "auto"), "found --address; expected none"),
        (("smoke", "/tmp", "--store=/x"), "found --store=/x; expected none"),
    ],
)
def test_bad_usage_is_one_line(slurm: Slurm, arguments: tuple[str, ...], told: str) -> None:
    code, errors = slurm.run(*arguments)
    assert code == 2
    assert errors.startswith(f"slurm.sh: {told}") and errors.count("\n") == 1
    assert slurm.log() == []


def test_what_is_missing_is_named(slurm: Slurm) -> None:
    store = str(slurm.store)
    assert "found no Slurm job" in slurm.run("smoke", store, SLURM_JOB_ID="")[1]
    assert "SEEDBED_JOIN_S=soon; expected whole seconds" in slurm.run("smoke", store, SEEDBED_JOIN_S="soon")[1]
    (slurm.folder / "bin" / "seedbed").unlink()
    path = f"{slurm.folder / 'bin'}:/usr/bin:/bin"
    assert "found no 'seedbed' on PATH" in slurm.run("smoke", store, PATH=path)[1]


def test_a_url_is_a_store(slurm: Slurm) -> None:
    assert slurm.run("smoke", "s3://bucket/runs")[0] == 0
    assert "--store s3://bucket/runs" in slurm.log()[-4]


@pytest.mark.parametrize("broken", ["n1", "n3"])
def test_a_node_that_ends_before_all_joined_ends_the_others(slurm: Slurm, broken: str) -> None:
    code, errors = slurm.run("smoke", str(slurm.store), FAKE_BROKEN=broken, FAKE_MISSING="1")
    assert code == 1
    assert errors.splitlines()[0] == f"{broken} is down"
    assert errors.splitlines()[-1] == "slurm.sh: a node ended before all had joined; its reason stands above"
    log = slurm.log()
    assert len([line for line in log if " start " in line]) == len([line for line in log if line.endswith("ended")])
    assert not any(line.startswith("seedbed") for line in log)


def test_nodes_that_do_not_join_in_time(slurm: Slurm) -> None:
    code, errors = slurm.run("smoke", str(slurm.store), FAKE_MISSING="1", SEEDBED_JOIN_S="2")
    assert (code, errors.splitlines()[-1]) == (1, "slurm.sh: 1 of 3 nodes joined within 2 s")
    assert len([line for line in slurm.log() if line.endswith("ended")]) == 3


def test_what_doctor_finds_stops_the_job_unless_told(slurm: Slurm) -> None:
    code, errors = slurm.run("smoke", str(slurm.store), FAKE_DOCTOR="1")
    assert code == 1 and "doctor found errors" in errors
    assert not any(line.startswith("seedbed run") for line in slurm.log())
    shutil.rmtree(slurm.folder / "joined")
    (slurm.folder / "joined").mkdir()
    assert slurm.run("smoke", str(slurm.store), FAKE_DOCTOR="1", SEEDBED_ANYWAY="1")[0] == 0
    assert any(line.startswith("seedbed run") for line in slurm.log())


def test_the_end_of_its_time_lets_the_run_finish_its_stages(slurm: Slurm) -> None:
    process = slurm.start("smoke", str(slurm.store), FAKE_LONG="1")
    until = time.monotonic() + 30
    while not (slurm.folder / "running").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    log = slurm.log()
    assert process.returncode == 130, "the run's own code"
    assert log.index("seedbed stopped") < log.index("ray n1 ended"), "Ray ends after the run"
    assert len([line for line in log if line.endswith("ended")]) == 3
