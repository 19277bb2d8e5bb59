"""A kind of stage is one class: it is found by its being there, and everything else asks it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest

from harness.execution.running import run_plan
from harness.stages import planning
from harness.stages.graph import Stage
from harness.stages.kind import (
    AnyKind,
    Identity,
    PhotosRuntime,
    Runtime,
    StageKind,
    _check,
    kind_of,
    kinds,
    parsed,
    plain,
)
from harness.stages.labels import Label
from harness.stages.line import Line
from harness.stages.work import Work
from harness.store.layout import Named, Ref, StageFiles
from harness.store.store import Store
from harness.suites.suite import load_suite
from tests.harness.conftest import ONLY_CAM
from tests.harness.fakes import FakeIdentity, fake_stage


class PhotoCountFiles(StageFiles):
    count = Named("count.json")


@dataclass(frozen=True, kw_only=True)
class PhotoCountIdentity(Identity):
    photos: str


class PhotoCount(StageKind[PhotoCountIdentity, PhotosRuntime]):
    """What somebody's own kind looks like: it counts the photos of a shard, and `plan` shows the number."""

    name = "photo_count"
    identity = PhotoCountIdentity
    runtime = PhotosRuntime
    writes = PhotoCountFiles

    def run(self, work: Work[PhotoCountIdentity, PhotosRuntime]) -> None:
        work.files(PhotoCountFiles).count.write_text(json.dumps(len(work.photos())), encoding="utf-8")

    def targets(self, line: Line) -> Iterable[Ref]:
        for shard, photos in enumerate(line.source.shards):
            yield line.blueprint.add(
                self,
                PhotoCountIdentity(photos=line.source.content(shard)),
                line.source.runtime(photos),
                label=f"photos of shard {shard}",
                group=f"photos of shard {shard}: {len(photos)}",
                photos=len(photos),
            )


@pytest.mark.parametrize("kind", kinds().values(), ids=str)
def test_every_kind_says_what_it_is(kind: AnyKind) -> None:
    assert kind_of(kind.name) == kind
    assert kind.__doc__ and kind.run.__doc__
    assert issubclass(kind.identity, Identity) and is_dataclass(kind.identity)
    assert issubclass(kind.runtime, Runtime) and is_dataclass(kind.runtime)
    assert issubclass(kind.writes, StageFiles)
    # A store has folders of these names beside those of kinds.
    assert kind.name not in ("damaged", "events", "failures", "leaderboards", "stages")


def test_no_kind_that_stores_have_is_gone() -> None:
    assert kinds().keys() >= {
        *("classify", "cue", "cue_fit", "diagnose", "examine", "examine_cue", "features", "filter", "gallery", "label"),
        *("localizer_apply", "localizer_fit", "refiner_apply", "refiner_fit", "reveal", "row", "score", "segment"),
        *("segmenter_fit", "select", "sweep", "weak_set"),
    }


def test_a_stage_refuses_the_identity_of_another_kind() -> None:
    with pytest.raises(TypeError, match="a stage of kind label with FakeIdentity and Runtime"):
        Stage(Label(), FakeIdentity())


@dataclass(frozen=True, kw_only=True)
class Sample(Identity):
    always: float | None
    sometimes: str | None = None
    many: tuple[int, ...] = ()


def test_entries_with_the_default_none_are_left_out_of_keys_while_they_are_none() -> None:
    assert plain(Sample(always=None)) == {"always": None, "many": []}
    assert plain(Sample(always=0.5, sometimes="", many=(1, 2))) == {"always": 0.5, "sometimes": "", "many": [1, 2]}


@pytest.mark.parametrize("sample", [Sample(always=None), Sample(always=1.0, sometimes="s", many=(3,))])
def test_what_is_plain_is_parsed_to_the_same(sample: Sample) -> None:
    assert parsed(Sample, json.loads(json.dumps(plain(sample)))) == sample
    with pytest.raises(ValueError, match="always"):
        parsed(Sample, {"many": []})


def test_a_key_depends_on_kind_identity_and_inputs_alone() -> None:
    stage = fake_stage(1, {"maps": (Ref("a", "b"),)}, label="one", group="g", photos=3)
    assert fake_stage(1, {"maps": (Ref("a", "b"),)}, label="two", threads=2).key == stage.key
    others = [fake_stage(2, stage.inputs), fake_stage(1), fake_stage(1, stage.inputs, "other")]
    assert stage.key not in {other.key for other in others}


def test_a_kind_of_somebodys_own_is_planned_run_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = {**kinds(), PhotoCount.name: PhotoCount()}
    monkeypatch.setattr(planning, "kinds", lambda: every)
    plan = planning.make_plan(load_suite("smoke", [*ONLY_CAM, "segmenter=none"]))
    (counted,) = (stage for stage in plan.graph.values() if stage.kind == PhotoCount())
    assert counted.ref in plan.targets and counted.group == "photos of shard 0: 32"
    alone = planning.Plan(plan.suite, {counted.ref: counted}, (counted.ref,))
    with run_plan(alone, tmp_path / "store", "serial") as run:
        assert run.stages_run == 1
    files = PhotoCountFiles(Store(tmp_path / "store").open(counted.ref).folder)
    assert files.count.read_text() == "32"


def test_runtimes_name_no_entry_that_identities_have() -> None:
    """What decides the outcome stands in one place: a second one beside it could say something else."""
    for kind in kinds().values():
        both = {field.name for field in fields(kind.identity)} & {field.name for field in fields(kind.runtime)}
        assert both <= {"plugins"}, kind


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {"name": "row"},
            r"Own: the name 'row' is that of harness\.stages\.rows\.RowKind; each kind has a name of its own",
        ),
        ({"name": "events"}, "Own: a store has a folder 'events' beside those of kinds; call it otherwise"),
        ({}, "Own: no name, identity, runtime, writes; a kind of stage names them all"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(entries: dict[str, object], words: str) -> None:
    whole = {"identity": PhotoCountIdentity, "runtime": PhotosRuntime, "writes": PhotoCountFiles} if entries else {}
    own = type("Own", (StageKind,), {"run": PhotoCount.run, **whole, **entries})
    with pytest.raises(TypeError, match=words):
        _check(own, kinds())
