"""Stages without meaning, for tests of what orders, runs, counts and shows stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.stages.graph import Stage
from harness.stages.kind import Identity, Numerics, PhotosRuntime, Place, Runtime, StageKind
from harness.stages.labels import Label, LabelIdentity
from harness.stages.rows import RowIdentity, RowKind, RowPlace, RowRuntime
from harness.stages.work import Work
from harness.store.layout import Ref, StageFiles
from harness.suites.recipes import ComponentIdentity
from methods.base import BackboneOptions
from settings.components import ComponentSpec

CUDA = Numerics("cuda", "float32", "channels_last")


@dataclass(frozen=True, kw_only=True)
class FakeIdentity(Identity):
    """Whatever makes two fake stages different."""

    n: object = None


class FakeKind(StageKind[FakeIdentity, Runtime]):
    """A kind that computes nothing; its name may be that of a real one."""

    name = "kind"
    identity = FakeIdentity
    runtime = Runtime
    writes = StageFiles

    def run(self, work: Work[FakeIdentity, Runtime]) -> None:
        raise AssertionError("a fake stage is never run")


@cache
def fake_kind(name: str, halves: bool = False, seconds_a_photo: float = 0.0) -> FakeKind:
    """A fake kind of that name."""
    own: dict[str, Any] = {"name": name, "halves_when_out_of_memory": halves, "seconds_a_photo": seconds_a_photo}
    kind: FakeKind = type("FakeKindOfThatName", (FakeKind,), own)()
    return kind


def fake_stage(
    n: object = None,
    inputs: Mapping[str, tuple[Ref, ...]] | None = None,
    kind: FakeKind | str = "kind",
    numerics: Numerics | None = None,
    **rest: Any,
) -> Stage:
    """A stage of a fake kind; `n` makes it another one."""
    if isinstance(kind, str):
        kind = fake_kind(kind)
    return Stage(kind, FakeIdentity(n=n, numerics=numerics), inputs=inputs or {}, **rest)


def label_stage(n: object = None, inputs: Mapping[str, tuple[Ref, ...]] | None = None, **rest: Any) -> Stage:
    """A stage of a real kind, which other processes and descriptions know; `n` makes it another one."""
    identity = LabelIdentity(component=ComponentIdentity("labeler", "threshold", 1, {}), photos=str(n))
    runtime = PhotosRuntime(place=Place(ComponentSpec(name="scenes"), BackboneOptions()), ids=())
    return Stage(Label(), identity, runtime, inputs or {}, **rest)


def row_stage(
    recipe: str, setting: str, rng_seed: int, inputs: Mapping[str, tuple[Ref, ...]] | None = None, **rest: Any
) -> Stage:
    """The stage of a row: pseudo labels of that recipe under that setting with that rng seed."""
    place = RowPlace(
        dataset="scenes",
        split="train",
        recipe=recipe,
        setting=setting,
        training_mode="frozen",
        rng_seed=rng_seed,
        stage="pseudo_labels",
        variant="",
        policy="fixed",
        classes=("background", "disc"),
        supervision="I",
        extra_in_stage_2=False,
        protocol="voc/1",
    )
    identity = RowIdentity(row=place, threshold=None, steps=100, version=3)
    runtime = RowRuntime(place=Place(ComponentSpec(name="scenes"), BackboneOptions()))
    return Stage(RowKind(), identity, runtime, inputs or {}, label=f"{recipe} {setting} {rng_seed}", **rest)
