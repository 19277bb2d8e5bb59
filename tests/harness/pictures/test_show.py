"""`seedbed show`: what the store holds, side by side; one line for all that it does not hold or know."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.drawing.overlays import mask_colours, outlines, reduced, with_maps
from harness.pictures import show as showing
from harness.pictures.request import Request
from harness.pictures.show import show
from harness.reports.leaderboard import Finished
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.data import dataset_of
from methods.base import LocalizationMaps
from methods.localization import read_maps
from methods.localizers.cam import Cam
from settings.datasets.scenes import Scenes
from settings.errors import UserError
from tests.harness.commands.test_main import seedbed

FOUR = ["train_00000", "train_00006", "train_00012", "train_00018"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What was handed to the drawing, which is left out."""
    seen: dict[str, Any] = {}

    def to_png(rows: Any, columns: Any, space: Any, title: str, base: Any) -> bytes:
        seen.update(ids=[row.photo.id for row in rows], heads=[column.head for column in columns], title=title)
        seen["base"] = base
        seen["cells"] = {
            (row.photo.id, column.head): column.draw(row.photo.id, reduced(row.photo.image()))
            for row in rows
            for column in columns
        }
        return b"png"

    monkeypatch.setattr(showing, "to_png", to_png)
    yield seen


def shown(smoke: Finished, tmp_path: Path, **wanted: Any) -> Path:
    return show("smoke", [], smoke.run.store_folder, Request(**wanted), tmp_path / "sheet.png")


def mask_of(smoke: Finished, kind: str, label: str, photo_id: str) -> np.ndarray:
    """A stored mask, found by nothing but the label of its stage."""
    store = Store(smoke.run.store_folder)
    refs = [Ref(kind, key) for key in store.keys(kind)]
    records = [store.open(ref) for ref in refs if store.record(ref).label.startswith(label)]
    (path,) = (found.path(f"{photo_id}.png") for found in records if f"{photo_id}.png" in found.record.files)
    return np.asarray(Image.open(path))


