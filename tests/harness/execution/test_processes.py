"""Teams: one stage trained by several processes, those that fail, those that are killed, and what is refused before."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file

from harness.execution.driver import drive
from harness.execution.executor import Serial
from harness.execution.job import Job, Outcome
from harness.execution.running import run_plan
from harness.execution.team import RankDied, RankFailed, Report, check
from harness.execution.worker import run_job
from harness.execution.workers import Workers
from harness.stages.graph import Stage, missing_stages
from harness.stages.kind import plain
from harness.stages.lineage import Lineage
from harness.stages.planning import Plan, make_plan
from harness.store.events import Ending, EventLog
from harness.store.layout import Ref
from harness.store.lease import process_start
from harness.store.record import Record
from harness.store.store import Lost, Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM

TRAINER = '''
"""A localizer that trains as `cam`, but for what happens to one of its processes."""

import os
import time
from pathlib import Path

from methods.localizers.cam import Cam, CamOptions
from settings.errors import UserError


class TroubleOptions(CamOptions):
    happens: str = "nothing"
    notes: str = ""


class Trouble(Cam):
    options_model = TroubleOptions

    def fit(self, weak, surroundings):
        Path(self.options.notes, f"pid-{surroundings.share.rank}").write_text(str(os.getpid()))
        if self.options.happens == "sleep":
            time.sleep(120)
        if surroundings.share.rank == 1:
            if self.options.happens == "mistake":
                raise UserError("photo 7", "nothing", "something", "look there")
            if self.options.happens == "kill":
                os.kill(os.getpid(), 9)
        return super().fit(weak, surroundings)
'''
CAM = "recipes={{cam: {{localizer: {{name: cam, hidden: 0, training: {{epochs: 3, batch: {}}}}}, labeler: threshold}}}}"


class Place(NamedTuple):
    """A store with the inputs of fits, and the log beside it."""

    store: Store
    log: Path


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (*ONLY_CAM, *overrides)))


def fit_of(plan: Plan, kind: str = "localizer_fit") -> Stage:
    (fit,) = [stage for stage in plan.graph.values() if stage.kind.name == kind and stage.label.startswith("cam")]
    return fit


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("teams")
    store, plan = Store(folder / "store").create(), plan_of()
    needed = missing_stages(plan.graph, list(fit_of(plan).needs()), dict.fromkeys(plan.graph, False))
    assert drive(needed, Serial(), store.root, EventLog(folder / "log")).failures == {}
    return Place(store, folder / "log")


def run(place: Place, stage: Stage, **how: Any) -> Outcome:
    (outcome,) = run_job(Job((stage,), place.store.root, place.log), **how)
    return outcome


def log_of(place: Place, stage: Stage) -> np.ndarray:
    rows = json.loads(place.store.open(stage.ref).path("log.json").read_text(encoding="utf-8"))
    return np.array([row["classification"] for row in rows])


def weights_of(place: Place, stage: Stage) -> dict[str, np.ndarray]:
    return dict(load_file(place.store.open(stage.ref).path("weights.safetensors")))


def test_two_processes_give_the_losses_and_weights_of_one(place: Place) -> None:
    """7 items a batch: slices of 3 and 4. Only the first process tells of its progress, and only its files are kept."""
    one, two = (fit_of(plan_of(CAM.format(7), f"compute.train_processes={n}")) for n in (1, 2))
    assert (one.processes, two.processes) == (1, 2)
    assert [run(place, stage).status for stage in (one, two)] == [Ending.DONE, Ending.DONE]
    assert np.abs(log_of(place, one) - log_of(place, two)).max() < 1e-4
    weights = weights_of(place, one)
    assert all(np.allclose(weights[name], value, atol=1e-5) for name, value in weights_of(place, two).items())
    artefact = place.store.open(two.ref)
    assert sorted(artefact.record.files) == ["log.json", "weights.safetensors"]
    assert artefact.record.peak_memory_bytes > place.store.open(one.ref).record.peak_memory_bytes
    assert not place.store.checkpoint_folder(two.ref).exists()
    events = [json.loads(line) for line in place.log.read_text(encoding="utf-8").splitlines() if two.key in line]
    done = [event["done"] for event in events if event["event"] == "progress"]
    assert done == sorted(set(done)) and done[-1] == 12


@pytest.fixture
def trouble(tmp_path: Path) -> Callable[[str], Stage]:
    """The fit of a localizer to whose second process something happens; the features are those of `place`."""

    def stage(happens: str) -> Stage:
        (tmp_path / "trouble.py").write_text(TRAINER, encoding="utf-8")
        localizer = f"{{name: trouble, happens: {happens}, notes: {tmp_path}, hidden: 0, training: {{batch: 8}}}}"
        lines = ["include: smoke", "plugins: [trouble.py]", "name: troubled", "gallery: 0"]
        (tmp_path / "troubled.yaml").write_text("\n".join(lines), encoding="utf-8")
        recipes = f"recipes={{cam: {{localizer: {localizer}, labeler: threshold}}}}"
        suite = load_suite(tmp_path / "troubled.yaml", (*ONLY_CAM, recipes, "compute.train_processes=2"))
        return fit_of(make_plan(suite))

    return stage


def pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in sorted(folder.glob("pid-*")) if path.read_text()]


def gone(processes: list[int], within_s: float = 5.0) -> bool:
    """Whether the processes ended (or are only waited for) in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if all(process_start(pid) is None or state_of(pid) == "Z" for pid in processes):
            return True
        time.sleep(0.05)
    return False


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def test_a_mistake_that_one_process_finds_is_the_stages(
    place: Place, trouble: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = trouble("mistake")
    outcome = run(place, stage)
    assert (outcome.status, outcome.is_users) == ("failed", True)
    assert outcome.reason == "photo 7: found nothing; expected something; look there"
    told = json.loads(place.store.read_document(f"failures/{stage.key}.json"))
    assert told["traceback"].startswith("process 2 of 2:\nTraceback")
    assert len(pids(tmp_path)) == 2 and gone(pids(tmp_path))


def test_a_killed_process_is_a_worker_that_died_and_takes_the_others_along(
    place: Place, trouble: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = trouble("kill")
    outcome = run(place, stage)
    assert (outcome.status, outcome.reason) == ("worker_died", "process 2 of 2 ended: SIGKILL")
    assert len(pids(tmp_path)) == 2 and gone(pids(tmp_path))
    assert not list((place.store.root / "localizer_fit" / stage.key).glob("attempt*"))


def test_processes_end_with_whoever_started_them(
    place: Place, trouble: Callable[[str], Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = trouble("sleep")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    parent = os.fork()
    if parent == 0:
        run(place, stage)
        os._exit(0)
    try:
        end = time.monotonic() + 60
        while len(pids(tmp_path)) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert not gone(pids(tmp_path), 0.1)
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    assert len(pids(tmp_path)) == 2 and gone(pids(tmp_path))
    assert not list((tmp_path / "temporary").glob("seedbed-team-*"))


def test_who_began_a_failure_is_who_is_told_of() -> None:
    well, follower = Report(0), Report(0, reason="connection closed", follows=True)
    dead = Report(2, reason="SIGKILL", died=True)
    own = Report(1, reason="ValueError: no", trace="where", is_users=True)
    check([well, replace(well, rank=1)], 2)
    with pytest.raises(RankFailed, match=r"^ValueError: no$") as caught:
        check([follower, own, dead], 3)
    assert caught.value.is_users and caught.value.trace == "process 2 of 3:\nwhere"
    with pytest.raises(RankDied, match=r"^process 3 of 3 ended: SIGKILL$"):
        check([follower, replace(follower, rank=1), dead], 3)
    with pytest.raises(RankDied, match="one of 2 processes is gone, as process 1 found: connection closed"):
        check([follower, replace(well, rank=1)], 2)
    with pytest.raises(RankDied, match="1 of 2 processes gave no report"):
        check([well], 2)
    with pytest.raises(Lost, match="features/abc: damaged") as lost:
        check([replace(own, lost=("features", "abc"), reason="damaged")], 1)
    assert lost.value.ref == Ref("features", "abc")


def test_one_process_goes_without_saying_in_keys() -> None:
    numerics = plain(fit_of(plan_of()).identity.numerics)
    assert set(numerics) <= {"device", "precision", "memory_format", "cpu", "threads"}
    assert list(plan_of().graph) == list(plan_of("compute.sync_batch_norm=false").graph)


def test_several_processes_are_in_the_keys_of_what_is_trained() -> None:
    plans = [plan_of(), *(plan_of(f"compute.train_processes={n}") for n in (2, 3))]
    plans.append(plan_of("compute.train_processes=2", "compute.sync_batch_norm=false"))
    for kind in ("localizer_fit", "segmenter_fit", "row"):
        keys = [{ref.key for ref in plan.graph if ref.kind == kind} for plan in plans]
        trained = [of - set.intersection(*keys) for of in keys]  # all but rows of what trains nothing
        assert all(trained) and len(set.union(*trained)) == sum(map(len, trained))
    for kind in ("features", "weak_set"):
        assert len({frozenset(ref for ref in plan.graph if ref.kind == kind) for plan in plans}) == 1
    assert plans[1].notes[-1] == "each network is trained by 2 processes, batch norm over the whole batch"
    assert plans[3].notes[-1].endswith("batch norm by each process for itself, unlike one process")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["compute.train_processes=9"], r"9 processes for a batch of 8 \(cam, cam\); expected at least one item each"),
        (["compute.train_processes=5", "compute.sync_batch_norm=false"], "5 processes for a batch of 8 .* two items"),
        ([CAM.format(3), "compute.train_processes=4"], r"4 processes for a batch of 3"),
        (["dataset.train=4", "dataset.dev=2", "compute.train_processes=7"], "7 processes for a batch of 6"),
    ],
)
def test_more_processes_than_a_batch_has_items_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(
        UserError, match=rf"compute.train_processes: found {words}.*; fewer processes or a larger batch"
    ):
        plan_of(*overrides)


def test_more_processes_than_slots_are_refused_before_any_work(tmp_path: Path) -> None:
    plan = plan_of("compute.train_processes=2", "compute.training_threads=2")
    words = "compute.train_processes: found 2 processes of 2 threads for 3 slots; expected at most 3 threads together"
    with pytest.raises(UserError, match=words), run_plan(plan, tmp_path / "store", Workers("ray", 3)):
        pass
    assert not (tmp_path / "store" / "events").exists()


def test_rows_tell_how_many_processes_trained() -> None:
    def record(train_processes: int = 1, **numerics: object) -> Record:
        if train_processes > 1:
            numerics["train_processes"] = train_processes
        cost = {"seconds": 2.0, "device": "cuda", "peak_memory_bytes": 1, "gpus": train_processes}
        return Record("kind", "key", "attempt", {}, identity={"numerics": numerics}, **cost)

    def fields(*records: Record) -> tuple[Any, ...]:
        lineage = Lineage({Ref("kind", str(index)): one for index, one in enumerate(records)}).row_fields({})
        return lineage.get("train_processes"), lineage.get("batch_norm"), lineage["gpu_seconds"]

    assert fields(record()) == (None, None, 2.0)
    both = record(), record(train_processes=2, sync_batch_norm=True)
    assert fields(*both) == (2, "synchronised", 6.0)
    assert fields(*both, record(train_processes=3, sync_batch_norm=False)) == (3, "per process", 12.0)


@pytest.mark.skipif("SEEDBED_CHAOS_ROUNDS" not in os.environ, reason="takes half a minute: `make chaos`")
def test_ray_trains_a_team_to_the_same_result(place: Place) -> None:
    """The task that runs the job asks for no CPU: the two workers of the trainer take both that there are."""
    import ray

    from harness.execution.ray import Ray, run_training_job

    stage = fit_of(plan_of(CAM.format(7), "compute.train_processes=2"))
    run(place, stage)
    losses, weights = log_of(place, stage), weights_of(place, stage)
    place.store.backend.remove(stage.ref)
    executor = Ray(slots=2)
    try:
        task = ray.remote(max_retries=0, num_cpus=0)(run_training_job)
        (outcome,) = ray.get(task.remote(Job((stage,), place.store.root, place.log), {}), timeout=180)
    finally:
        executor.close()
    assert (outcome.status, outcome.reason) == (Ending.DONE, "")
    assert np.array_equal(losses, log_of(place, stage))
    assert all(np.array_equal(weights[name], value) for name, value in weights_of(place, stage).items())
