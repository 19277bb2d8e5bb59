"""Scoring a folder: the numbers, the options, and every file that must be refused by name."""

import json
from hashlib import sha256
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.evaluation import evaluation_fingerprint, mask_digest
from results.scoring import score_folder
from settings.errors import UserError
from settings.masks import PALETTE, write_mask

TRUTH = {"a": [[0, 1, 255], [0, 1, 1]], "b": [[0, 0], [2, 2]]}
PREDICTED = {"a": [[0, 1, 1], [1, 1, 0]], "b": [[0, 2], [2, 2]]}


def write(folder: Path, masks: dict[str, list[list[int]]]) -> Path:
    folder.mkdir()
    for name, mask in masks.items():
        write_mask(folder / f"{name}.png", np.array(mask, np.uint8))
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "truth", TRUTH)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write(tmp_path / "predictions", PREDICTED)


def test_one_confusion_over_the_set(predictions: Path, truth: Path) -> None:
    score = score_folder(predictions, truth, 3)
    assert score.counts.confusion.tolist() == [[2, 1, 1], [1, 2, 0], [0, 0, 2]]
    assert score.result.per_class == (2 / 5, 2 / 4, 2 / 3)
    assert score.miou == pytest.approx((2 / 5 + 2 / 4 + 2 / 3) / 3, abs=1e-15)
    assert (score.photos, score.missing, score.extra, score.notes()) == (2, (), (), [])
    assert score.to_text().startswith("mIoU 0.5222  (voc/1, 2 images, 3 classes)\n  class   0  0.400\n")


def test_json(predictions: Path, truth: Path) -> None:
    shown = score_folder(predictions, truth, 4).to_json()
    assert len(shown.pop("fingerprint")) == 64
    assert shown == {
        "miou": pytest.approx((2 / 5 + 2 / 4 + 2 / 3) / 3, abs=1e-15),
        "per_class": [2 / 5, 2 / 4, 2 / 3, None],
        "classes": 4,
        "names": None,
        "undefined": [3],
        "images": 2,
        "missing": 0,
        "extra": 0,
        "protocol": "voc/1",
        "void": "error",
        "doubts": [],
    }
    assert "left out of the mean: class 3" in score_folder(predictions, truth, 4).to_text()


def test_nothing_known_is_null(predictions: Path, tmp_path: Path) -> None:
    unknown = write(tmp_path / "unknown", {"a": [[255] * 3] * 2})
    score = score_folder(predictions, unknown, 3)
    assert score.to_json()["miou"] is None
    assert score.notes()[0] == "1 prediction of no scored photo: b.png"


def test_a_missing_prediction_is_an_error_or_all_background(predictions: Path, truth: Path) -> None:
    (predictions / "b.png").unlink()
    with pytest.raises(UserError, match=r"predictions/b.png: found no prediction; expected .*; --ids LIST scores"):
        score_folder(predictions, truth, 3)
    score = score_folder(predictions, truth, 3, allow_missing=True)
    assert score.counts.confusion.tolist() == [[3, 1, 0], [1, 2, 0], [2, 0, 0]]
    assert score.to_json()["missing"] == 1
    assert score.notes() == ["1 missing prediction scored as all background: b.png"]


@pytest.mark.parametrize(("missing", "is_proposed"), [(1, True), (2, True), (3, False), (20, False)])
def test_background_for_what_is_missing_is_proposed_where_that_is_a_tenth_at_most(
    tmp_path: Path, missing: int, is_proposed: bool
) -> None:
    truth = write(tmp_path / "truth", {f"{number:02d}": [[0, 1]] for number in range(20)})
    predictions = write(tmp_path / "predictions", {f"{number:02d}": [[0, 1]] for number in range(missing, 20)})
    write_mask(predictions / "other.png", np.zeros((1, 2), np.uint8))
    with pytest.raises(UserError, match=r"00\.png: found no prediction") as told:
        score_folder(predictions, truth, 2)
    assert ("--allow-missing" in str(told.value)) == is_proposed


def test_the_photos_of_a_list_are_scored_alone(predictions: Path, truth: Path, tmp_path: Path) -> None:
    """A folder of true masks may hold those of train too: half of them missing is no failure of a few."""
    for name in "cd":
        write_mask(truth / f"{name}.png", np.ones((2, 3), np.uint8))
    found = (
        r"c\.png: found no prediction, as for 2 of 4 true masks; expected .*; --ids LIST scores the photos of a list"
    )
    with pytest.raises(UserError, match=found) as told:
        score_folder(predictions, truth, 3)
    assert "--allow-missing" not in str(told.value)
    (tmp_path / "val.txt").write_text("/JPEGImages/b.jpg /SegmentationClass/b.png\n")
    score = score_folder(predictions, truth, 3, ids=tmp_path / "val.txt")
    assert (score.photos, score.missing, score.extra) == (1, (), ("a.png",))
    assert score.counts.confusion.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 2]]
    (tmp_path / "val.txt").write_text("B\n")
    with pytest.raises(UserError, match=r"truth/B\.png: found no true mask; .*is it 'b\.png'\?"):
        score_folder(predictions, truth, 3, ids=tmp_path / "val.txt")


