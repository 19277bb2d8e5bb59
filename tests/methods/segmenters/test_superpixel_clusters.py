"""Superpixels in clusters: what is told apart by features is found, and named by masks or by image-level labels."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import PseudoLabelled, TrainingOptions
from methods.networks.imsat import ClusterNet
from methods.references import reference
from methods.segmenters.superpixel_clusters import (
    SuperpixelClusters,
    SuperpixelClustersOptions,
    correlations,
    kept_statistics,
    names_of,
)
from settings.records import UNKNOWN, LabelSpace, Mask, WeakSet
from tests.methods.conftest import MemoryBank, Noted, make_photo

SPACE = LabelSpace(("red", "blue"))
SHORT = TrainingOptions(epochs=20, batch=64, optimizer="adamw", learning_rate=5e-3)
COLOURS = {0: (90, 90, 90), 1: (220, 30, 30), 2: (30, 30, 220)}


def masks() -> dict[str, Mask]:
    """Twelve photos of background, each with a red and a blue square, or one of them."""
    found = {}
    for index in range(12):
        mask_HW = np.zeros((48, 48), np.uint8)
        mask_HW[:24, :24] = (1, 2, 1)[index % 3]
        mask_HW[24:, 24:] = (1, 2, 2)[index % 3]
        found[f"p{index:02d}"] = mask_HW
    return found


MASKS = masks()


@pytest.fixture
def around(surroundings: Callable[..., Noted]) -> Callable[..., Noted]:
    """Photos in the colours of their masks, whose features say the colour, with some noise."""
    rng = np.random.default_rng(0)
    photos, features = [], {}
    for photo_id, mask_HW in MASKS.items():
        image = np.array([COLOURS[value] for value in range(3)], np.uint8)[mask_HW]
        labels = tuple(sorted(int(value) - 1 for value in np.unique(mask_HW) if value))
        photos.append(make_photo(photo_id, labels, image))
        cells_HW = mask_HW[2::4, 2::4]
        features[photo_id] = (
            np.stack([cells_HW == value for value in range(3)]) + 0.05 * rng.standard_normal((3, 12, 12))
        ).astype(np.float32)
    bank = MemoryBank({4: features}, dict.fromkeys(MASKS, (48, 48)))

    def make(**changes: Any) -> Noted:
        return surroundings(label_space=SPACE, bank=bank, weak=WeakSet(tuple(photos), SPACE), **changes)

    return make


def clusters(**options: Any) -> SuperpixelClusters:
    small = {"clusters": 3, "superpixels": 36, "side": 48, "width": 16, "training": SHORT}
    return SuperpixelClusters(SuperpixelClustersOptions.model_validate(small | options))


def known(around: Noted, ids: list[str], value: Callable[[str], Mask] = MASKS.__getitem__) -> PseudoLabelled:
    assert around.weak is not None
    return PseudoLabelled(tuple(photo for photo in around.weak.photos if photo.id in ids), SPACE, value)


def right(segmenter: SuperpixelClusters, weights: Any, around: Callable[..., Noted]) -> Iterator[float]:
    weak = around().weak
    assert weak is not None
    photos = [photo.without_labels() for photo in weak.photos]
    for photo, mask_HW in zip(photos, segmenter.apply(photos, around(weights=weights)), strict=True):
        assert (mask_HW.shape, mask_HW.dtype) == ((48, 48), np.uint8)
        yield float((mask_HW == MASKS[photo.id]).mean())


@pytest.mark.parametrize("by", ["information", "k_means"])
@pytest.mark.parametrize("name_by", ["dev_masks", "image_labels"])
def test_what_features_tell_apart_is_found_and_named(by: str, name_by: str, around: Callable[..., Noted]) -> None:
    segmenter, given = clusters(clusters_by=by, name_by=name_by), around()

    def mask(photo_id: str) -> Mask:
        assert name_by == "dev_masks"
        return MASKS[photo_id]

    data = known(given, ["p00", "p01"] if name_by == "dev_masks" else [], mask)
    fit = segmenter.fit(data, given)
    assert sorted(fit.weights["names"].tolist()) == [0, 1, 2]
    assert np.mean(list(right(segmenter, fit.weights, around))) > 0.9
    assert 20 < fit.log[-1]["superpixels"] <= 49


def test_drawn_clusters_are_the_floor_and_differ_by_rng_seed(around: Callable[..., Noted]) -> None:
    segmenter = clusters(clusters_by="random")
    fits = [segmenter.fit(known(given, ["p00"]), given) for given in (around(), around(rng_seed=1))]
    scores = [list(right(segmenter, fit.weights, around)) for fit in fits]
    assert scores[0] != scores[1]
    assert all(0.15 < np.mean(each) < 0.6 for each in scores)
    assert scores[0] == list(right(segmenter, fits[0].weights, around))


def test_clusters_beyond_the_classes_and_without_agreement_are_background() -> None:
    counts = np.array([[9, 1, 0], [8, 0, 0], [1, 7, 0], [0, 6, 0], [0, 0, 0]])
    assert names_of(counts).tolist() == [0, 0, 1, 0, 0]
    assert names_of(np.array([[5, 4, 0]])).tolist() == [0]


def test_shares_go_with_labels_as_numpy_says() -> None:
    rng = np.random.default_rng(0)
    shares, labels = rng.random((9, 4)), rng.integers(0, 2, (9, 2)).astype(float)
    expected = np.corrcoef(shares.T, labels.T)[:4, 4:]
    assert np.allclose(correlations(shares, labels), expected)
    assert (correlations(np.ones((9, 1)), labels) == 0).all()


def test_perturbed_inputs_move_no_running_statistics() -> None:
    network = ClusterNet(3, (4, 4), 2).train()
    with kept_statistics(network):
        network(torch.randn(5, 3))
    assert (network.bn1.running_mean == 0).all()
    network(torch.randn(5, 3))
    assert (network.bn1.running_mean != 0).any()


def test_what_cannot_be_clustered_or_named_is_told(around: Callable[..., Noted]) -> None:
    given = around()
    with pytest.raises(ValueError, match="superpixels for 999 clusters: ask for fewer"):
        clusters(clusters=999).fit(known(given, ["p00"]), given)
    unknown = known(given, ["p00"], lambda photo_id: np.full((48, 48), UNKNOWN, np.uint8))
    with pytest.raises(ValueError, match="no mask with a known pixel"):
        clusters(clusters_by="random").fit(unknown, given)


@pytest.mark.parametrize("count", [2, 12, 250])
def test_the_reference_has_any_number_of_clusters(count: int) -> None:
    found = reference(f"unsupervised({count})")
    assert found is not None
    assert (found["reveal"], found["segmenter"]["clusters"]) == ("dev", count)
    assert reference("unsupervised(1)") is None
    assert reference("unsupervised(1000)") is None
