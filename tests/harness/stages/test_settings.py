"""The three settings in a run: what they share, whom they let in, and what rows and audits tell of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.commands import main as cli
from harness.inspection.audit import Audited, audit_suite
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.store.layout import WeakSetFiles
from harness.store.store import Store
from harness.suites.suite import Suite, load_suite
from settings.aliases import Aliases
from settings.errors import UserError
from settings.records import LabelSpace
from settings.sources.scenes import Scenes, ScenesOptions
from tests.harness.conftest import undrawn

EXTRA = "source: {name: scenes, photos_per_class: 70, size: 32}"
WEB = f"{{name: web, {EXTRA}}}"
FILTERED = f"{{name: web, filter: classifier, {EXTRA}}}"
TINY = (
    "dataset={name: scenes, classes: 2, size: 32, train: 24, dev: 8, val: 4}",
    "recipes={cam: {localizer: {name: cam, hidden: 8, training: {epochs: 1, batch: 16}}, labeler: threshold}}",
    "references=[all-background]",
    "gallery=0",
)


def suite(settings: str, *more: str) -> Suite:
    return load_suite("smoke", (*TINY, f"settings={settings}", *more))


def stages(plan: Plan, kind: str, label: str = "") -> list[Stage]:
    return [stage for stage in plan.graph.values() if stage.kind.name == kind and label in stage.label]


def test_extra_photos_move_no_target_photo_from_its_shard() -> None:
    clean, web = make_plan(suite("{clean: {}}")), make_plan(suite(f"{{web: {WEB}}}"))
    assert {s.key for s in stages(clean, "features")} < {s.key for s in stages(web, "features")}
    shards = {tuple(s.runtime.ids) for s in stages(web, "features", "web") if "web." in s.runtime.ids[0]}
    assert sorted(map(len, shards)) == [12, 64, 64]


@pytest.mark.parametrize(
    ("setting", "enters"),
    [
        (WEB, False),
        (FILTERED, True),
        (WEB.replace("name: web", "name: single_label"), True),
        (WEB.replace("name: web", "name: web, stage_2: true"), True),
        (WEB.replace("name: web", "name: single_label, stage_2: false"), False),
    ],
)
def test_extra_photos_enter_stage_2_where_they_are_trusted(setting: str, enters: bool) -> None:
    plan = make_plan(suite(f"{{it: {setting}}}"))
    (fit,) = stages(plan, "segmenter_fit")
    labelled = {photo for ref in fit.inputs["pseudo_labels"] for photo in plan.graph[ref].runtime.ids}
    sources = {photo_id.partition(".")[0] for photo_id in labelled if "." in photo_id}
    assert bool(sources) == enters
    assert len(labelled) == 32 + 140 * enters


@pytest.mark.parametrize(
    "setting",
    [
        "{name: web, source: scenes}",
        "{source: scenes}",
        "{source: {name: scenes}, filter: none}",
        "{name: web, options: {source: {name: scenes, options: {}}, filter: {name: none}}}",
    ],
)
def test_keys_do_not_depend_on_how_a_component_among_options_was_written(setting: str) -> None:
    plan = make_plan(suite(f"{{clean: {{}}, web: {setting}}}"))
    assert set(plan.graph) == set(make_plan(suite("{clean: {}, web: {name: web, source: {name: scenes}}}")).graph)
    carried = {json.dumps(stage.runtime.place.setting.options["source"]) for stage in stages(plan, "weak_set", "web")}
    assert carried == {'{"name": "scenes", "options": {}}'}


def test_a_bare_name_among_options_at_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ["--set", "settings={clean: {}, web: {name: web, source: scenes}}"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["seedbed", "plan", "smoke", "--store", str(tmp_path / "store"), *given])
        cli.main()
    assert ended.value.code == 0
    assert "setting web: 100 extra photos; not in stage 2" in capsys.readouterr().out


def test_controls_and_ceilings_stand_once_whatever_the_settings() -> None:
    plan = make_plan(suite(f"{{clean: {{}}, web: {WEB}}}", "references=[all-background, full-supervision]"))
    rows = [stage.identity.row for stage in stages(plan, "row")]
    assert {row.setting for row in rows if row.recipe != "cam"} == {"clean"}
    assert {row.setting for row in rows if row.recipe == "cam"} == {"clean", "web"}


def test_a_setting_has_rng_seeds_of_its_own() -> None:
    plan = make_plan(suite(f"{{clean: {{}}, web: {WEB}}}", "rng_seeds=[0, 1]", "rng_seeds_of={web: [5]}"))
    rows = [stage.identity.row for stage in stages(plan, "row", "cam")]
    assert {(row.setting, row.rng_seed) for row in rows} == {("clean", 0), ("clean", 1), ("web", 5)}
    with pytest.raises(UserError, match="did you mean 'web'"):
        suite(f"{{web: {WEB}}}", "rng_seeds_of={wab: [0]}")


def test_a_recipe_has_rng_seeds_of_its_own() -> None:
    plan = make_plan(
        suite("{clean: {}}", "rng_seeds=[0, 1]", "rng_seeds_of={clean: [2]}", "recipes.cam.rng_seeds=[4, 3]")
    )
    rows = [stage.identity.row for stage in stages(plan, "row")]
    assert {(r.recipe, r.rng_seed) for r in rows} == {("cam", 4), ("cam", 3), ("all-background", 2)}
    with pytest.raises(UserError, match="distinct rng seeds"):
        suite("{clean: {}}", "recipes.cam.rng_seeds=[1, 1]")


def test_a_setting_may_have_few_of_the_recipes() -> None:
    two = f"{{clean: {{}}, web: {WEB}}}"
    other = "recipes.other={localizer: cam, labeler: {name: threshold, threshold: 0.2}}"
    plan = make_plan(suite(two, other, "recipes_of={web: [other]}"))
    rows = [stage.identity.row for stage in stages(plan, "row")]
    lines = {(row.setting, row.recipe) for row in rows if row.recipe != "all-background"}
    assert lines == {("clean", "cam"), ("clean", "other"), ("web", "other")}
    with pytest.raises(UserError, match="did you mean 'web'"):
        suite(two, "recipes_of={wab: [cam]}")
    with pytest.raises(UserError, match=r"unknown recipe 'cab'.*did you mean 'cam'"):
        suite(two, "recipes_of={web: [cab]}")


def test_a_setting_is_named_by_its_key_or_by_itself() -> None:
    assert list(suite("[clean]").settings) == ["clean"]
    assert suite("{mine: clean}").settings["mine"].name == "clean"
    assert suite("{clean: {}}").settings["clean"].name == "clean"
    with pytest.raises(UserError, match="a mapping names each"):
        suite("[clean, clean]")


def test_a_simulated_cue_is_skipped_where_extra_photos_would_need_it() -> None:
    recipe = "recipes.cam.cue=scenes", "recipes.cam.labeler=saliency"
    both = make_plan(suite(f"{{clean: {{}}, trusted: {WEB.replace('name: web', 'name: single_label')}}}", *recipe))
    (note,) = (note for note in both.notes if note.startswith("skipped"))
    assert note.startswith("skipped: cam under trusted: cue scenes simulates saliency")
    assert {s.identity.row.setting for s in stages(both, "row", "cam")} == {"clean"}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run under `web` without and with a filter; no stage 2."""
    both = suite(f"{{web: {WEB}, filtered: {FILTERED}}}", "segmenter=none")
    with undrawn():
        return run_and_gather(both, tmp_path_factory.mktemp("filtered") / "store", "serial")


