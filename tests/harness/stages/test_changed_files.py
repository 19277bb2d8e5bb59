"""Files that become others: between two plans of one process, and between planning and running."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from safetensors.torch import save_file
from torch import Tensor

from harness.execution.running import Run, run_plan
from harness.reports.leaderboard import run_and_gather
from harness.reports.status import run_one
from harness.stages import provenance
from harness.stages.graph import Stage
from harness.stages.kind import kinds
from harness.stages.planning import Plan, make_plan
from harness.store.store import Store
from harness.suites.data import Data, data_as_planned, dataset_of, offer_as_planned, seen_of
from harness.suites.suite import Suite, load_suite
from methods.base import BackboneOptions
from methods.networks.backbones import build
from settings.components import ComponentSpec
from settings.errors import UserError
from settings.masks import write_mask
from settings.saliency import write_saliency
from tests.conftest import REPOSITORY

SUITE = """
dataset: {name: folder, root: photos}
backbone: {name: test_efficientnet, weights: weights.safetensors, size: 32, output_stride: 8}
segmenter: none
recipes:
  cam: {localizer: {name: cam, hidden: 8, training: {epochs: 1, batch: 4}}, labeler: threshold}
  maps: {localizer: {name: folder, root: maps, supervision: I}, labeler: threshold}
  cue: {cue: {name: folder, root: saliency}, labeler: label_in_saliency}
  masks: {labeler: {name: folder, root: masks, supervision: I}}
"""
EVERY_KIND = """
include: ./mine.yaml
settings:
  clean: {}
  web: {source: {name: class_folders, root: more}, filter: classifier, audit: {near_duplicates: false, min_side: 8}}
segmenter: {name: deeplab, width: 16, training: {epochs: 1, batch: 4}}
references: [few-shot(2)]
recipes:
  maps: null
  cue: null
  masks: null
  long:
    localizer: {name: coattention, hidden: 8, references: 1, training: {epochs: 1, batch: 4}}
    refiners: [affinity]
    cue: c2am
    labeler: saliency
  before: {pretraining: loca, localizer: cam, labeler: {name: threshold, threshold: 0.5}, segmenter: none}
  drawn: {pretraining: synthesis, localizer: cam, labeler: {name: threshold, threshold: 0.5}}
policies: {fixed: segmentation, oracle: maps}
diagnostics: [classifier, maps, cue, boundary_iou]
gallery: 2
"""
SPLITS = {"train": ("a", "b", "c", "d"), "dev": ("e", "f"), "val": ("v", "w")}


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
    PillowImage.fromarray(pixels).save(path)


def write_map(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_saliency(path, np.full((32, 32), value, np.uint8))


def write_square(path: Path, value: int, side: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask_HW = np.zeros((32, 32), np.uint8)
    mask_HW[:side, :side] = value
    write_mask(path, mask_HW)


@cache
def some_weights() -> dict[str, Tensor]:
    """Of a small backbone, drawn once for all tests."""
    options = BackboneOptions(name="test_efficientnet", weights="random", size=32)
    return dict(build(options, (0, 1, 2, 3, 4)).body.state_dict())


def write_weights(path: Path, scale: float = 1.0) -> None:
    save_file({name: tensor * scale for name, tensor in some_weights().items()}, path)


def write_labels(root: Path, swapped: str = "") -> None:
    lines = ["id,labels"]
    for number, photo_id in enumerate(photo_id for ids in SPLITS.values() for photo_id in ids):
        is_cat = (number % 2 == 0) != (photo_id == swapped)
        lines.append(f"{photo_id},{'cat' if is_cat else 'dog'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with everything that the suites name."""
    folder = tmp_path / "here"
    root = folder / "photos"
    for number, photo_id in enumerate(photo_id for ids in SPLITS.values() for photo_id in ids):
        write_photo(root / "images" / f"{photo_id}.png", number)
        write_square(root / "masks" / f"{photo_id}.png", number % 2 + 1)
        write_square(folder / "masks" / f"{photo_id}.png", number % 2 + 1)
        write_map(folder / "saliency" / f"{photo_id}.png", 200)
        for name in ("cat", "dog"):
            write_map(folder / "maps" / photo_id / f"{name}.png", 100 + number)
    for number, place in enumerate(("cat/x", "dog/y"), 50):
        write_photo(folder / "more" / f"{place}.png", number)
    for split, ids in SPLITS.items():
        (root / f"{split}.txt").write_text("\n".join(ids))
    write_labels(root)
    (root / "classes.txt").write_text("cat\ndog\n")
    write_weights(folder / "weights.safetensors")
    (folder / "mine.yaml").write_text(SUITE)
    (folder / "every.yaml").write_text(EVERY_KIND)
    monkeypatch.chdir(folder)
    return folder


