"""A run's own Ray cluster: out of others' reach, replaced when it dies, told in one line where it cannot start."""

import fcntl
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import ray

from harness.execution import local_cluster
from harness.execution.credentials import Credentials
from harness.execution.job import Job, Outcome
from harness.execution.local_cluster import LocalCluster, _private_folder
from harness.execution.ray import Ray
from harness.store.events import Ending
from settings.errors import UserError
from tests.chaos.faults import command_of, descendants
from tests.harness.fakes import fake_stage

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, itself as an IPv6 address, and ::1, as Linux writes them."""
LISTENING = "0A"
VICTIMS = ("raylet", "gcs_server", "ray::RuntimeEnvAgent", "ray::DashboardAgent")
if "SEEDBED_CHAOS_ROUNDS" not in os.environ:
    VICTIMS = VICTIMS[:1]


def slept(job: Job, handed: Credentials) -> list[Outcome]:
    """The body of a task that stands for a stage."""
    time.sleep(3)  # until the blow has fallen, also on a machine that is busy
    return job.ended(Ending.DONE, str(os.getpid()))


@pytest.fixture(scope="module")
def executor() -> Iterator[Ray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.execution.ray._run_on_worker", slept)
        executor = Ray(slots=1)
    yield executor
    executor.close()
    assert folders() == []


def opened(pid: int | str) -> Iterator[str]:
    """What a process has open."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            yield str(entry.readlink())


def folders() -> list[Path]:
    """Of clusters of this process."""
    return [Path(name).parent for name in opened("self") if name.endswith("/lock")]


def listening(pid: int) -> list[str]:
    """The addresses, in hexadecimal, at which a process takes connections."""
    held = set(opened(pid))
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == LISTENING and f"socket:[{line.split()[9]}]" in held:
                found.append(local.split(":")[0])
    return found


def ended(executor: Ray) -> Outcome:
    """How the one job under way ends."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for outcome in executor.wait():
            return outcome
    raise AssertionError("it does not end")


def test_nobody_else_can_reach_it(executor: Ray) -> None:
    job = Job((fake_stage("a"),), "store", "log", {"threads": 1})
    executor.submit(job)
    worker = int(ended(executor).reason)
    mine = [os.getpid(), *descendants(os.getpid())]
    assert worker in mine
    addresses = [address for pid in mine for address in listening(pid)]
    # GCS, raylet (two), the agent, a worker and this process.
    assert len(addresses) >= 6
    assert set(addresses) <= LOOPBACK
    (folder,) = folders()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert Path(ray.nodes()[0]["RayletSocketName"]).is_relative_to(folder)
    users_own = Path("~/.ray/auth_token").expanduser()
    assert not users_own.exists() or (folder / "token").read_text() not in users_own.read_text()


@pytest.mark.parametrize("victim", VICTIMS)
def test_one_that_dies_is_replaced_and_the_work_goes_on(executor: Ray, victim: str) -> None:
    (before,) = folders()
    token = (before / "token").read_text()
    handler = signal.getsignal(signal.SIGTERM)
    job = Job((fake_stage("a"),), "store", "log", {"threads": 1})
    executor.submit(job)
    (pid,) = [pid for pid in descendants(os.getpid()) if command_of(pid).endswith(victim)]
    os.kill(pid, signal.SIGKILL)
    first = ended(executor)
    assert first.status is Ending.WORKER_DIED
    executor.submit(job)
    assert ended(executor).status is Ending.DONE
    (after,) = folders()
    assert (after / "token").read_text() != token and not before.exists()
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_never_lives_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(LocalCluster, "_begin", lambda cluster: begun.append(1))
    monkeypatch.setattr(LocalCluster, "end", lambda cluster: None)
    cluster = LocalCluster()
    for _ in range(5):
        cluster.renew("its raylet ended")
    cluster.proven()
    for _ in range(5):
        cluster.renew("its raylet ended")
    with pytest.raises(UserError, match=r"'ray', which ends .* 6 times \(its raylet ended\); .*; --executor serial"):
        cluster.renew("its raylet ended")
    assert len(begun) == 11


def test_what_keeps_it_from_starting_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (40, 40))
        with pytest.raises(UserError, match=r"--executor: found 'ray', which cannot start where 40 files may be open"):
            LocalCluster()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: _Usage)
        with pytest.raises(UserError, match=r"cannot start where 7 bytes are free"):
            LocalCluster()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "init", _fails)
    with pytest.raises(UserError, match=r"does not start \(timed out during startup\); .*; --executor serial runs"):
        LocalCluster()
    assert list(tmp_path.iterdir()) == []


class _Usage:
    free = 7


def _fails(**_: object) -> None:
    raise Exception("timed out\nduring startup")


def test_folders_of_dead_runs_go_with_the_next_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    dead, living = tmp_path / "seedbed-ray-dead", tmp_path / "seedbed-ray-living"
    for folder in (dead, living):
        (folder / "ray").mkdir(parents=True)
        (folder / "lock").touch()
    with (living / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with _private_folder() as own:
            assert set(tmp_path.iterdir()) == {living, own}
        assert list(tmp_path.iterdir()) == [living]


def test_a_folder_in_which_workers_still_write_is_left_to_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(local_cluster, "REMOVAL_S", 0.0)
    removed = shutil.rmtree

    def and_written_again(folder: Path, ignore_errors: bool) -> None:
        removed(folder, ignore_errors=ignore_errors)
        (own / "ray").mkdir(parents=True, exist_ok=True)

    with _private_folder() as own:
        (own / "ray").mkdir()
        monkeypatch.setattr(shutil, "rmtree", and_written_again)
    assert sorted(path.name for path in own.iterdir()) == ["lock", "ray"]
    monkeypatch.setattr(shutil, "rmtree", removed)
    with _private_folder() as another:
        assert list(tmp_path.iterdir()) == [another]
