"""The logistic classifier against a naive minimiser, and that no photo is judged by a fit that saw it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from methods.base import FeatureRequest
from methods.classifiers.logistic import Logistic, LogisticOptions
from settings.records import Photo
from tests.methods.conftest import MemoryBank, Toy, make_photo

CROSS = LogisticOptions(train_on="cross_validated", folds=3)


def make_set(count: int, prefix: str, seed: int, classes: int = 3) -> tuple[list[Photo], dict[str, np.ndarray]]:
    """Photos whose pooled features have a weak sign of each label; the positions add up to it only on average."""
    rng = np.random.default_rng(seed)
    photos, features = [], {}
    for index in range(count):
        shown_K = rng.random(classes) < 0.4
        pooled_C = 3 + 5 * np.concatenate([shown_K + 0.7 * rng.normal(size=classes), rng.normal(size=2)])
        noise = rng.normal(size=(classes + 2, 2, 3))
        photo = make_photo(f"{prefix}{index:03d}", tuple(np.flatnonzero(shown_K).tolist()))
        photos.append(photo)
        values = pooled_C[:, None, None] + noise - noise.mean((1, 2), keepdims=True)
        features[photo.id] = values.astype(np.float32)
    return photos, features


@pytest.fixture
def sets() -> tuple[list[Photo], list[Photo], MemoryBank]:
    (target, first), (extra, second) = make_set(40, "t", 0), make_set(30, "e", 1)
    features = first | second
    return target, extra, MemoryBank({4: features}, dict.fromkeys(features, (2, 3)))


def pooled(photos: Sequence[Photo], bank: MemoryBank) -> np.ndarray:
    return np.array([bank.features[4][photo.id].astype(np.float64).mean((1, 2)) for photo in photos])


def naive(train: Sequence[Photo], judged: Sequence[Photo], bank: MemoryBank, strength: float) -> np.ndarray:
    """Minimise Σ log(1 + exp(−s z)) + strength ½‖w‖² on standardised features, a class at a time; b is free."""
    train_NC, judged_MC = pooled(train, bank), pooled(judged, bank)
    mean, std = train_NC.mean(0), train_NC.std(0)
    train_NC, judged_MC = (train_NC - mean) / std, (judged_MC - mean) / std
    columns = []
    for k in range(3):
        sign_N = np.array([1 if k in photo.labels else -1 for photo in train])

        def loss(wb: np.ndarray, sign_N: np.ndarray = sign_N) -> float:
            margins_N = sign_N * (train_NC @ wb[:-1] + wb[-1])
            return float(np.logaddexp(0, -margins_N).sum() + strength * 0.5 * wb[:-1] @ wb[:-1])

        wb = minimize(loss, np.zeros(train_NC.shape[1] + 1), tol=1e-10).x
        columns.append(1 / (1 + np.exp(-(judged_MC @ wb[:-1] + wb[-1]))))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("strength", [0.1, 1.0, 20.0])
def test_the_fit_on_the_target_photos(sets: Any, surroundings: Callable[..., Any], strength: float) -> None:
    target, extra, bank = sets
    classifier = Logistic(LogisticOptions(regularisation=strength))
    found = classifier.out_of_fold(target, extra, surroundings(bank=bank))
    assert np.allclose(found, naive(target, extra, bank, strength), atol=2e-3)
    assert set(bank.asked) == {FeatureRequest(flip=False), FeatureRequest(flip=True)}
    assert not np.allclose(found.sum(1), 1, atol=0.1), "classes are independent"


def test_the_fits_on_the_other_folds(sets: Any, surroundings: Callable[..., Any]) -> None:
    target, extra, bank = sets
    context = surroundings(bank=bank)
    found = Logistic(CROSS).out_of_fold(target, extra, context)
    folds = [int(sha256(photo.id.encode()).hexdigest(), 16) % 3 for photo in extra]
    assert set(folds) == {0, 1, 2}
    for fold in range(3):
        train = target + [photo for photo, own in zip(extra, folds, strict=True) if own != fold]
        judged = [photo for photo, own in zip(extra, folds, strict=True) if own == fold]
        assert np.allclose(found[[own == fold for own in folds]], naive(train, judged, bank, 1.0), atol=2e-3)
    assert [report[:2] for report in context.reports] == [(1, 3), (2, 3), (3, 3)]


def test_a_photos_own_label_does_not_judge_it(sets: Any, surroundings: Callable[..., Any]) -> None:
    """Exactly: the rows of its fold stay, and the labels of one fold do change those of the others."""
    target, extra, bank = sets
    for options, changes_others in ((LogisticOptions(), False), (CROSS, True)):
        before = Logistic(options).out_of_fold(target, extra, surroundings(bank=bank))
        other = replace(extra[4], labels=tuple({0, 1, 2} - set(extra[4].labels)))
        after = Logistic(options).out_of_fold(target, [*extra[:4], other, *extra[5:]], surroundings(bank=bank))
        assert np.array_equal(before[4], after[4])
        assert np.array_equal(before, after) is not changes_others


def test_it_gives_the_same_twice(sets: Any, surroundings: Callable[..., Any]) -> None:
    target, extra, bank = sets
    runs = [Logistic(CROSS).out_of_fold(target, extra, surroundings(bank=bank, rng_seed=seed)) for seed in (0, 1)]
    assert np.array_equal(*runs)


def test_a_class_that_all_or_none_show_has_that_share(sets: Any, surroundings: Callable[..., Any]) -> None:
    target, extra, bank = sets
    target = [replace(photo, labels=(0, 2) if 2 in photo.labels else (0,)) for photo in target]
    found = Logistic(LogisticOptions()).out_of_fold(target, extra, surroundings(bank=bank))
    assert np.all(found[:, 0] == 1)
    assert np.all(found[:, 1] == 0)
    assert len(np.unique(found[:, 2])) == len(extra)


def test_a_feature_that_never_changes_tells_nothing(sets: Any, surroundings: Callable[..., Any]) -> None:
    target, extra, bank = sets
    flat = {
        name: np.concatenate([values, np.full((1, 2, 3), 7, np.float32)]) for name, values in bank.features[4].items()
    }
    found = [
        Logistic(LogisticOptions()).out_of_fold(target, extra, surroundings(bank=MemoryBank({4: values}, bank.sizes)))
        for values in (bank.features[4], flat)
    ]
    assert np.allclose(*found, atol=1e-5)


def test_without_photos(sets: Any, surroundings: Callable[..., Any]) -> None:
    target, extra, bank = sets
    assert Logistic(CROSS).out_of_fold(target, [], surroundings(bank=bank)).shape == (0, 3)
    assert Logistic(CROSS).out_of_fold([], extra, surroundings(bank=bank)).shape == (30, 3)
    for options, alone in ((LogisticOptions(), extra), (CROSS, extra[:1])):
        with pytest.raises(ValueError, match="no photo to train the classifier on"):
            Logistic(options).out_of_fold([], alone, surroundings(bank=bank))


def test_it_knows_the_toy_classes(toy: Toy, surroundings: Callable[..., Any]) -> None:
    target, extra = toy.weak.photos[:24], toy.weak.photos[24:]
    found = Logistic(LogisticOptions()).out_of_fold(target, extra, surroundings(bank=toy.bank))
    assert np.mean((found > 0.5) == toy.weak.labels_NK()[24:]) > 0.9
