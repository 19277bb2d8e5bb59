"""The whole path on tiny scenes: what comes out is what independent code computes from the artefacts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import harness
import results
from harness.reports.gathering import gather
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.graph import Stage
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from results.rows import IDENTITY, Row
from results.scoring import score_folder
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import UNKNOWN
from tests.harness.conftest import ONLY_CAM, results_of

MAY_READ_MASKS = ("sweep", "score", "select", "gallery", "cue", "reveal")
"""A cue because that of scenes simulates a network that was trained on masks; `reveal` is what ceilings train on."""


def row_of(smoke: Finished, recipe: str, stage: str, policy: str = "fixed") -> Row:
    (row,) = (r for r in smoke.board.rows if (r.recipe, r.stage, r.policy) == (recipe, stage, policy))
    return row


def stages_of(smoke: Finished, kind: str, recipe: str = "") -> list[Stage]:
    return [s for s in smoke.run.plan.graph.values() if s.kind.name == kind and s.label.startswith(recipe)]


def naive_miou(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> float:
    """Mean over classes of intersection / union of sets of pixels over the whole set."""
    values = []
    for value in range(classes):
        intersection = sum(int(((p == value) & (t == value)).sum()) for p, t in pairs)
        union = sum(int((((p == value) & (t != UNKNOWN)) | (t == value)).sum()) for p, t in pairs)
        if union:
            values.append(intersection / union)
    return sum(values) / len(values)


def masks_behind(smoke: Finished, row_stage: str, recipe: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mask, truth) of every photo that a row scored, read with nothing of ours but the data set."""
    store, dataset = Store(smoke.run.store_folder), dataset_of(smoke.run.plan.suite.dataset)
    pairs = []
    for ref in smoke.run.plan.rows:
        stage = smoke.run.plan.graph[ref]
        if (stage.identity.row.stage, stage.identity.row.recipe) != (row_stage, recipe):
            continue
        for counts in stage.inputs["counts"]:
            scored = smoke.run.plan.graph[counts]
            folder = store.open(scored.inputs["masks"][0]).folder
            for photo_id in scored.runtime.ids:
                pairs.append((np.array(Image.open(folder / f"{photo_id}.png")), dataset.read_mask(photo_id)))
    return pairs