def test_masks_in_subfolders_and_with_blanks(tmp_path: Path) -> None:
    """The names of class and of what is scored are told, and of what belongs to no photo the first three."""
    for folder, names in {"truth": ("b/img 1", "a/img 1"), "predictions": ("a/img 1", "b/img 1", *"zyxw")}.items():
        for name in names:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_mask(tmp_path / folder / f"{name}.png", np.array([[0, 1], [1, int(name == "b/img 1")]], np.uint8))
    (tmp_path / "val.txt").write_text("images/a/img 1.jpg masks/a/img 1.png\nb/img 1\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    score = score_folder(
        tmp_path / "predictions", tmp_path / "truth", names=tmp_path / "classes.txt", ids=tmp_path / "val.txt"
    )
    assert (score.miou, score.photos) == (1.0, 2)
    assert score.notes() == ["4 predictions of no scored photo: w.png, x.png, y.png, …"]
    assert "  class   1  1.000  cat\n" in score.to_text()
    assert score.to_json()["names"] == ["background", "cat"]
    digests = {
        name: mask_digest(np.array([[0, 1], [1, last]], np.uint8)) for name, last in (("a/img 1", 0), ("b/img 1", 1))
    }
    assert score.fingerprint == evaluation_fingerprint(("background", "cat"), digests)


def test_predictions_of_val_against_a_folder_of_all_true_masks(tmp_path: Path) -> None:
    """Whoever has no list is told of it; with it those of val alone are scored."""
    truth = write(tmp_path / "truth", {f"2019_{number}": [[0, 1], [2, 2]] for number in range(7)})
    predictions = write(tmp_path / "predictions", {f"2019_{number}": [[0, 1], [2, 2]] for number in (4, 5, 6)})
    with pytest.raises(UserError, match=r"2019_0\.png: found no prediction, as for 4 of 7 true masks; .*--ids LIST"):
        score_folder(predictions, truth, 3)
    (tmp_path / "val.txt").write_text("2019_4\n2019_5\n2019_6\n")
    score = score_folder(predictions, truth, 3, ids=tmp_path / "val.txt")
    assert (score.miou, score.photos, score.extra) == (1.0, 3, ())


def test_predictions_of_almost_the_name_are_proposed(predictions: Path, truth: Path) -> None:
    (predictions / "b.png").rename(predictions / "b_pred.png")
    with pytest.raises(UserError, match=r"b\.png: found no prediction; .*rename b_pred\.png to b\.png"):
        score_folder(predictions, truth, 3)


def test_void_in_predictions(predictions: Path, truth: Path) -> None:
    write_mask(predictions / "b.png", np.array([[255, 2], [255, 2]], np.uint8))
    with pytest.raises(UserError, match=r"b.png: found mask value 255; expected 0..2; --void"):
        score_folder(predictions, truth, 3)
    background = score_folder(predictions, truth, 3, void="background")
    assert background.counts.confusion.tolist() == [[2, 1, 1], [1, 2, 0], [1, 0, 1]]
    covered = score_folder(predictions, truth, 3, void="covered-only")
    assert covered.counts.confusion.tolist() == [[1, 1, 1], [1, 2, 0], [0, 0, 1]]
    assert covered.notes() == ["255 in predictions: covered-only"]


def test_masks_of_0_and_255_are_no_truth(predictions: Path, truth: Path, tmp_path: Path) -> None:
    """Whatever is predicted: all of 255 is void, and a number would tell of background alone."""
    binary = write(tmp_path / "binary", {"a": [[0, 255, 255], [0, 0, 255]], "b": [[0, 0], [255, 255]]})
    right = write(tmp_path / "right", {"a": [[0, 1, 1], [0, 0, 0]], "b": [[0, 0], [1, 1]]})
    line = r"binary: found no true mask with a pixel of any class but background; 50\.0% of .* 255.*--map 255:1$"
    for predicted, void in ((right, "error"), (binary, "error"), (binary, "background"), (binary, "covered-only")):
        with pytest.raises(UserError, match=line):
            score_folder(predicted, binary, 2, void=void)  # type: ignore[arg-type]
    score = score_folder(right, binary, 2, truth_map={255: 1})
    # Of ten pixels nine are right, one of class 1 is called background.
    assert score.counts.confusion.tolist() == [[5, 0], [1, 4]] and score.notes() == []
    with pytest.raises(
        UserError, match=r"binary/a\.png: found mask value 255.*must become 0/1: --map-predictions 255:1$"
    ):
        score_folder(binary, binary, 2, truth_map={255: 1})
    assert score_folder(binary, binary, 2, truth_map={255: 1}, prediction_map={255: 1}).miou == 1
    (note,) = score_folder(binary, right, 2, void="background").notes()[1:]
    assert note.startswith("no prediction with a pixel of any class") and note.endswith("--map-predictions 255:1")
    with pytest.raises(UserError, match=r"--map 0:255,1:0,2:0 leaves no class: is it the right one\?"):
        score_folder(predictions, truth, 3, truth_map={0: 255, 1: 0, 2: 0})


