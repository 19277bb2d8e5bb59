"""Few-shot matching on toy photos: masks of known boxes are found again in photos that were not shown."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import Photo, PseudoLabelled, TrainingOptions
from methods.references import reference
from methods.segmenters.few_shot_matching import FewShotMatching, FewShotMatchingOptions, found_classes, one_class
from settings.records import UNKNOWN, LabelSpace
from tests.methods.conftest import Toy

TRAINING = TrainingOptions(epochs=2, batch=4, optimizer="adamw", learning_rate=0.01)


def matching(**options: Any) -> FewShotMatching:
    small = {"widths": (4, 4, 4), "grids": (4, 4, 2), "examples": 3, "training": TRAINING}
    return FewShotMatching(FewShotMatchingOptions(**small | options))


def shown(toy: Toy, photos: Sequence[Photo]) -> PseudoLabelled:
    return PseudoLabelled(tuple(photos), toy.weak.label_space, toy.truth.__getitem__)


def test_pairs_are_learned_from_and_others_segmented(toy: Toy, surroundings: Callable[..., Any]) -> None:
    part = matching()
    fit = part.fit(shown(toy, toy.weak.photos[:16]), surroundings(bank=toy.bank))
    assert fit.log[-1]["true_mask"] < fit.log[0]["true_mask"]
    others = [photo.without_labels() for photo in toy.weak.photos[40:43]]
    found = list(part.apply(others, surroundings(weights=fit.weights, bank=toy.bank)))
    (alone,) = part.apply(others[:1], surroundings(weights=fit.weights, bank=toy.bank))
    assert np.array_equal(alone, found[0])


def test_where_several_classes_are_found_the_likeliest_counts() -> None:
    """Two examples of class 0 and one of class 2, of four pixels; both classes are found in the last two."""
    of_class = torch.tensor([[-9.0, 1.0, 1.0, 3.0], [-9.0, -2.0, 1.0, 3.0], [-9.0, -9.0, 2.0, 2.0]])
    logits_M2HW = torch.stack([torch.zeros_like(of_class), of_class], 1)[:, :, None]
    found = found_classes(logits_M2HW, torch.tensor([0, 0, 2]), (1, 4))
    # Half of the votes are enough, whatever the mean probability; two votes of two in the third and fourth.
    assert found.tolist() == [[0, 1, 3, 1]]


def test_the_weights_hold_the_largest_examples_of_each_class(toy: Toy, surroundings: Callable[..., Any]) -> None:
    part = matching(training=TRAINING.model_copy(update={"epochs": 1}))
    repeated = (*toy.weak.photos[:10], *toy.weak.photos[:4])
    kept = part.fit(shown(toy, repeated), surroundings(bank=toy.bank)).weights
    classes, masks = kept["example.classes"].tolist(), kept["example.masks"]
    pixels = np.array([[(toy.truth[p.id][::4, ::4] == k + 1).sum() for k in range(3)] for p in toy.weak.photos[:10]])
    for class_id in range(3):
        sizes = sorted(int(mask.sum()) for mask, of in zip(masks, classes, strict=True) if of == class_id)
        assert sizes == sorted(sorted(pixels[:, class_id][pixels[:, class_id] >= 4])[-3:])
    assert kept["example.level2"].shape == (len(classes), 1, 7, 4, 4)


def test_one_mask_of_one_class_is_enough(toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Its only example is the photo itself, and no query lacks the class."""
    photo, space = toy.weak.photos[0], LabelSpace(("only",))
    data = PseudoLabelled((photo,) * 8, space, lambda _: (toy.truth[photo.id] > 0).astype(np.uint8))
    context = surroundings(bank=toy.bank, label_space=space)
    part = matching(training=TRAINING.model_copy(update={"epochs": 1}))
    fit = part.fit(data, context)
    (found,) = part.apply([photo.without_labels()], replace(context, weights=fit.weights))
    assert found.shape == (64, 64) and found.max() <= 1


def test_masks_without_a_class_end_the_fit(toy: Toy, surroundings: Callable[..., Any]) -> None:
    empty = PseudoLabelled(toy.weak.photos[:5], toy.weak.label_space, lambda _: np.full((64, 64), UNKNOWN, np.uint8))
    with pytest.raises(ValueError, match="none of the 5 masks shows 4 pixels of a class"):
        matching().fit(empty, surroundings(bank=toy.bank))


def test_a_mask_is_asked_for_one_class() -> None:
    masks_BHW = torch.tensor([[[0, 1, 2, UNKNOWN]], [[0, 1, 2, UNKNOWN]]], dtype=torch.uint8)
    found = one_class(masks_BHW, torch.tensor([0, 1]))
    assert found.tolist() == [[[0, 1, 0, UNKNOWN]], [[0, 0, 1, UNKNOWN]]]


@pytest.mark.parametrize("count", [1, 16, 1000])
def test_its_reference_is_shown_as_many_masks_as_few_shot(count: int) -> None:
    few, matched = reference(f"few-shot({count})"), reference(f"few_shot_matching({count})")
    assert few == {"reveal": count}
    assert matched == {"reveal": count, "segmenter": "few_shot_matching", "training_mode": "frozen"}
    assert reference("few_shot_matching(0)") is None