def weak_sets(finished: Finished) -> dict[str, dict]:
    store = Store(finished.run.store_folder)
    found = stages(finished.run.plan, "weak_set")
    return {
        stage.label: json.loads(WeakSetFiles(store.open(stage.ref).folder).photos.read_text(encoding="utf-8"))
        for stage in found
    }


def test_what_the_filter_drops_is_trained_on_by_nobody(filtered: Finished) -> None:
    found = weak_sets(filtered)
    all_ids = {photo["id"] for photo in found["web"]["photos"]}
    kept = {photo["id"] for photo in found["filtered"]["photos"]}
    dropped = set(found["filtered"]["filtered"])
    assert kept | dropped == all_ids and not kept & dropped
    assert all(photo_id.startswith("web.") for photo_id in dropped) and dropped
    assert found["web"]["fingerprint"] != found["filtered"]["fingerprint"]


def test_rows_tell_of_extra_photos(filtered: Finished) -> None:
    found = weak_sets(filtered)
    for row in filtered.board.rows:
        if row.recipe != "cam":
            continue
        extra = [photo for photo in found[row.setting]["photos"] if photo["source"] == "web"]
        assert row.extra_photos == len(extra)
        assert row.extra_photos + row.extra_filtered + row.extra_dropped == 140
        assert row.labels_read == 32 + len(extra)
        assert row.training_fingerprint == found[row.setting]["fingerprint"]
        assert row.noise_rate == pytest.approx(0.3)
        masks = row.masks_chosen + row.masks_trained
        assert row.label_hours == pytest.approx((32 * 2 + 239.7 * masks) / 3600, abs=1e-3)
    assert {(r.setting, r.filter) for r in filtered.board.rows if r.recipe == "cam"} == {
        ("web", ""),
        ("filtered", "classifier"),
    }