def test_truths_of_background_alone(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", {"a": [[0, 0]]})
    with pytest.raises(
        UserError, match=r"empty: found no true mask with a pixel .*expected pixels of classes 1\.\.2; .*right masks"
    ):
        score_folder(empty, empty, 3)


def test_maps_come_before_limits_and_fingerprints(predictions: Path, truth: Path, tmp_path: Path) -> None:
    """Classes of another program: 0 is void, 1 background, then classes with gaps."""
    theirs = {0: 1, 1: 2, 2: 99, 255: 0}
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, mask in TRUTH.items():
        write_mask(folder / f"{name}.png", np.vectorize(theirs.__getitem__)(np.array(mask)).astype(np.uint8))
    with pytest.raises(UserError, match=r"theirs/b\.png: found mask value 99; expected 0\.\.2 or 255"):
        score_folder(predictions, folder, 3)
    mapped = score_folder(predictions, folder, 3, truth_map={0: 255, 1: 0, 2: 1, 99: 2})
    usual = score_folder(predictions, truth, 3)
    assert mapped.counts == usual.counts and mapped.fingerprint == usual.fingerprint


def test_a_prediction_of_classes_in_another_order(truth: Path, tmp_path: Path) -> None:
    turned = write(tmp_path / "turned", {"a": [[1, 2, 2], [1, 2, 2]], "b": [[1, 1], [0, 0]]})
    score = score_folder(turned, truth, 3)
    assert score.miou == 0
    (note,) = score.notes()
    assert note.startswith(
        "predicted values read as 0:2,1:0,2:1 would score mIoU 1.0000 (--map-predictions 0:2,1:0,2:1)"
    )
    assert score.to_json()["doubts"] == [note] and f"note: {note}" in score.to_text()
    assert score_folder(turned, truth, 3, prediction_map={0: 2, 1: 0, 2: 1}).miou == 1


def test_palettes_in_another_order(truth: Path, tmp_path: Path) -> None:
    """As tools write them that make a palette of the colours they meet: another one for each file."""
    folder = tmp_path / "optimised"
    folder.mkdir()
    for name, mask in TRUTH.items():
        mask_HW = np.where(np.array(mask) == 255, 0, mask).astype(np.uint8)
        met = list(dict.fromkeys(mask_HW[:, ::-1].ravel().tolist()))
        picture = Image.fromarray(np.vectorize(met.index)(mask_HW).astype(np.uint8))
        picture.putpalette(b"".join(PALETTE[3 * value : 3 * value + 3] for value in met))
        picture.save(folder / f"{name}.png")
    score = score_folder(folder, truth, 3)
    assert score.miou < 0.6
    (note,) = score.notes()
    assert note.startswith("the palette of a.png gives value 0 VOC's colour of value ") or "of b.png" in note
    assert "read by colours the mIoU would be 1.0000; `seedbed data import-masks`" in note


def rgb(file: Path) -> None:
    Image.new("RGB", (3, 2)).save(file)


def sixteen_bits(file: Path) -> None:
    Image.fromarray(np.zeros((2, 3), np.uint16)).save(file)


def stray(file: Path) -> None:
    write_mask(file, np.full((2, 3), 3, np.uint8))


def other_size(file: Path) -> None:
    write_mask(file, np.zeros((3, 2), np.uint8))


def cut_short(file: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (200, 300)).astype(np.uint8)
    write_mask(file, noise)
    file.write_bytes(file.read_bytes()[:900])


def no_image(file: Path) -> None:
    file.write_text("a mask")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


BAD = [
    (rgb, "found mode RGB"),
    (sixteen_bits, "found mode I;16"),
    (stray, "found mask value 3"),
    (cut_short, "unreadable"),
    (no_image, "unreadable"),
    (a_folder, "unreadable"),
]


@pytest.mark.parametrize(("spoil", "message"), [*BAD, (other_size, "found 2×3 pixels; expected 3×2")])
def test_bad_predictions_are_named(predictions: Path, truth: Path, spoil, message: str) -> None:
    spoil(predictions / "a.png")
    with pytest.raises(UserError, match=f"predictions/a.png: .*{message}"):
        score_folder(predictions, truth, 3, void="background")


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_truths_are_named(predictions: Path, truth: Path, spoil, message: str) -> None:
    spoil(truth / "b.png")
    with pytest.raises(UserError, match=f"truth/b.png: .*{message}"):
        score_folder(predictions, truth, 3)


def test_the_first_bad_file_in_name_order_is_reported(predictions: Path, truth: Path) -> None:
    for name in "ab":
        stray(predictions / f"{name}.png")
    with pytest.raises(UserError, match=r"a.png: found mask value 3"):
        score_folder(predictions, truth, 3)
    # That one is missing is told before any is read: it may be all of them.
    (predictions / "b.png").unlink()
    with pytest.raises(UserError, match=r"b.png: found no prediction"):
        score_folder(predictions, truth, 3)


@pytest.mark.parametrize("classes", [-1, 0, 1, 256])
def test_numbers_of_classes_that_no_mask_can_hold(predictions: Path, truth: Path, classes: int) -> None:
    with pytest.raises(UserError, match=f"--classes: found {classes}; expected 2..255"):
        score_folder(predictions, truth, classes)


def test_unknown_options_are_named(predictions: Path, truth: Path) -> None:
    with pytest.raises(UserError, match=r"--protocol: found unknown protocol 'voc/2'.*did you mean 'voc/1'"):
        score_folder(predictions, truth, 3, protocol="voc/2")
    with pytest.raises(UserError, match="--void: found 'ignore'; expected one of error, background, covered-only"):
        score_folder(predictions, truth, 3, void="ignore")  # type: ignore[arg-type]


def test_empty_and_missing_folders_are_named(predictions: Path, truth: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.png").touch()
    (tmp_path / "empty" / "a.jpg").touch()
    for folders in ((tmp_path / "empty", truth), (predictions, tmp_path / "empty")):
        with pytest.raises(UserError, match="empty: found no PNG"):
            score_folder(*folders, 3)
    with pytest.raises(UserError, match="nowhere: found no folder"):
        score_folder(predictions, tmp_path / "nowhere", 3)


def test_names_may_stand_for_the_number_of_classes(predictions: Path, truth: Path, tmp_path: Path) -> None:
    names = tmp_path / "classes.txt"
    names.write_text("cat\ndog\n")
    score = score_folder(predictions, truth, names=names)
    assert score.counts == score_folder(predictions, truth, 3).counts
    assert score.fingerprint == score_folder(predictions, truth, 3, names=names).fingerprint
    assert score.fingerprint != score_folder(predictions, truth, 3).fingerprint
    assert score.to_text().endswith(f"\n  evaluation fingerprint {score.fingerprint}")
    with pytest.raises(UserError, match=r"--classes: found 4; expected 3, as .*classes\.txt names them"):
        score_folder(predictions, truth, 4, names=names)
    with pytest.raises(UserError, match=r"--classes: found nothing; .*--names FILE"):
        score_folder(predictions, truth)


def test_the_fingerprint_is_that_of_names_ids_and_masks(predictions: Path, truth: Path, tmp_path: Path) -> None:
    """Written out: rows of old stores keep theirs."""
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    digests = [
        [name, sha256(f"({len(mask)}, {len(mask[0])})".encode() + bytes(chain(*mask))).hexdigest()]
        for name, mask in TRUTH.items()
    ]
    content = json.dumps([["background", "cat", "dog"], digests], separators=(",", ":"))
    found = score_folder(predictions, truth, names=tmp_path / "classes.txt").fingerprint
    assert found == sha256(content.encode()).hexdigest()


def test_two_truths_of_one_photo_are_refused(predictions: Path, truth: Path) -> None:
    write_mask(truth / "a.PNG", np.array(TRUTH["a"], np.uint8))
    with pytest.raises(UserError, match=r"truth: found a\.PNG and a\.png; expected one mask for photo 'a'"):
        score_folder(predictions, truth, 3)


def test_the_fingerprint_is_of_the_truth_and_the_classes_alone(predictions: Path, truth: Path, tmp_path: Path) -> None:
    score = score_folder(predictions, truth, 3)
    assert score.fingerprint == score_folder(truth, truth, 3, void="background").fingerprint
    assert score.fingerprint != score_folder(predictions, truth, 4).fingerprint
    grey = tmp_path / "grey"
    grey.mkdir()
    for name, mask in TRUTH.items():
        Image.fromarray(np.array(mask, np.uint8)).save(grey / f"{name}.png")
    assert score_folder(predictions, grey, 3).fingerprint == score.fingerprint
    write_mask(truth / "b.png", np.array([[0, 0], [2, 1]], np.uint8))
    assert score_folder(predictions, truth, 3).fingerprint != score.fingerprint
