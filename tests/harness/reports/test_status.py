"""What is told about a run: events, the state of the display, estimates, provenance, pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.drawing.overlays import mask_colours, outlines, with_mask
from harness.execution.costs import Costs
from harness.reports.progress import RunState, duration
from harness.reports.time_left import ENDING_S
from harness.stages import provenance as provenance_module
from harness.stages.features import Features, FeaturesIdentity
from harness.stages.graph import Stage
from harness.stages.kind import PhotosRuntime, Place
from harness.stages.numerics import cpu_class, resolve_device
from harness.stages.provenance import provenance, sources_of, stale_sources
from harness.store.events import EventLog, EventReader
from harness.store.store import Store
from methods.base import BackboneOptions
from settings.components import ComponentSpec
from tests.harness.fakes import fake_stage


def test_events_come_back_in_order_and_only_whole(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path / "log.jsonl"), EventReader(tmp_path / "log.jsonl")
    assert list(reader.new()) == []
    log.write("started", stages=["a"])
    with log.path.open("a") as file:
        file.write('{"v": 1, "t": 0.0, "event": "half')
    assert [event["event"] for event in reader.new()] == ["started"]
    with log.path.open("a") as file:
        file.write('"}\nno json\n{"v": 99, "event": "of another version"}\n')
    assert [event["event"] for event in reader.new()] == ["half"]


def test_progress_is_throttled_but_its_end_is_told(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    for done in range(1, 101):
        log.progress(["a"], done, 100, "photos", {"loss": 0.123456789})
    events = list(EventReader(log.path).new())
    assert [event["done"] for event in events] == [1, 100]
    assert events[0]["values"] == {"loss": 0.1235}


def test_the_display_follows_a_stage_from_start_to_end(tmp_path: Path) -> None:
    stage = fake_stage(label="val 0", group="features", photos=10)
    state = RunState({stage.key: stage}, Costs(Store(tmp_path)))
    state.take({"event": "started", "stages": [stage.key], "t": 0.0})
    assert state.lines() == ["val 0"]
    progress = {"total": 10, "unit": "photos", "values": {"loss": 0.5}}
    state.take({"event": "progress", "stages": [stage.key], "t": 1.0, "done": 2, **progress})
    state.take({"event": "progress", "stages": [stage.key], "t": 2.0, "done": 5, **progress})
    assert state.lines() == ["val 0: 5/10 photos · 2.5 photos/s · loss 0.5"]
    # Three photos a second since the first telling, and five to go.
    assert state.seconds_left(2.0) == pytest.approx(5 / 3 + ENDING_S)
    state.take({"event": "finished", "stages": [stage.key], "t": 4.0})
    assert state.lines() == [] and state.condition(stage.key) == "done"
    assert state.seconds_left(4.0) == ENDING_S


def test_costs_are_learnt_from_what_ran(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    stages = [fake_stage(n, group="mine", photos=10) for n in range(3)]
    for stage, seconds in zip(stages, (1.0, 2.0, 9.0), strict=True):
        attempt = store.attempt(stage.ref)
        attempt.record = replace(attempt.record, seconds=seconds)
        store.publish(attempt)
    Costs(store).learn(store, {stage.ref: stage for stage in stages})
    assert Costs(store).seconds(stages[0]) == pytest.approx(2.0 + 0.02)


def test_bytes_of_features_are_those_of_float16_maps(tmp_path: Path) -> None:
    backbone = BackboneOptions(size=320, output_stride=16)
    identity = FeaturesIdentity(photos="", backbone=backbone.model_dump(), scale=1.0, flip=False, level=4)
    runtime = PhotosRuntime(place=Place(ComponentSpec(name="scenes"), backbone), ids=())
    stage = Stage(Features(), identity, runtime, photos=64)
    assert stage.kind.bytes(stage) == 64 * 320 * 20 * 20 * 2


@pytest.mark.parametrize(("seconds", "text"), [(8.2, "8 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sources_cover_what_a_component_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"__init__": "", "a": "from methods.b import x", "b": "x = 1", "c": "y = 1"}.items():
        (tmp_path / "methods").mkdir(exist_ok=True)
        (tmp_path / "methods" / f"{name}.py").write_text(text)
    monkeypatch.setattr("harness.stages.provenance.ROOT", tmp_path)

    def sources() -> tuple[str, str]:
        _forget_sources()
        return sources_of("methods.a"), provenance_module._texts_of("methods.a")

    before = sources()
    (tmp_path / "methods" / "c.py").write_text("y = 2")
    assert sources() == before
    (tmp_path / "methods" / "b.py").write_text('"""Documented."""\n\n# And explained.\nx = (\n    1\n)\n')
    code, texts = sources()
    # Records of before `code-1` are held against whole texts, by which they were made.
    assert code == before[0] and texts != before[1]
    assert stale_sources({"methods.a": before[0]}) == []
    assert stale_sources({"methods.a": before[1]}) == ["methods.a"]
    assert stale_sources({"methods.a": texts}) == []
    (tmp_path / "methods" / "b.py").write_text("x = 2")
    assert sources()[0] != before[0]
    _forget_sources()


def test_sources_are_told_apart_by_what_computes(tmp_path: Path) -> None:
    def code(text: str) -> bytes:
        path = tmp_path / "a.py"
        path.write_text(text)
        provenance_module._code_in.cache_clear()
        return provenance_module._code_in(path)

    before = code(
        'class A:\n    x: int = 1\n    """Of this."""\n    def f(self):\n        """Doc."""\n        return None\n'
    )
    assert code("class A:\n    x: int = 1\n    def f(self):\n        return  None  # nothing\n") == before
    for changed in ("class A:\n    x: int = 2\n    def f(self):\n        return None\n",):
        assert code(changed) != before
    # A text that is used is no docstring.
    assert code("x = 'a'") != code("x = 'b'")
    # One statement more, or in another place, is another program.
    assert code("if a:\n    f()\ng()") != code("if a:\n    f()\n    g()")


def _forget_sources() -> None:
    for kept in ("sources_of", "_texts_of", "_imports", "_code_in"):
        getattr(provenance_module, kept).cache_clear()


def test_provenance_is_plain_json() -> None:
    content = json.loads(json.dumps(provenance()))
    assert content["packages"]["torch"]
    assert content["cpu"] == cpu_class()


def test_a_device_is_taken_as_asked() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("cuda") == "cuda"


def test_a_mask_is_drawn_over_its_photo_with_a_rim_and_background_is_the_photo() -> None:
    image_HWC = np.full((9, 9, 3), 100, np.uint8)
    mask_HW = np.zeros((9, 9), np.uint8)
    mask_HW[:, 4:] = 1
    row_WC = with_mask(image_HWC, mask_HW)[5].astype(int)
    colour_C = mask_colours()[1].astype(int)
    assert (row_WC[:3] == 100).all()
    assert (row_WC[3] == 0).all()
    assert (row_WC[4] == colour_C).all()
    # 35 % of the photo, 65 % of the colour.
    assert np.abs(row_WC[5:] - (0.35 * 100 + 0.65 * colour_C)).max() <= 1


def test_outlines_keep_the_size_and_little_of_the_photo() -> None:
    rng = np.random.default_rng(0)
    image_HWC = np.zeros((200, 300, 3), np.uint8)
    image_HWC[50:150, 100:200] = 255
    image_HWC[10:20, 10:290] += rng.integers(0, 20, (10, 280, 3), np.uint8)
    drawn_HWC = outlines(image_HWC)
    assert drawn_HWC.shape == image_HWC.shape
    grey_HW = drawn_HWC[..., 0].astype(int)
    # Ink lies on the edge of the square, and neither inside nor far outside of it.
    assert grey_HW[100, 95:106].min() < 120
    assert grey_HW[100, 140:160].min() == grey_HW[180:, :50].min() == 235