def test_the_quality_of_a_filter_is_what_counting_by_hand_says(filtered: Finished) -> None:
    audits = {a.setting: a for a in audit_suite(filtered.run.plan.suite, filtered.run.store_folder, with_truth=True)}
    space = LabelSpace(filtered.run.plan.graph[filtered.run.plan.rows[0]].identity.row.classes[1:])
    truth = Scenes(ScenesOptions(photos_per_class=70, size=32)).truth("web", space, Aliases())
    kept = {photo["id"] for photo in weak_sets(filtered)["filtered"]["photos"]}
    audited = audits["filtered"]
    right = [photo.id for photo in audited.offer.extra if set(photo.labels) & set(truth[photo.id])]
    quality = audited.quality(audited.offer.extra)
    assert quality.kept_clean == len(kept.intersection(right))
    assert quality.dropped_noise == len({p.id for p in audited.offer.extra} - kept - set(right))
    assert quality.precision is not None and quality.precision > 1 - 0.3
    everything = audits["web"].quality(audits["web"].offer.extra)
    assert (everything.dropped_clean, everything.dropped_noise) == (0, 0)


def test_an_audit_tells_balance_drops_and_quality(filtered: Finished) -> None:
    def told(audited: Audited) -> str:
        return "\n".join(audited.lines(limit=3))

    web, with_filter = audit_suite(filtered.run.plan.suite, filtered.run.store_folder, with_truth=True)
    assert "70 declared" in told(web) and "kept by the filter" not in told(web)
    assert "kept by the filter" in told(with_filter) and "noise found" in told(with_filter)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": ["wob"]}, "did you mean 'web'"),
        ({"settings": ["clean"]}, "no setting with extra photos"),
        ({"truth": Path("/nowhere/a.truth.csv"), "with_truth": True}, "a.truth.csv"),
    ],
)
def test_what_cannot_be_audited_is_one_line(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        audit_suite(suite(f"{{clean: {{}}, web: {WEB}}}"), tmp_path, **arguments)
    assert "\n" not in str(error.value)


def test_a_filter_that_leaves_a_class_without_a_photo_ends_the_stage_with_the_reason(tmp_path: Path) -> None:
    """Threshold 1 drops every extra photo; here no target photo shows the second class."""
    strict = FILTERED.replace("classifier", "{name: classifier, rule: threshold, threshold: 1.0}")
    one_class = "dataset={name: scenes, classes: 2, size: 32, train: 2, dev: 1, val: 2, data_seed: %d}"
    for data_seed in range(20):
        try:
            make_plan(suite("{clean: {}}", one_class % data_seed))
        except UserError as error:
            # Otherwise every photo shows both classes, which is another line.
            if "no photo to train on" in str(error):
                break
    else:
        pytest.fail("none of these data sets lacks photos of a class")
    finished = run_and_gather(
        suite(f"{{web: {strict}}}", one_class % data_seed, "segmenter=none"), tmp_path / "store", "serial"
    )
    reasons = {row.reason for row in finished.board.rows if row.recipe == "cam"}
    assert len(reasons) == 1 and "labelled" in reasons.pop()


def test_a_keep_list_is_plain_json(filtered: Finished) -> None:
    (stage,) = stages(filtered.run.plan, "filter")
    content = json.loads(Store(filtered.run.store_folder).open(stage.ref).path("kept.json").read_text())
    assert set(content) == {"kept", "per_class"}
    assert sum(counts["kept"] for counts in content["per_class"].values()) == len(content["kept"])


def test_probabilities_are_of_the_extra_photos_in_their_order(filtered: Finished) -> None:
    from safetensors.numpy import load_file

    (stage,) = stages(filtered.run.plan, "classify")
    path = Store(filtered.run.store_folder).open(stage.ref).path("probabilities.safetensors")
    probabilities_NK = load_file(path)["probabilities_NK"]
    assert probabilities_NK.shape == (140, 2)
    assert np.isfinite(probabilities_NK).all()


def test_null_takes_a_setting_and_its_rng_seeds_away() -> None:
    two = (f"settings={{clean: {{}}, web: {WEB}}}", "rng_seeds_of={web: [5]}")
    left = load_suite("smoke", (*TINY, *two, "settings.web=null"))
    assert (list(left.settings), left.rng_seeds_of) == (["clean"], {})
    kept = load_suite("smoke", (*TINY, *two, "recipes_of={web: [cam, cam+saliency]}", "recipes.cam+saliency=null"))
    assert kept.recipes_of == {"web": ("cam",)}