def painted(image_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """35 % photo and 65 % colour, pixel by pixel; the full colour beside another value, black for the background."""
    result = image_HWC.copy()
    height, width = mask_HW.shape
    for (row, column), value in np.ndenumerate(mask_HW):
        place = (row, column)
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        near = [mask_HW[y, x] for y, x in around if 0 <= y < height and 0 <= x < width]
        if any(other != value for other in near):
            result[place] = mask_colours()[value]
        elif value:
            result[place] = np.floor(0.35 * image_HWC[place] + 0.65 * mask_colours()[value].astype(float))
    return result


def test_recipes_stand_side_by_side_with_what_the_store_holds_of_them(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    shown(smoke, tmp_path, recipes=("cam", "all-background"))
    assert drawn["ids"] == FOUR
    cam = ["cam\nlocalization maps", "cam\npseudo label", "cam\nprediction"]
    assert drawn["heads"] == [*cam, "all-background\npseudo label", "truth"]
    dataset = dataset_of(smoke.run.plan.suite.dataset)
    image = dataset.photo(FOUR[1]).image()
    label = mask_of(smoke, "label", "cam · clean · rng seed 0", FOUR[1])
    prediction = mask_of(smoke, "segment", "cam · clean · rng seed 0", FOUR[1])
    pairs = {"cam\npseudo label": label, "cam\nprediction": prediction, "truth": dataset.read_mask(FOUR[1])}
    for head, mask_HW in pairs.items():
        cell = drawn["cells"][FOUR[1], head]
        assert np.abs(cell.image.astype(int) - painted(image, mask_HW)).max() <= 1
        assert cell.values == set(np.unique(mask_HW).tolist()) - {0}
    assert (drawn["cells"][FOUR[1], "all-background\npseudo label"].image == image).all()


def test_maps_of_one_class_are_shown_alone(smoke: Finished, tmp_path: Path, drawn: dict[str, Any]) -> None:
    ids = tuple(dataset_of(smoke.run.plan.suite.dataset).splits["dev"])
    shown(smoke, tmp_path, photos=ids, columns=("maps",), map_class="wasp", recipes=("cam",))
    store = Store(smoke.run.store_folder)
    artefacts = [store.open(Ref("localizer_apply", key)) for key in store.keys("localizer_apply")]
    records = [
        record
        for artefact in artefacts
        if artefact.record.label.startswith("cam ·")
        for record in read_maps(artefact.path("maps.safetensors"))
        if record.photo_id in ids
    ]
    assert drawn["ids"] == list(ids) and len(records) == 8
    assert drawn["title"].endswith("dev · rng seed 0 · maps of wasp")
    dataset = dataset_of(smoke.run.plan.suite.dataset)
    for record in records:
        cell = drawn["cells"][record.photo_id, "cam\nlocalization maps"]
        if 1 not in record.class_ids:
            assert cell is None
            continue
        place = record.class_ids.index(1)
        alone = LocalizationMaps(record.photo_id, (1,), record.maps_CHW[place : place + 1], record.image_size)
        assert (cell.image == with_maps(dataset.photo(record.photo_id).image(), alone)).all()


def test_val_has_predictions_alone_and_a_photo_tells_its_split(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    shown(smoke, tmp_path, photos=("val_00003",), recipes=("cam",))
    assert (drawn["ids"], drawn["heads"]) == (["val_00003"], ["cam\nprediction", "truth"])


def test_photos_of_train_that_no_run_segments_are_shown_without_a_prediction(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    shown(smoke, tmp_path, count=5, recipes=("cam",))
    assert len(drawn["ids"]) == 5
    assert drawn["heads"] == ["cam\nlocalization maps", "cam\npseudo label", "truth"]


def test_truth_that_no_shown_photo_has_is_no_column_unless_it_is_named(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenes, "has_mask", lambda self, photo_id: False)
    shown(smoke, tmp_path, recipes=("cam",))
    assert drawn["heads"] == ["cam\nlocalization maps", "cam\npseudo label", "cam\nprediction"]
    shown(smoke, tmp_path, recipes=("cam",), columns=("maps", "truth"))
    assert drawn["heads"] == ["cam\nlocalization maps", "truth"] and drawn["cells"][FOUR[0], "truth"] is None


def test_columns_come_as_they_are_named(smoke: Finished, tmp_path: Path, drawn: dict[str, Any]) -> None:
    shown(smoke, tmp_path, columns=("pseudo_labels", "maps"), recipes=("cam",))
    assert drawn["heads"] == ["cam\npseudo label", "cam\nlocalization maps"]


def test_other_kinds_of_map_are_made_from_stored_weights_and_features(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A localizer's own maps and their mirror image, as two kinds."""

    def views(self: Cam, photo: Any, surroundings: Any) -> dict[str, LocalizationMaps]:
        (own,) = self.apply([photo], surroundings)
        mirrored = LocalizationMaps(own.photo_id, own.class_ids, own.maps_CHW[..., ::-1].copy(), own.image_size)
        return {"own": own, "mirrored": mirrored}

    monkeypatch.setattr(Cam, "views", views)
    shown(smoke, tmp_path, photos=(FOUR[0],), columns=("maps", "views"), recipes=("cam",))
    assert drawn["heads"] == ["cam\nlocalization maps", "cam\nown", "cam\nmirrored"]
    stored, own, _ = (drawn["cells"][FOUR[0], head] for head in drawn["heads"])
    assert np.abs(stored.image.astype(int) - own.image).max() <= 1


def test_the_sheet_goes_into_the_leaderboards_folder_and_nothing_is_run(
    smoke: Finished, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(smoke.run.store_folder.glob("*/*/done.json"))
    folder = smoke.run.store_folder / "leaderboards" / "smoke"
    ended = seedbed(monkeypatch, capsys, "show", "smoke", "--store", smoke.run.store_folder, "--recipes", "cam")
    assert (ended.code, ended.out) == (0, f"wrote {folder / 'sheet.png'}\n")
    monkeypatch.setattr(Scenes, "photos_are_ours", False)
    ended = seedbed(monkeypatch, capsys, "show", "smoke", "--store", smoke.run.store_folder, "--recipes", "cam")
    assert ended.out == f"wrote {folder / 'photos-sheet.png'}\n"
    for name in ("sheet.png", "photos-sheet.png"):
        assert (folder / name).read_bytes() == b"png"
        (folder / name).unlink()
    assert sorted(smoke.run.store_folder.glob("*/*/done.json")) == before


def test_what_is_missing_is_named_in_one_line_and_no_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        show("smoke", ["gallery=3"], tmp_path / "none", Request(recipes=("cam",)))
    line = str(caught.value)
    assert "no localization maps of cam, no pseudo labels of cam, no predictions of cam" in line
    assert f"run `seedbed run smoke --set=gallery=3 --store={tmp_path / 'none'}` first" in line
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--photos", "train_00006x"], "did you mean 'train_00006'?"),
        (["--photos", "train_00006,val_00003"], "unknown photo of train 'val_00003'"),
        (["--recipes", "can"], "did you mean 'cam'?"),
        (["--setting", "cleen"], "did you mean 'clean'?"),
        (["--rng-seed", "7"], "--rng-seed: found 7; expected one of 0"),
        (["--split", "trian"], "did you mean 'train'?"),
        (["--columns", "map"], "did you mean 'maps'?"),
        (["--map-class", "was"], "did you mean 'wasp'?"),
        (["--split", "val", "--columns", "maps"], "'maps', which no run makes"),
        (["--recipes", "all-background", "--columns", "views"], "expected pseudo_labels, truth"),
        (["--count", "0"], "--count"),
        (["--output", "sheet.jpg"], "a file that ends with .png"),
        (["--output", "missing.png/sheet.png", "--columns", "truth"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "missing.png").write_text("a file")
    ended = seedbed(monkeypatch, capsys, "show", "smoke", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("seedbed: ") and ended.err.count("\n") == 1
    assert words in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["missing.png"]


def test_maps_that_recipes_have_in_common_are_drawn_once(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    shown(smoke, tmp_path, recipes=("cam", "cam+saliency"), columns=("maps", "pseudo_labels"))
    heads = ["cam\nlocalization maps", "cam\npseudo label", "cam+saliency\npseudo label"]
    assert sorted(drawn["heads"]) == sorted(heads)


@pytest.mark.parametrize("ours", [True, False])
def test_outlines_stand_for_photos_that_are_not_ours(
    ours: bool, smoke: Finished, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenes, "photos_are_ours", ours)
    for asked, base, name in (
        (True, None if ours else outlines, "sheet.png"),
        (False, None, "sheet.png" if ours else "photos-sheet.png"),
    ):
        path = show("smoke", [], smoke.run.store_folder, Request(recipes=("cam",)), with_outlines=asked)
        path.unlink()
        assert (drawn["base"], path.name) == (base, name)


def test_a_recipe_with_rng_seeds_of_its_own_is_shown_with_its_first(
    smoke: Finished, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    other = ("rng_seeds=[7]", "recipes.cam.rng_seeds=[0]")
    show("smoke", other, smoke.run.store_folder, Request(recipes=("cam",)), tmp_path / "sheet.png")
    assert drawn["title"].endswith("rng seed 0")
    with pytest.raises(UserError, match="--rng-seed: found 7; expected one of 0"):
        show("smoke", other, smoke.run.store_folder, Request(recipes=("cam",), rng_seed=7))