def as_background(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same with unknown pixels of a pseudo label as background."""
    return [(np.where(mask == UNKNOWN, 0, mask).astype(np.uint8), truth) for mask, truth in pairs]


def test_every_row_is_there_and_nothing_failed(smoke: Finished) -> None:
    assert smoke.board.holes == 0
    whole = {("maps", "fixed"), ("maps", "oracle"), ("pseudo_labels", "fixed"), ("segmentation", "fixed")}
    without_threshold = {("pseudo_labels", "fixed"), ("segmentation", "fixed")}
    expected = {
        "cam": whole,
        "coattention": whole,
        "cam+saliency": without_threshold,
        "all-background": without_threshold,
        "few-shot(4)": {("segmentation", "fixed")},
        "full-supervision": {("segmentation", "fixed")},
    }
    found = {(row.recipe, row.stage, row.policy) for row in smoke.board.rows}
    assert found == {(recipe, *rest) for recipe, rows in expected.items() for rest in rows}


@pytest.mark.parametrize(
    ("recipe", "stage", "photos"),
    [
        *(("cam", "pseudo_labels", 24), ("cam", "segmentation", 16), ("cam+saliency", "pseudo_labels", 24)),
        *(("coattention", "segmentation", 16), ("full-supervision", "segmentation", 16)),
    ],
)
def test_rows_equal_naive_scoring_of_the_pngs(smoke: Finished, recipe: str, stage: str, photos: int) -> None:
    pairs = masks_behind(smoke, stage, recipe)
    assert len(pairs) == photos
    assert row_of(smoke, recipe, stage).miou == pytest.approx(naive_miou(as_background(pairs), 3), abs=1e-12)


@pytest.mark.parametrize("recipe", ["cam", "cam+saliency"])
def test_pseudo_labels_have_the_score_of_decided_pixels_and_their_share_too(smoke: Finished, recipe: str) -> None:
    row, pairs = row_of(smoke, recipe, "pseudo_labels"), masks_behind(smoke, "pseudo_labels", recipe)
    decided = [(mask[mask != UNKNOWN], truth[mask != UNKNOWN]) for mask, truth in pairs]
    assert row.miou_covered == pytest.approx(naive_miou(decided, 3), abs=1e-12)
    share = sum((truth != UNKNOWN).sum() for _, truth in decided) / sum((truth != UNKNOWN).sum() for _, truth in pairs)
    assert row.coverage == pytest.approx(share, abs=1e-12)
    assert (row.coverage < 1, row.miou_covered != row.miou) == ((recipe == "cam+saliency",) * 2)


def test_rows_that_share_counts_say_so(smoke: Finished) -> None:
    """The threshold rule cuts maps where their own score does: both rows tell one measurement."""
    counts = {(row.recipe, row.stage, row.policy): row.counts for row in smoke.board.rows}
    assert counts["cam", "maps", "fixed"] == counts["cam", "pseudo_labels", "fixed"]
    assert counts["cam", "maps", "fixed"] != counts["coattention", "maps", "fixed"]
    assert all(len(digits) == 16 for digits in counts.values())
    text = (smoke.folder / "table.md").read_text()
    assert "maps: in each line the same counts as its pseudo labels, hence no column of their own" in text


def test_rows_tell_the_backbone_and_stand_for_their_options(smoke: Finished) -> None:
    """A control that looks at no photo has no backbone; all rows of a line have the same options."""
    backbones = {(row.recipe, row.backbone, row.backbone_size) for row in smoke.board.rows}
    trained = ("cam", "cam+saliency", "coattention", "few-shot(4)", "full-supervision")
    assert backbones == {("all-background", "", 0), *((recipe, "test_efficientnet", 64) for recipe in trained)}
    assert len({(row.recipe, row.options) for row in smoke.board.rows}) == len(
        {row.options for row in smoke.board.rows}
    )
    assert len({row.options for row in smoke.board.rows}) == 6


@pytest.mark.parametrize(
    ("recipe", "stage", "split"), [("cam", "segmentation", "val"), ("cam+saliency", "pseudo_labels", "train")]
)
def test_a_folder_of_the_same_masks_has_the_score_and_the_fingerprint_of_the_row(
    smoke: Finished, tmp_path: Path, recipe: str, stage: str, split: str
) -> None:
    dataset = dataset_of(smoke.run.plan.suite.dataset)
    pairs = as_background(masks_behind(smoke, stage, recipe))
    for name in ("predictions", "truth"):
        (tmp_path / name).mkdir()
    for photo_id, (mask, truth) in zip(dataset.splits[split], pairs, strict=True):
        write_mask(tmp_path / "predictions" / f"{photo_id}.png", mask)
        write_mask(tmp_path / "truth" / f"{photo_id}.png", truth)
    (tmp_path / "classes.txt").write_text("\n".join(dataset.label_space.names))
    score = score_folder(tmp_path / "predictions", tmp_path / "truth", names=tmp_path / "classes.txt")
    row = row_of(smoke, recipe, stage)
    assert (score.fingerprint, score.miou) == (row.evaluation_fingerprint, row.miou)


def test_the_floor_is_the_share_of_background(smoke: Finished) -> None:
    """All background: IoU of background is its share of pixels, every other class 0."""
    dataset = dataset_of(smoke.run.plan.suite.dataset)
    share = np.mean([(dataset.read_mask(photo_id) == 0).mean() for photo_id in dataset.splits["val"]])
    assert row_of(smoke, "all-background", "segmentation").miou == pytest.approx(share / 3, abs=1e-12)


def test_the_sweep_at_the_declared_threshold_is_the_score_of_the_pseudo_labels(smoke: Finished) -> None:
    maps, labels = row_of(smoke, "cam", "maps"), row_of(smoke, "cam", "pseudo_labels")
    assert maps.threshold == 0.3
    assert maps.miou == labels.miou
    assert maps.per_class == labels.per_class


def test_pseudo_labels_at_the_threshold_that_the_oracle_chose_score_what_it_promised(tmp_path: Path) -> None:
    suite = load_suite("smoke", [*ONLY_CAM, "policies={oracle: pseudo_labels}", "gallery=0"])
    finished = run_and_gather(suite, tmp_path / "store", "serial")
    maps, labels = finished.board.rows
    assert (maps.stage, labels.stage) == ("maps", "pseudo_labels")
    assert labels.miou == maps.miou


def test_the_oracle_is_never_below_the_declared_threshold(smoke: Finished) -> None:
    assert row_of(smoke, "cam", "maps", "oracle").miou >= row_of(smoke, "cam", "maps").miou


def test_the_ledger_says_who_saw_which_pixels(smoke: Finished) -> None:
    supervision = {"cam": "I", "coattention": "I", "cam+saliency": "I+S", "all-background": ""}
    for row in smoke.board.rows:
        assert row.masks_scored == (16 if row.stage == "segmentation" else 24)
        # The oracle chose on the very masks that it reports, and says so.
        assert row.masks_chosen == (24 if row.policy == "oracle" else 0)
        assert row.masks_trained == {"few-shot(4)": 4, "full-supervision": 32}.get(row.recipe, 0)
        assert row.labels_read == (0 if row.recipe == "all-background" else 32)
        assert row.supervision == supervision.get(row.recipe, "M")


def test_no_stage_of_a_method_read_a_mask(smoke: Finished) -> None:
    store = Store(smoke.run.store_folder)
    for ref, stage in smoke.run.plan.graph.items():
        read = {entry["kind"] for entry in store.record(ref).ledger}
        assert read == ({"mask"} if stage.kind.name in MAY_READ_MASKS else read - {"mask"})


def test_results_load_gives_the_same_rows(smoke: Finished) -> None:
    frame = results.load(smoke.run.store_folder)
    assert len(frame) == len(smoke.board.rows)
    assert not frame.duplicated(list(IDENTITY)).any()
    assert sorted(frame["miou"]) == sorted(row.miou for row in smoke.board.rows)


def test_the_leaderboard_folder_is_complete(smoke: Finished) -> None:
    names = {path.name for path in smoke.folder.iterdir()}
    lines = [f"gallery-{recipe}-clean" for recipe in ("cam", "cam+saliency", "coattention")]
    assert names == {
        *(
            "rows.parquet",
            "counts.parquet",
            "sweeps.parquet",
            "table.md",
            "table.csv",
            "table.tex",
            "table.png",
            "table.svg",
        ),
        *(f"{line}{kind}.png" for line in lines for kind in ("", "-by-score", "-val")),
        *("tiles.json", "training.csv", "training.png", "report.html", "state.json"),
    }
    text = (smoke.folder / "table.md").read_text()
    assert f"{row_of(smoke, 'cam', 'segmentation').miou:.3f}" in text
    page, tiles = (smoke.folder / "report.html").read_text(), json.loads((smoke.folder / "tiles.json").read_text())
    assert page.count("data:image/webp") == len(tiles["images"]) and len(page) < 2_000_000
    with Image.open(smoke.folder / "gallery-cam-clean.png") as picture:
        assert min(picture.size) > 400


def test_a_finished_suite_runs_nothing_and_imports_neither_torch_nor_ray(smoke: Finished) -> None:
    code = (
        "import sys, harness\n"
        f"done = harness.run('smoke', store={str(smoke.run.store_folder)!r})\n"
        "print(done.run.stages_run, sorted({'torch', 'ray', 'timm'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split("\n")[0] == "0 []"


def test_plan_of_a_finished_suite_has_nothing_to_do(smoke: Finished) -> None:
    estimate = harness.plan("smoke", store=smoke.run.store_folder).to_json()
    assert (estimate["to_do"], estimate["stages"]) == (0, len(smoke.run.plan.graph))
    fresh = harness.plan("smoke", store=smoke.run.store_folder / "nowhere").to_json()
    assert fresh["to_do"] == fresh["stages"]
    assert fresh["seconds"] > 0


def test_a_damaged_artefact_is_made_again(tmp_path: Path) -> None:
    suite = load_suite("smoke", [*ONLY_CAM, "gallery=0"])
    first = run_and_gather(suite, tmp_path, "serial")
    (weights,) = tmp_path.glob("localizer_fit/*/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    # Another way of applying the same fit opens its weights.
    changed = load_suite("smoke", [*ONLY_CAM, "gallery=0", "recipes.cam.localizer.flip=false"])
    second = run_and_gather(changed, tmp_path, "serial")
    assert second.board.holes == 0
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    assert results_of(run_and_gather(suite, tmp_path, "serial")) == results_of(first)


def test_a_damaged_row_is_made_again(smoke: Finished, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    rows = sorted(store.glob("row/*/*/rows.parquet"))
    rows[0].write_bytes(b"no parquet")
    again = run_and_gather(load_suite("smoke"), store, "serial")
    assert again.run.stages_run == 1
    assert results_of(again) == results_of(smoke)


def test_what_lies_deep_behind_a_row_is_made_again_when_the_row_asks_for_it(smoke: Finished, tmp_path: Path) -> None:
    """A row reads the records of all its ancestors; here one is gone although everything made of it is there."""
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    shutil.rmtree(store / "weak_set")
    shutil.rmtree(store / "row")
    again = run_and_gather(load_suite("smoke"), store, "serial")
    assert again.board.holes == 0
    assert results_of(again) == results_of(smoke)
    assert len(list(store.glob("weak_set/*/done.json"))) == 1


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="--output"):
        run_and_gather(load_suite("smoke"), tmp_path / "store", "serial", folder=tmp_path / "file")
    assert not (tmp_path / "store").exists()


def test_a_run_with_overrides_leaves_the_plain_leaderboard_alone(smoke: Finished, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    changed = load_suite("smoke", ["recipes.cam.labeler.threshold=0.5", "gallery=0"])
    other = run_and_gather(changed, store, "serial")
    assert other.folder != store / "leaderboards" / "smoke"
    assert "- `--set recipes.cam.labeler.threshold=0.5`" in (other.folder / "table.md").read_text()
    assert (store / "leaderboards" / "smoke" / "table.md").read_text() == (smoke.folder / "table.md").read_text()
    assert len(repr(other)) < 300


def test_training_losses_are_kept(smoke: Finished) -> None:
    (fit,) = stages_of(smoke, "localizer_fit", "cam")
    log = json.loads(Store(smoke.run.store_folder).open(fit.ref).path("log.json").read_text())
    assert [row["epoch"] for row in log] == [0, 1]
    assert log[1]["classification"] < log[0]["classification"]


def test_fine_tuning_in_mixed_precision_goes_the_same_way_on_a_board_of_its_own(tmp_path: Path) -> None:
    changes = ["training_mode=fine_tuned", "compute.precision=bfloat16", "gallery=0", "recipes.cam+saliency=null"]
    changes += [f"recipes.{recipe}.localizer.training.epochs=1" for recipe in ("cam", "coattention")]
    changes += ["references=[all-background]", "segmenter.training.epochs=1"]
    finished = run_and_gather(load_suite("smoke", changes), tmp_path, "serial")
    assert finished.board.holes == 0
    assert {row.training_mode for row in finished.board.rows} == {"fine_tuned", ""}
    assert [table.title.split(" · ")[2] for table in finished.board.tables] == ["fine_tuned", "fine_tuned"]


def test_artefacts_made_by_other_sources_are_named(smoke: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "harness.stages.provenance.sources_of", lambda module: "changed" if module.endswith("cam") else ""
    )
    stale = {row.recipe: row.stale for row in gather(smoke.run).rows}
    assert "methods.localizers.cam" in stale["cam"]
    assert "methods.localizers.cam" not in stale["all-background"]


def test_scoring_on_dev_is_written_down_as_choosing(tmp_path: Path) -> None:
    finished = run_and_gather(load_suite("smoke", [*ONLY_CAM, "report=dev", "gallery=0"]), tmp_path, "serial")
    for row in finished.board.rows:
        assert (row.split, row.masks_chosen, row.masks_scored, row.photos) == ("dev", 8, 0, 8)


def test_photos_without_masks_end_with_pseudo_labels_and_predictions(tmp_path: Path) -> None:
    """Anybody's photos: nothing can be scored, and the masks are what the run was for."""
    rng = np.random.default_rng(0)
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    ids = [f"photo{number}" for number in range(14)]
    for photo_id in ids:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(root / "images" / f"{photo_id}.png")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "train.txt").write_text("\n".join(ids[:10]))
    (root / "val.txt").write_text("\n".join(ids[10:]))
    labels = [f"{photo_id},{'cat' if number % 2 else 'dog'}" for number, photo_id in enumerate(ids[:10])]
    (root / "labels.csv").write_text("id,labels\n" + "\n".join(labels) + "\n")
    suite = tmp_path / "mine.yaml"
    suite.write_text(f"include: smoke\ndataset: {{name: folder, root: {root}}}\n")
    changes = (ONLY_CAM[0], "references=[all-background, full-supervision]")
    finished = run_and_gather(load_suite(suite, changes), tmp_path / "store", "serial")
    assert finished.board.rows == ()
    assert "nothing to score" in finished.summary()
    table = (finished.folder / "table.md").read_text()
    assert "- skipped: full-supervision: no photo of train and dev has a true mask\n" in table
    written = "pseudo_labels-cam-clean-0, predictions-cam-clean-0"
    assert f"- no true masks, so nothing was scored; written: {written}, pseudo_labels-all-background-clean-0" in table
    made = {
        folder.name: {path.stem for path in folder.iterdir()} for folder in finished.folder.iterdir() if folder.is_dir()
    }
    assert made == {
        f"{what}-{recipe}-clean-0": set(chosen)
        for recipe in ("cam", "all-background")
        for what, chosen in (("pseudo_labels", ids[:10]), ("predictions", ids[10:]))
    }
    for photo_id in ids[10:]:
        with Image.open(finished.folder / "predictions-cam-clean-0" / f"{photo_id}.png") as mask:
            assert mask.size == (50, 40)
