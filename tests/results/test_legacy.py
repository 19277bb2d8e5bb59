"""Legacy protocols against what each public program does, pixel by pixel, and the rules that make them differ."""

import json
from pathlib import Path

import numpy as np
import pytest

from results.legacy import RulesTally, Spread, joint_pixels
from results.metrics.counts import count
from results.metrics.miou import mean_iou
from results.protocols import LEGACY, PROTOCOLS, Rules, protocol
from results.scoring import Beside, score_folder
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import UNKNOWN

CLASSES = 5
Pairs = list[tuple[np.ndarray, np.ndarray]]


def photos() -> Pairs:
    """Four predictions and truths with 255 in both; no pixel of either is class 4."""
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = rng.choice([0, 1, 2, 3, UNKNOWN], (9, 8), p=[0.4, 0.3, 0.1, 0.1, 0.1]).astype(np.uint8)
        prediction = np.where(rng.random((9, 8)) < 0.5, truth, rng.integers(0, 4, (9, 8))).astype(np.uint8)
        prediction[rng.random((9, 8)) < 0.15] = UNKNOWN
        found.append((prediction, truth))
    return found


def irn(pairs: Pairs) -> float:
    """255 of predictions becomes 0; one confusion of what is known; the mean of what is no nan."""
    confusion = np.zeros((CLASSES, CLASSES))
    for prediction, truth in pairs:
        for p, t in zip(prediction.ravel(), truth.ravel(), strict=True):
            if t != UNKNOWN:
                confusion[t, 0 if p == UNKNOWN else p] += 1
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(confusion.diagonal() / (confusion.sum(0) + confusion.sum(1) - confusion.diagonal())))


def areas(pairs: Pairs) -> list[tuple[int, int, int]]:
    """Of each class the pixels that are right, predicted and true, among those of known truth."""
    found = []
    for c in range(CLASSES):
        right = sum(((p == c) & (t == c)).sum() for p, t in pairs)
        predicted = sum(((p == c) & (t != UNKNOWN)).sum() for p, t in pairs)
        found.append((right, predicted, sum((t == c).sum() for _, t in pairs)))
    return found


def seam(pairs: Pairs) -> float:
    return float(np.mean([right / (true + predicted - right + 1e-10) for right, predicted, true in areas(pairs)]))


def mmseg(pairs: Pairs) -> float:
    union = [(right, true + predicted - right) for right, predicted, true in areas(pairs)]
    return float(np.mean([right / area for right, area in union if area]))


def per_image(pairs: Pairs) -> float:
    return float(np.mean([irn([pair]) for pair in pairs]))


def torchmetrics(pairs: Pairs) -> float:
    """255 becomes 0 on both sides; the sum over photos and present classes, by their number."""
    values = []
    for prediction, truth in pairs:
        p, t = (np.where(mask == UNKNOWN, 0, mask) for mask in (prediction, truth))
        for c in range(CLASSES):
            if either := ((p == c) | (t == c)).sum():
                values.append(((p == c) & (t == c)).sum() / either)
    return float(np.mean(values))


NAIVE = {"irn": irn, "seam": seam, "mmseg": mmseg, "per_image": per_image, "torchmetrics": torchmetrics}


@pytest.mark.parametrize("name", LEGACY)
def test_each_protocol_is_what_its_program_does(name: str) -> None:
    tally = RulesTally(LEGACY[name], CLASSES)
    for pair in photos():
        tally.add(joint_pixels(*pair, CLASSES))
    assert tally.result().mean == pytest.approx(NAIVE[name](photos()), abs=1e-11)
    assert (tally.result().undefined == ()) == (name == "seam"), "SEAM's program gives class 4 a 0"


RELEASED = {"seam": 0.30103184126768506, "torchmetrics": 0.3974877595901489}
"""What SEAM's evaluation.py (3212261) and torchmetrics 1.9.0 (float32; 255 made 0 before) say of `photos()`."""


@pytest.mark.parametrize("name", RELEASED)
def test_released_programs_give_the_same_number(name: str) -> None:
    tally = RulesTally(LEGACY[name], CLASSES)
    for pair in photos():
        tally.add(joint_pixels(*pair, CLASSES))
    assert tally.result().mean == pytest.approx(RELEASED[name], abs=1e-7)


