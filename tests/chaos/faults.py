"""What can happen to a run on Ray: each fault strikes a running one, and tells what it did."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.store.events import EventReader, Told
from harness.store.store import Store
from tests.chaos.runs import Run

LEASE_TIMEOUT_S = 3.0
DISK_BYTES = 64 << 20


@dataclass
class Scene:
    """What a fault may reach: the run, its store, and the disk that the store lies on, if it is one of its own."""

    run: Run
    rng: random.Random
    disk: Path | None = None
    later: list[threading.Timer] = field(default_factory=list)

    def running(self) -> list[dict[str, object]]:
        """The `started` events of its jobs that have not ended."""
        begun: dict[str, dict[str, object]] = {}
        for event in self._events():
            for key in event.get("stages", ()):
                if event["event"] == "started":
                    begun[key] = event
                elif event["event"] != "progress":
                    begun.pop(key, None)
        return list({id(event): event for event in begun.values()}.values())

    def _events(self) -> list[Told]:
        """What the run has told so far; other runs on the store have logs of their own."""
        for log in Store(self.run.store).logs():
            events = list(EventReader(log).new())
            if events and events[0].get("driver", {}).get("pid") == self.run.process.pid:
                return events
        return []


class Fault(ABC):
    """Something that goes wrong."""

    @abstractmethod
    def strike(self, scene: Scene) -> str:
        """Do it; what was done, or nothing where there was nothing to do it to."""


class KillDriver(Fault):
    """The process that drives the run, with all of its group."""

    def strike(self, scene: Scene) -> str:
        scene.run.kill()
        return "driver killed"


class KillWorker(Fault):
    """A process that runs a stage."""

    def strike(self, scene: Scene) -> str:
        return _signal(scene, signal.SIGKILL, "killed")


@dataclass(frozen=True)
class KillRays(Fault):
    """One of Ray's own processes: the raylet, which has the workers; GCS, which knows who is there; an agent."""

    program: str

    def strike(self, scene: Scene) -> str:
        for pid in descendants(scene.run.process.pid):
            if command_of(pid).endswith(self.program):
                os.kill(pid, signal.SIGKILL)
                return f"{self.program} killed"
        return ""


@dataclass(frozen=True)
class PauseRays(Fault):
    """One of Ray's own processes, or the driver, stops for some seconds."""

    program: str = ""
    """Empty: the driver."""

    def strike(self, scene: Scene) -> str:
        driver = scene.run.process.pid
        for pid in (driver, *descendants(driver)):
            if (pid == driver and not self.program) or (self.program and command_of(pid).endswith(self.program)):
                _pause(scene, pid, 2 * LEASE_TIMEOUT_S)
                return f"{self.program or 'driver'} paused"
        return ""


class MoveClock(Fault):
    """The clock of the run's machine is set while it runs, by up to an hour, forwards or back."""

    def strike(self, scene: Scene) -> str:
        if scene.run.clock is None:
            return ""
        seconds = scene.rng.choice((-3600, -20, 20, 3600))
        scene.run.clock.write_text(f"{seconds:+d}")
        return f"clock moved by {seconds:+d} s"


class PauseHolder(Fault):
    """A worker stops past its lease, and goes on as if nothing had happened."""

    def strike(self, scene: Scene) -> str:
        running = scene.running()
        if not running:
            return ""
        _pause(scene, int(str(scene.rng.choice(running)["pid"])), 3 * LEASE_TIMEOUT_S)
        return "worker paused"


class FillDisk(Fault):
    """No room for two seconds."""

    def strike(self, scene: Scene) -> str:
        if scene.disk is None:
            return ""
        ballast = scene.disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        timer = threading.Timer(2, ballast.unlink, [True])
        timer.start()
        scene.later.append(timer)
        return "disk full"


class ShrinkDisk(Fault):
    """The disk is no larger, for two seconds, than what lies on it."""

    def strike(self, scene: Scene) -> str:
        if scene.disk is None:
            return ""
        used = shutil.disk_usage(scene.disk).used
        _resize(scene.disk, used + 4096)
        timer = threading.Timer(2, _resize, [scene.disk, DISK_BYTES])
        timer.start()
        scene.later.append(timer)
        return "disk shrunk"


class Corrupt(Fault):
    """A published file is not any more what it was."""

    def strike(self, scene: Scene) -> str:
        published = sorted(scene.run.store.glob("*/*/done.json"))
        if not published:
            return ""
        done = scene.rng.choice(published)
        other = done.with_name(".other")
        try:
            record = json.loads(done.read_text())
            path = done.parent / record["attempt"] / scene.rng.choice(sorted(record["files"]))
            content = bytearray(path.read_bytes())
            content[scene.rng.randrange(len(content))] ^= 0xFF
            other.write_bytes(content)
            other.replace(path)
            return f"{record['kind']} corrupted"
        except (OSError, ValueError):  # the disk is full, or the run has set it aside
            return ""
        finally:
            other.unlink(missing_ok=True)


class DeleteAttempt(Fault):
    """The folder that a stage is filling disappears."""

    def strike(self, scene: Scene) -> str:
        filling = [path for path in scene.run.store.glob("*/*/attempt-*") if not (path.parent / "done.json").exists()]
        if not filling:
            return ""
        chosen = scene.rng.choice(sorted(filling))
        shutil.rmtree(chosen, ignore_errors=True)
        return f"folder of {chosen.parent.parent.name} deleted"


FAULTS: tuple[Fault, ...] = (
    KillWorker(),
    KillDriver(),
    Corrupt(),
    DeleteAttempt(),
    FillDisk(),
    PauseHolder(),
    KillRays("raylet"),
    KillRays("gcs_server"),
    KillRays("ray::RuntimeEnvAgent"),
    KillRays("ray::DashboardAgent"),
    PauseRays(),
    PauseRays("raylet"),
    PauseRays("gcs_server"),
    ShrinkDisk(),
)
ON_ONE_PROCESS: tuple[Fault, ...] = (MoveClock(), MoveClock(), KillDriver(), Corrupt(), ShrinkDisk(), PauseRays())
"""What strikes a serial run whose clock is set."""


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def command_of(pid: int) -> str:
    """The program of a process, empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def _signal(scene: Scene, number: signal.Signals, what: str) -> str:
    running = scene.running()
    if running:
        with suppress(ProcessLookupError):
            os.kill(int(str(scene.rng.choice(running)["pid"])), number)
            return f"worker {what}"
    return ""


def _pause(scene: Scene, pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(seconds, _continue, [pid])
        timer.start()
        scene.later.append(timer)


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def wait_for(scene: Scene, seconds: float) -> None:
    """So many seconds after its first stage began, or until it ends."""
    deadline = None
    while scene.run.process.poll() is None:
        if deadline is None and scene.running():
            deadline = time.monotonic() + seconds
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(0.02)