def with_recipe(name: str) -> Suite:
    suite = load_suite("mine.yaml")
    return suite.model_copy(update={"recipes": {name: suite.recipes[name]}})


def keys_by_kind(plan: Plan) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = defaultdict(set)
    for ref in plan.graph:
        keys[ref.kind].add(ref.key)
    return keys


def moved_by(change: Callable[[], None]) -> set[str]:
    """The kinds of stage of which at least one key is another after the change."""
    before = keys_by_kind(make_plan(load_suite("every.yaml")))
    assert set(before) == set(kinds()), "a kind of stage that this suite does not have"
    change()
    after = keys_by_kind(make_plan(load_suite("every.yaml")))
    return {kind for kind in before if before[kind] != after[kind]}


def test_every_kind_that_depends_on_a_photo_has_another_key_for_another_photo(here: Path) -> None:
    # True masks are handed out as they are, whatever the photo: `reveal` reads no pixel of it. What a filter says of
    # extra photos hangs on the classifier's training on those of the target set.
    moved = moved_by(lambda: write_photo(here / "photos" / "images" / "a.png", 99))
    assert moved == set(kinds()) - {"reveal"}


def test_every_kind_that_reads_true_masks_has_another_key_for_another_mask(here: Path) -> None:
    def change() -> None:
        for photo_id in "aefv":
            write_square(here / "photos" / "masks" / f"{photo_id}.png", 1, 8)

    moved = moved_by(change)
    counted = {"sweep", "score", "select", "row", "gallery", "diagnose", "examine_cue", "measure"}
    # A ceiling learns from revealed masks.
    assert moved == counted | {"reveal", "segmenter_fit", "segment"}


def test_a_corrected_mask_of_val_trains_nothing_anew(here: Path) -> None:
    moved = moved_by(lambda: write_square(here / "photos" / "masks" / "v.png", 1, 8))
    assert "score" in moved and "row" in moved
    assert not {kind for kind in moved if kind.endswith(("_fit", "_apply")) or kind in ("label", "segment", "reveal")}


def test_every_kind_behind_the_backbone_has_another_key_for_other_weights(here: Path) -> None:
    moved = moved_by(lambda: write_weights(here / "weights.safetensors", 0.5))
    assert moved == set(kinds()) - {"reveal"}


@pytest.mark.parametrize(
    ("recipe", "file", "kind"),
    [
        ("maps", "maps/a/cat.png", "localizer_apply"),
        ("cue", "saliency/a.png", "cue"),
        ("masks", "masks/a.png", "label"),
    ],
)
def test_files_of_other_programs_are_in_keys(here: Path, recipe: str, file: str, kind: str) -> None:
    before = keys_by_kind(make_plan(with_recipe(recipe)))
    if kind == "label":
        write_square(here / file, 1, 8)
    else:
        write_map(here / file, 7)
    assert keys_by_kind(make_plan(with_recipe(recipe)))[kind] != before[kind]


def test_two_data_sets_of_equal_ids_and_labels_share_no_maps(here: Path, tmp_path: Path) -> None:
    """Maps of another program are of one size, the photos' size is theirs: `centre-prior` reads it alone."""
    before = keys_by_kind(make_plan(with_recipe("maps")))
    for name in "ab":
        write_photo(here / "photos" / "images" / f"{name}.png", 70)
    assert keys_by_kind(make_plan(with_recipe("maps")))["localizer_apply"] != before["localizer_apply"]


def test_classes_of_other_names_read_other_maps(here: Path) -> None:
    before = keys_by_kind(make_plan(with_recipe("maps")))
    (here / "photos" / "classes.txt").write_text("dog\ncat\n")
    text = (here / "photos" / "labels.csv").read_text()
    (here / "photos" / "labels.csv").write_text(text.replace("cat", "?").replace("dog", "cat").replace("?", "dog"))
    assert keys_by_kind(make_plan(with_recipe("maps")))["localizer_apply"] != before["localizer_apply"]