def test_without_255_in_predictions_the_default_rules_are_voc() -> None:
    pairs = [(np.where(p == UNKNOWN, 0, p).astype(np.uint8), t) for p, t in photos()]
    tally = RulesTally(Rules(), CLASSES)
    for pair in pairs:
        tally.add(joint_pixels(*pair, CLASSES))
    assert tally.result().mean == mean_iou(sum(count(*pair, CLASSES) for pair in pairs)).mean


def test_the_spread_says_what_each_rule_alone_changes() -> None:
    spread, pairs = Spread(CLASSES, Rules()), photos()
    for pair in pairs:
        spread.add(joint_pixels(*pair, CLASSES))
    by_name = {each.name: each for each in spread.scores()}
    assert list(by_name) == ["voc/1", "irn", "mmseg", "per_image", "seam", "torchmetrics"]
    voc = by_name["voc/1"].miou
    assert voc == pytest.approx(irn(pairs), abs=1e-14) and by_name["irn"].because == {}
    assert {name: each.miou for name, each in by_name.items() if name in NAIVE} == {
        name: pytest.approx(naive(pairs), abs=1e-11) for name, naive in NAIVE.items()
    }
    missed, absent = by_name["seam"].because.items()
    assert missed[1] == pytest.approx(mmseg(pairs) - voc, abs=1e-14) and "is missed" in missed[0]
    assert absent == ("a class in neither truth nor prediction counts as 0", pytest.approx(-voc / CLASSES, abs=1e-14))
    assert len(by_name["torchmetrics"].because) == 2


def test_no_board_knows_a_legacy_protocol() -> None:
    assert not set(LEGACY) & set(PROTOCOLS)
    with pytest.raises(UserError, match="unknown protocol 'irn'; expected"):
        protocol("irn")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, position in (("predictions", 0), ("truth", 1)):
        (tmp_path / name).mkdir()
        for number, pair in enumerate(photos()):
            write_mask(tmp_path / name / f"photo_{number}.png", pair[position])
    return tmp_path / "predictions", tmp_path / "truth"


def test_a_folder_by_a_legacy_protocol(folders: tuple[Path, Path]) -> None:
    score = score_folder(*folders, CLASSES, protocol="seam")
    assert score.miou == pytest.approx(seam(photos()), abs=1e-11)
    assert any("for comparison only" in note for note in score.notes())
    with pytest.raises(UserError, match="--void: found background; expected nothing beside --protocol seam"):
        score_folder(*folders, CLASSES, protocol="seam", void="background")
    with pytest.raises(UserError, match=r"unknown protocol 'sean'.*did you mean 'seam'"):
        score_folder(*folders, CLASSES, protocol="sean")


def test_a_folder_by_all_protocols(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"mask value 255; .*--void background"):
        score_folder(*folders, CLASSES, beside=Beside(all_protocols=True))
    score = score_folder(*folders, CLASSES, void="background", beside=Beside(all_protocols=True))
    told = json.loads(json.dumps(score.to_json()))["protocols"]
    assert told["voc/1"] == {"miou": pytest.approx(score.miou, abs=1e-15), "because": {}}
    assert told["seam"]["miou"] == pytest.approx(seam(photos()), abs=1e-11)
    values = [each(photos()) for each in NAIVE.values()]
    assert f"from {min(values):.4f} to {max(values):.4f}" in score.to_text()
    covered = score_folder(*folders, CLASSES, void="covered-only", beside=Beside(all_protocols=True))
    assert "255 in predictions is background" in covered.to_text().split("irn")[1].split("mmseg")[0]


def test_metrics_of_a_folder(folders: tuple[Path, Path]) -> None:
    score = score_folder(
        *folders, CLASSES, void="background", beside=Beside(("image_iou", "class_iou", "boundary_iou"))
    )
    filled = [(np.where(p == UNKNOWN, 0, p), t) for p, t in photos()]
    assert score.measures["mIoU of single photos"] == pytest.approx(per_image(filled), abs=1e-14)
    worst = min(value for value in score.result.per_class if value == value)
    assert score.measures["IoU of the worst class"] == pytest.approx(worst, abs=1e-15)
    assert "boundary IoU" in score.to_text() and score.to_json()["measures"] == dict(score.measures)
    with pytest.raises(UserError, match=r"--metrics: found unknown metric 'boundary'.*did you mean 'boundary_iou'"):
        score_folder(*folders, CLASSES, beside=Beside(("boundary",)))
    with pytest.raises(UserError, match="--metrics: found 'pxap', which reads maps; expected metrics of masks"):
        score_folder(*folders, CLASSES, beside=Beside(("pxap",)))
