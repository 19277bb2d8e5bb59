"""Drawn pairs: what is drawn, from what, and what is told where that fails."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, LocalizationMaps, Localized, PairPretraining, Stopped, TrainingOptions
from methods.pretraining.copied_pairs import CopiedPairs, CopiedPairsOptions
from methods.pretraining.synthesis import Distance, Synthesis, SynthesisOptions, other_photo, shown, turned
from methods.training import TrainingDiverged
from settings.records import UNKNOWN, LabelSpace, Mask, WeakSet
from tests.methods.conftest import Noted, make_photo

TINY = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=16)
SPACE = LabelSpace(("bright", "dark"))
SHORT = TrainingOptions(epochs=2, batch=4, optimizer="adamw", learning_rate=2e-3, betas=(0.0, 0.9), weight_decay=0.0)
Make = Callable[..., Noted]


def masks() -> dict[str, Mask]:
    """A box of one class in each of ten photos, with an unknown rim above it."""
    found = {}
    for index in range(10):
        mask_HW = np.zeros((32, 32), np.uint8)
        mask_HW[8:24, 2 * index : 2 * index + 12] = 1 + index % 2
        mask_HW[7] = UNKNOWN
        found[f"p{index}"] = mask_HW
    return found


MASKS = masks()


def no_maps(photo_id: str) -> LocalizationMaps:
    raise AssertionError("pairs are drawn from pseudo labels")


def pairs_of(count: int = 10, value: Callable[[str], Mask] = MASKS.__getitem__) -> Localized:
    """Photos in which a class has its own brightness, without image-level labels."""
    photos = []
    for photo_id, mask_HW in list(MASKS.items())[:count]:
        image = np.array([120, 230, 20], np.uint8)[np.where(mask_HW == UNKNOWN, 0, mask_HW)]
        photos.append(make_photo(photo_id, (), np.repeat(image[:, :, None], 3, axis=2)))
    return Localized(WeakSet(tuple(photos), SPACE), no_maps, pseudo_label=value)


def synthesis(**options: Any) -> Synthesis:
    small = {"pairs": 7, "side": 32, "width": 4, "training": SHORT}
    return Synthesis(SynthesisOptions.model_validate(small | options))


@pytest.fixture
def around(surroundings: Make) -> Make:
    def make(**changes: Any) -> Noted:
        return surroundings(backbone=TINY, label_space=SPACE, **changes)

    return make


def test_a_run_that_was_killed_goes_on_to_the_same_generator(around: Make) -> None:
    whole = synthesis().fit(pairs_of(), around())
    stopped = around(stops_after=1)
    with pytest.raises(Stopped):
        synthesis().fit(pairs_of(), stopped)
    resumed = synthesis().fit(pairs_of(), around(checkpoint_folder=stopped.checkpoint_folder))
    assert resumed.log == whole.log
    assert all(torch.equal(resumed.weights[key], whole.weights[key]) for key in whole.weights)
    assert whole.log[-1]["frechet"] > 0
    assert {name.partition(".")[0] for name in whole.weights} == {"generator", "mean_S", "deviation_S"}


def test_so_many_pairs_are_drawn_and_differ_by_rng_seed(around: Make) -> None:
    part = synthesis(pairs=12)
    weights = part.fit(pairs_of(), around()).weights
    first, again, other = (
        list(part.draw(pairs_of(), around(weights=weights, rng_seed=rng_seed))) for rng_seed in (0, 0, 1)
    )
    assert len(first) == part.pairs == 12
    for pair, same in zip(first, again, strict=True):
        assert (pair.image.shape, pair.image.dtype) == ((32, 32, 3), np.uint8)
        assert np.array_equal(pair.image, same.image)
        assert any(np.array_equal(pair.mask[:, ::step], mask_HW) for mask_HW in MASKS.values() for step in (1, -1))
    assert any(not np.array_equal(one.mask, two.mask) for one, two in zip(first, other, strict=True))


def test_the_control_learns_other_edges_from_the_same_photos(around: Make) -> None:
    fits = [synthesis(edges=edges).fit(pairs_of(), around()) for edges in ("photo", "noise")]
    name = "generator.draw.edge.0.weight"
    assert not torch.equal(fits[0].weights[name], fits[1].weights[name])


def test_a_style_is_of_a_photo_that_shows_the_same_class_where_there_is_one() -> None:
    shown_NV = shown(np.array([[[0, 1]], [[1, 255]], [[2, 2]], [[0, 255]]], np.uint8), 3)
    assert shown_NV.tolist() == [[True, False], [True, False], [False, True], [False, False]]
    rng = np.random.default_rng(0)
    assert {other_photo(shown_NV, 0, rng) for _ in range(20)} == {1}
    assert {other_photo(shown_NV, 2, rng) for _ in range(40)} == {0, 1, 3}
    assert other_photo(shown_NV[:1], 0, rng) == 0


def test_only_what_is_to_be_turned_is_turned() -> None:
    values = torch.arange(6).reshape(2, 1, 3)
    assert turned(values, np.array([False, True])).tolist() == [[[0, 1, 2]], [[5, 4, 3]]]
    assert values[1, 0].tolist() == [3, 4, 5]


def test_a_generator_that_diverges_gives_nothing(around: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((TrainingDiverged, ValueError), match=r"diverged|not finite"):
        synthesis(training=SHORT.model_copy(update={"learning_rate": 1e4})).fit(pairs_of(), around())
    measured = iter([1.0, 1.5, 2.0])
    monkeypatch.setattr(Distance, "measured", lambda self: next(measured))
    with pytest.raises(ValueError, match=r"photos are 2 from .* 1 before; try a lower"):
        synthesis().fit(pairs_of(), around())


def test_too_few_photos_are_told(around: Make) -> None:
    with pytest.raises(ValueError, match="3 photos with a pseudo label: 4 at least"):
        synthesis().fit(pairs_of(3), around())


def test_copies_are_the_photos_and_none_comes_twice_before_all_have(around: Make) -> None:
    part = CopiedPairs(CopiedPairsOptions(pairs=15))
    assert not part.trained
    assert isinstance(part, PairPretraining)
    drawn = list(part.draw(pairs_of(), around()))
    assert len(drawn) == 15
    photos = {photo.id: photo.image() for photo in pairs_of().weak.photos}
    ids = [next(i for i, mask_HW in MASKS.items() if np.array_equal(mask_HW, pair.mask)) for pair in drawn]
    assert all(np.array_equal(photos[photo_id], pair.image) for photo_id, pair in zip(ids, drawn, strict=True))
    assert len(set(ids[:10])) == 10
