"""`seedbed data export-maps`: what a recipe's stages hold, in another program's form; and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from harness.conversion.maps import import_maps
from harness.execution.workers import Workers
from harness.leaderboards.export import ExportForm, ExportRequest, export_maps
from harness.reports.display import Display
from harness.reports.leaderboard import Finished
from harness.store.layout import MapFiles
from harness.store.store import Store
from harness.suites.suite import load_suite
from methods.label_steps import irn_labels
from methods.localization import read_maps
from methods.upsampling import upsample
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.errors import UserError
from settings.masks import read_mask

SCENES = Scenes(ScenesOptions(classes=2, size=48, train=24, dev=8, val=16))


def exported(store: Path, output: Path, form: ExportForm, recipe: str = "cam", *changes: str) -> str:
    request = ExportRequest(recipe=recipe, form=form)
    return export_maps(load_suite("smoke", changes), str(store), request, output, Workers("serial"), Display)


def test_maps_are_those_of_the_store_and_nothing_is_made_again(smoke: Finished, tmp_path: Path) -> None:
    store = Store(smoke.run.store_folder)
    logs = len(store.logs())
    told = exported(smoke.run.store_folder, tmp_path / "out", "psa")
    assert told == f"maps of 32 photos by cam, setting clean, rng seed 0, as psa: {tmp_path / 'out'}"
    assert len(store.logs()) == logs
    label = "cam · clean · rng seed 0 · maps 0"
    stage = next(stage for stage in smoke.run.plan.graph.values() if stage.label == label)
    records = {record.photo_id: record for record in read_maps(MapFiles(store.open(stage.ref).folder).maps)}
    ids = sorted(SCENES.training_ids)
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ids == sorted(records)
    for photo_id in ids[:3]:
        content = np.load(tmp_path / "out" / f"{photo_id}.npy", allow_pickle=True).item()
        assert tuple(content) == records[photo_id].class_ids
        assert np.array_equal(np.stack(list(content.values())), upsample(records[photo_id]))


def test_a_stage_of_ours_is_replaced_by_theirs_and_by_ours_again(smoke: Finished, tmp_path: Path) -> None:
    exported(smoke.run.store_folder, tmp_path / "irn", "irn")
    import_maps(tmp_path / "irn", tmp_path / "npz")
    theirs = f"recipes.theirs={{localizer: {{name: folder, root: {tmp_path / 'npz'}, supervision: I}}"
    labeler = ", labeler: {name: threshold, threshold: 0.3}}"
    exported(smoke.run.store_folder, tmp_path / "ours", "sem_seg")
    exported(tmp_path / "store", tmp_path / "theirs", "sem_seg", "theirs", theirs + labeler)
    refiner = ", refiners: [{name: irn, label_refiner: none, foreground: 0.6, background: 0.4}]"
    exported(tmp_path / "store", tmp_path / "sure", "ir_label", "theirs", theirs + refiner + labeler)
    exported(tmp_path / "store", tmp_path / "again", "irn", "theirs", theirs + labeler)
    for photo_id in SCENES.training_ids:
        ours, found, sure = (read_mask(tmp_path / name / f"{photo_id}.png") for name in ("ours", "theirs", "sure"))
        assert np.array_equal(ours, found)
        first, second = (
            np.load(tmp_path / name / f"{photo_id}.npy", allow_pickle=True).item() for name in ("irn", "again")
        )
        assert np.array_equal(first["high_res"], second["high_res"])
        photo = SCENES.photo(photo_id)
        assert np.array_equal(sure, irn_labels(first["high_res"], photo.labels, photo.image(), 0.6, 0.4, "none"))


@pytest.mark.parametrize(
    ("recipe", "form", "message"),
    [
        ("cams", "irn", "--recipe: found unknown recipe 'cams'.*did you mean 'cam'"),
        ("all-background", "mcis", "--form mcis: found recipe 'all-background', which makes no maps; .*--form sem_seg"),
        (
            "cam",
            "ir_label",
            "--form ir_label: found recipe 'cam', no refiner of which learns .* refiner irn or affinity",
        ),
        (
            "full-supervision",
            "sem_seg",
            "--form sem_seg: found recipe 'full-supervision', which makes no pseudo labels",
        ),
    ],
)
def test_recipes_that_have_nothing_of_the_form(recipe: str, form: ExportForm, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        exported(tmp_path / "store", tmp_path / "out", form, recipe)
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_no_folder(smoke: Finished, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output: found '.*file', a file; expected a folder"):
        exported(tmp_path / "store", tmp_path / "file", "psa")
    with pytest.raises(UserError, match=r"--output: found '.*sub', which cannot be written \(Not a directory\)"):
        exported(smoke.run.store_folder, tmp_path / "file" / "sub", "psa")
