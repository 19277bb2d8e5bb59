"""Where files lie: as it was meant where a suite was planned, though a stage runs elsewhere, with another home."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from safetensors.torch import save_file

from harness.execution.worker import Job
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.store.store import Store
from harness.suites.suite import load_suite
from methods.base import BackboneOptions
from methods.networks.backbones import build
from settings.errors import UserError
from settings.masks import write_mask
from settings.saliency import write_saliency
from tests.conftest import REPOSITORY

NETWORK = BackboneOptions(name="test_efficientnet", weights="random", size=32)
SUITE = """
plugins: [~/plugins/darker.py]
dataset: {name: folder, root: photos}
settings: {web: {source: {name: class_folders, root: ~/more}, audit: {near_duplicates: false, min_side: 8}}}
training_mode: fine_tuned
backbone: {name: test_efficientnet, weights: weights/backbone.safetensors, size: 32, output_stride: 8}
recipes:
  mine:
    localizer: {name: darker, hidden: 8, training: {epochs: 1, batch: 4}}
    cue: {name: folder, root: saliency, sources: {web: ~/saliency-of-more}}
    labeler: saliency
    segmenter:
      name: deeplab_largefov
      encoder: {name: test_efficientnet, weights: ~/weights/encoder.safetensors}
      crop: 33
      width: 8
      training: {epochs: 1, batch: 2}
"""
RUN = """
import pickle, sys
from harness.execution.worker import run_job
for outcome in run_job(pickle.load(sys.stdin.buffer)):
    print(outcome.status, outcome.ref.kind, outcome.reason)
"""


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
    PillowImage.fromarray(pixels).save(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home, with everything that the suite names."""
    folder, home = tmp_path / "here", tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    ids = {"train": ("a", "b", "c", "d"), "dev": ("e", "f"), "val": ("v", "w")}
    labels = "id,labels\n"
    for number, photo_id in enumerate(photo_id for members in ids.values() for photo_id in members):
        write_photo(folder / "photos" / "images" / f"{photo_id}.png", number)
        (folder / "photos" / "masks").mkdir(exist_ok=True)
        mask_HW = np.zeros((32, 32), np.uint8)
        mask_HW[8:24, 8:24] = number % 2 + 1
        write_mask(folder / "photos" / "masks" / f"{photo_id}.png", mask_HW)
        (folder / "saliency").mkdir(exist_ok=True)
        write_saliency(folder / "saliency" / f"{photo_id}.png", 255 * (mask_HW > 0).astype(np.uint8))
        labels += f"{photo_id},{'cat' if number % 2 == 0 else 'dog'}\n"
    for split, members in ids.items():
        (folder / "photos" / f"{split}.txt").write_text("\n".join(members))
    (folder / "photos" / "labels.csv").write_text(labels)
    (folder / "photos" / "classes.txt").write_text("cat\ndog\n")
    for number, place in enumerate(("cat/x", "dog/y"), 50):
        write_photo(home / "more" / f"{place}.png", number)
        (home / "saliency-of-more" / place).parent.mkdir(parents=True)
        write_saliency(home / "saliency-of-more" / f"{place}.png", np.full((32, 32), 200, np.uint8))
    for path in (folder / "weights" / "backbone.safetensors", home / "weights" / "encoder.safetensors"):
        path.parent.mkdir()
        save_file(dict(build(NETWORK, (0, 1, 2, 3, 4)).body.state_dict()), path)
    (home / "plugins").mkdir()
    (home / "plugins" / "darker.py").write_text(
        "from methods.localizers.cam import Cam\nclass Darker(Cam):\n    'Like it.'\n"
    )
    (folder / "mine.yaml").write_text(SUITE)
    monkeypatch.chdir(folder)
    return folder


def stages(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.graph.values() if stage.kind.name == kind]


def texts_in(content: Any) -> set[str]:
    """All text of nested mappings and lists."""
    if isinstance(content, str):
        return {content}
    children = content.values() if isinstance(content, dict) else content if isinstance(content, (list, tuple)) else ()
    return {text for child in children for text in texts_in(child)}


def test_a_suite_planned_in_one_folder_runs_in_another_with_another_home(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load_suite("mine.yaml"))
    for stage in plan.graph.values():
        assert {text for text in texts_in(stage.to_json()["runtime"]) if text.startswith("~")} == set()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(elsewhere)
    store = Store(tmp_path / "store").create()
    job = Job(tuple(plan.graph.values()), store.root, tmp_path / "log.jsonl")
    ran = subprocess.run(
        [sys.executable, "-c", RUN], input=pickle.dumps(job), capture_output=True, check=True, cwd=elsewhere
    )
    told = ran.stdout.decode().splitlines()
    assert [line for line in told if not line.startswith("finished ")] == []
    assert len(told) == len(plan.graph)
    assert {ref.kind for ref in plan.graph} > {"features", "localizer_fit", "cue", "segmenter_fit", "segment", "row"}


def test_keys_do_not_depend_on_how_a_place_was_written(here: Path) -> None:
    """But for an encoder's weights: what was written of them has always been in the keys of what they train."""
    relative = set(make_plan(load_suite("mine.yaml")).graph)
    places = (f"dataset.root={here / 'photos'}", f"backbone.weights={here / 'weights' / 'backbone.safetensors'}")
    assert set(make_plan(load_suite("mine.yaml", places)).graph) == relative


def test_the_key_of_an_encoder_has_its_weights_as_they_were_written(here: Path) -> None:
    (fit,) = stages(make_plan(load_suite("mine.yaml")), "segmenter_fit")
    written = "~/weights/encoder.safetensors"
    assert fit.identity.component.options["encoder"] == {"name": "test_efficientnet", "weights": written}
    absolute = str(Path.home() / "weights" / "encoder.safetensors")
    assert fit.runtime.places == {"encoder": {"name": "test_efficientnet", "weights": absolute}}


@pytest.mark.parametrize(
    "place",
    [
        "dataset.root",
        "backbone.weights",
        "settings.web.source.root",
        "recipes.mine.cue.root",
        "recipes.mine.cue.sources.web",
        "recipes.mine.segmenter.encoder.weights",
    ],
)
def test_the_home_of_nobody_is_one_line(here: Path, place: str) -> None:
    with pytest.raises(UserError, match=r"~nobody-here/x.*expected a path whose ~ stands for a user of this machine"):
        make_plan(load_suite("mine.yaml", [f"{place}=~nobody-here/x"]))