def test_weights_that_come_with_a_package_count_by_their_content(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changes = ["backbone.name=tf_efficientnet_lite0", "backbone.weights=packaged"]
    before = keys_by_kind(make_plan(load_suite("mine.yaml", changes)))
    write_weights(tmp_path / "other.pth")
    monkeypatch.setattr("methods.initial_weights.packaged_file", lambda name: tmp_path / "other.pth")
    after = keys_by_kind(make_plan(load_suite("mine.yaml", changes)))
    assert not before["features"] & after["features"]


def test_downloaded_weights_count_by_their_content(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--timm--test_efficientnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    write_weights(repository / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    before = keys_by_kind(make_plan(load_suite("mine.yaml", ["backbone.weights=pretrained"])))
    write_weights(repository / "snapshots" / "abc" / "model.safetensors", 0.5)
    after = keys_by_kind(make_plan(load_suite("mine.yaml", ["backbone.weights=pretrained"])))
    assert not before["features"] & after["features"]


def test_a_plan_says_what_cannot_be_downloaded(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def create_model(name: str, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("timm.create_model", create_model)
    with pytest.raises(UserError, match=r"backbone.weights: found no download for test_efficientnet \(no network\)"):
        make_plan(load_suite("mine.yaml", ["backbone.weights=pretrained"]))


def test_a_plan_hashes_weights_without_torch(here: Path) -> None:
    script = (
        "import sys; from harness.stages.planning import make_plan; from harness.suites.suite import load_suite; "
        "make_plan(load_suite('mine.yaml', ['backbone.name=tf_efficientnet_lite0', 'backbone.weights=packaged'])); "
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


# One process, two plans


def test_a_process_that_plans_again_sees_the_new_labels_and_photos(here: Path, tmp_path: Path) -> None:
    suite, store = with_recipe("cam"), tmp_path / "store"
    first = run_and_gather(suite, store, "serial")
    assert first.exit_code == 0
    write_labels(here / "photos", swapped="a")
    relabelled = run_and_gather(suite, store, "serial")
    write_photo(here / "photos" / "images" / "a.png", 99)
    repainted = run_and_gather(suite, store, "serial")
    assert relabelled.exit_code == repainted.exit_code == 0
    # As in a process that never saw the old files.
    fresh = run_and_gather(suite, tmp_path / "fresh", "serial")
    assert repainted.run.plan.rows == fresh.run.plan.rows
    assert [row.miou for row in repainted.board.rows] == [row.miou for row in fresh.board.rows]
    rows = {finished.run.plan.rows for finished in (first, relabelled, repainted)}
    assert len(rows) == 3
    features = [keys_by_kind(finished.run.plan)["features"] for finished in (first, relabelled, repainted)]
    assert features[0] == features[1] != features[2]
    write_labels(here / "photos")
    write_photo(here / "photos" / "images" / "a.png", 0)
    assert run_and_gather(suite, store, "serial").run.stages_run == 0


# Between planning and running


def run_after(plan: Plan, change: Callable[[], None], store: Path) -> Run:
    """Run what was planned before the change."""
    change()
    with run_plan(plan, store, "serial") as run:
        return run


def failed(run: Run) -> dict[str, list[Stage]]:
    """The stages that failed by a user's error, by its line."""
    assert set(run.result.failures) == run.result.user_errors
    by_line: dict[str, list[Stage]] = defaultdict(list)
    for ref, line in run.result.failures.items():
        by_line[line].append(run.plan.graph[ref])
    return by_line


@pytest.mark.parametrize(
    ("recipe", "file", "kinds_that_fail"),
    [
        ("cam", "photos/images/a.png", {"features", "weak_set"}),
        ("cam", "photos/masks/a.png", {"sweep", "score"}),
        ("cam", "weights.safetensors", {"features"}),
        ("maps", "maps/a/cat.png", {"localizer_apply"}),
        ("cue", "saliency/a.png", {"cue"}),
        ("masks", "masks/a.png", {"label"}),
    ],
)
def test_what_changed_since_planning_is_published_under_no_key(
    here: Path, tmp_path: Path, recipe: str, file: str, kinds_that_fail: set[str]
) -> None:
    path, store = here / file, tmp_path / "store"
    old = path.read_bytes()
    plan = make_plan(with_recipe(recipe))

    def change() -> None:
        if path.parent.name == "images":
            write_photo(path, 99)
        elif path.suffix == ".safetensors":
            write_weights(path, 0.5)
        elif path.parent.name == "masks":
            write_square(path, 1, 8)
        else:
            write_map(path, 7)

    failures = failed(run_after(plan, change, store))
    (line,) = {line.partition(": ")[2] for line in failures}
    assert line.startswith("found another content (") and line.endswith("put the file back, or plan again")
    assert {text.partition(": ")[0] for text in failures} == {str(path)}
    stages = [stage for found in failures.values() for stage in found]
    assert {stage.kind.name for stage in stages} <= kinds_that_fail
    for stage in stages:
        assert not Store(store).has(stage.ref)
        told = run_one(store, stage.key, debug=False)
        assert f"failed {path}: found another content" in told.text and told.exit_code == 2
        assert not Store(store).has(stage.ref)
        with pytest.raises(UserError, match="another content"):
            run_one(store, stage.key, debug=True)
    # Nothing was spoilt: with the old file the very plan comes to its end.
    path.write_bytes(old)
    again = run_and_gather(with_recipe(recipe), store, "serial")
    assert again.exit_code == 0 and again.run.plan.rows == plan.rows


def test_labels_that_changed_since_planning_fail_their_stages(here: Path, tmp_path: Path) -> None:
    plan = make_plan(with_recipe("cam"))
    failures = failed(run_after(plan, lambda: write_labels(here / "photos", swapped="a"), tmp_path / "store"))
    assert list(failures) == [
        "photos: found other photos, lists or labels; expected those with which the run was planned; "
        "put the files back, or plan again"
    ]
    assert Store(tmp_path / "store").keys("weak_set") == []


def test_a_photo_that_changes_while_a_stage_has_it_is_not_decoded(here: Path) -> None:
    photo = dataset_of(load_suite("mine.yaml").dataset).photo("a")
    assert photo.image().shape == (32, 32, 3)
    path = here / "photos" / "images" / "a.png"
    write_photo(path, 99)
    with pytest.raises(UserError, match=r"images/a.png: found another content"):
        photo.image()


def test_stages_of_one_plan_share_what_was_opened_and_those_of_another_do_not(here: Path) -> None:
    spec, clean = load_suite("mine.yaml").dataset, ComponentSpec(name="clean")
    before = Data(dataset_of(spec))
    opened = data_as_planned(spec, before.seen)
    assert data_as_planned(spec, before.seen) is opened
    seen = seen_of(before.offer(clean))
    assert offer_as_planned(opened, clean, seen) is offer_as_planned(opened, clean, seen)
    write_labels(here / "photos", swapped="a")
    after = Data(dataset_of(spec))
    assert after.seen != before.seen
    assert data_as_planned(spec, after.seen).dataset.photo("a").labels == (1,)
    assert opened.dataset.photo("a").labels == (0,)


# Sources that changed since


def test_a_strict_run_makes_again_what_other_sources_made(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, store = with_recipe("masks"), tmp_path / "store"
    first = run_and_gather(suite, store, "serial")
    assert first.exit_code == 0 and [row.stale for row in first.board.rows] == [[]]
    assert run_and_gather(suite, store, "serial", strict=True).run.stages_run == 0
    original = provenance.sources_of

    def sources_of(module: str) -> str:
        if module == "methods.labelers.folder":
            return "code-1:others"
        return original(module)

    monkeypatch.setattr(provenance, "sources_of", sources_of)
    loose = run_and_gather(suite, store, "serial")
    assert loose.run.stages_run == 0
    assert [row.stale for row in loose.board.rows] == [["methods.labelers.folder"]]
    again = run_and_gather(suite, store, "serial", strict=True)
    # One shard holds train and dev: its pseudo labels, their counts and the row; the weak set is of other sources.
    assert again.run.stages_run == 3
    assert [row.miou for row in again.board.rows] == [row.miou for row in first.board.rows]

    # Another suite's row on the same masks: by today's sources, but what it was counted from is not there now.
    monkeypatch.setattr(provenance, "sources_of", original)
    other = suite.model_copy(update={"declared_on": {"dev": 1}})
    assert run_and_gather(other, store, "serial").run.stages_run == 1
    monkeypatch.setattr(provenance, "sources_of", sources_of)
    assert run_and_gather(suite, store, "serial", strict=True).run.stages_run == 3
    monkeypatch.setattr(provenance, "sources_of", original)
    assert run_and_gather(other, store, "serial").run.stages_run == 0
    assert run_and_gather(other, store, "serial", strict=True).run.stages_run == 1
    assert run_and_gather(other, store, "serial", strict=True).run.stages_run == 0
