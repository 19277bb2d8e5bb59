"""C²AM on the toy set: objects are found without a label, whichever side the network calls foreground."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import FeatureRequest, TrainingOptions
from methods.cues.c2am import C2am, C2amOptions
from methods.networks.c2am import ForegroundHead
from methods.training import named_tensors
from results.metrics.foreground import foreground_iou, overlap
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import MemoryBank, Toy, make_photo

OPTIONS = C2amOptions(training=TrainingOptions(epochs=10, batch=16, learning_rate=0.1))


@pytest.fixture
def toy() -> Toy:
    """Photos of 64² pixels with one object, a square off the border; objects and background have a texture each."""
    rng = np.random.default_rng(3)
    features: dict[int, dict[str, np.ndarray]] = {3: {}, 4: {}}
    truth, small = {}, {}
    for index in range(64):
        photo_id, (top, left) = f"p{index:02d}", rng.integers(1, 4, 2)
        small[photo_id] = np.zeros((8, 8), np.uint8)
        small[photo_id][top : top + 4, left : left + 4] = 1 + index % 3
        truth[photo_id] = small[photo_id].repeat(8, 0).repeat(8, 1)
        for level in features:
            object_HW = small[photo_id] > 0
            textures = np.stack([~object_HW, object_HW, np.zeros_like(object_HW)])
            features[level][photo_id] = (textures + 0.1 * rng.random(textures.shape)).astype(np.float32)
    photos = tuple(make_photo(photo_id) for photo_id in truth)
    bank = MemoryBank(features, dict.fromkeys(truth, (64, 64)))
    return Toy(WeakSet(photos, LabelSpace(("a", "b", "c"))), bank, truth, small)


@pytest.mark.parametrize("rng_seed", [0, 1, 2])
def test_objects_are_found(rng_seed: int, toy: Toy, surroundings: Callable[..., Any]) -> None:
    cue, context = C2am(OPTIONS), surroundings(bank=toy.bank, rng_seed=rng_seed)
    fit = cue.fit(toy.weak.photos, context)
    maps = list(cue.apply(toy.weak.photos, replace(context, weights=fit.weights)))
    truths = [toy.truth[photo.id] for photo in toy.weak.photos]
    found = foreground_iou(overlap(*pair) for pair in zip(maps, truths, strict=True))
    everything = foreground_iou(overlap(np.full_like(truth, 255), truth) for truth in truths)
    assert everything == 0.25
    assert found > 0.7
    assert list(fit.log[0]) == ["epoch", "learning_rate", "between", "foreground", "background"]


def test_an_inverted_network_gives_the_same_map(toy: Toy, surroundings: Callable[..., Any]) -> None:
    """The logits of a network with negated weights, called inverted, are 1 + those of the plain one."""
    cue, photo, context = C2am(OPTIONS), toy.weak.photos[0], surroundings(bank=toy.bank)
    weights = cue.fit(toy.weak.photos, context).weights
    negated = dict(weights, inverted=~weights["inverted"])
    negated["head.activation.weight"] = -weights["head.activation.weight"]
    shift = 1 if bool(weights["inverted"]) else -1
    negated["head.norm.running_mean"] = -weights["head.norm.running_mean"]
    negated["head.norm.running_mean"] -= shift * (weights["head.norm.running_var"] + 1e-5).sqrt()
    ((first,), (second,)) = (cue.apply([photo], replace(context, weights=w)) for w in (weights, negated))
    assert np.abs(first.astype(int) - second).max() <= 1


def test_the_threshold_becomes_a_saliency_of_one_half(toy: Toy, surroundings: Callable[..., Any]) -> None:
    weights = C2am(OPTIONS).fit(toy.weak.photos, surroundings(bank=toy.bank)).weights
    maps = {}
    for threshold in (0.5, 0.2):
        cue = C2am(OPTIONS.model_copy(update={"threshold": threshold}))
        (maps[threshold],) = cue.apply(toy.weak.photos[:1], surroundings(weights=weights, bank=toy.bank))
    assert maps[0.5].max() == maps[0.2].max() == 255
    expected = np.interp(maps[0.5] / 255, (0, 0.2, 1), (0, 0.5, 1)) * 255
    assert np.abs(maps[0.2] - expected).max() <= 2


class LogitBank:
    """Logits of a pass as the only channel of level 3, level 4 being 0."""

    def __init__(self, logits: dict[tuple[float, bool], torch.Tensor], size: tuple[int, int]) -> None:
        self.logits, self.size = logits, size

    def features_BCHW(self, ids: Any, requests: Any) -> torch.Tensor:
        return torch.stack([self.logits[r.scale, r.flip] * (r.level == 3) for r in requests])

    def image_size(self, photo_id: str) -> tuple[int, int]:
        return self.size


@pytest.mark.parametrize("inverted", [False, True])
def test_maps_of_the_released_program(inverted: bool, surroundings: Callable[..., Any]) -> None:
    """Three scales, each mirrored too; its maps have a quarter of the photo's size, here called the photo's."""
    with np.load(Path(__file__).resolve().parents[2] / "golden" / "c2am_inference.npz") as stored:
        expected = stored["map_inverted" if inverted else "map_plain"]
        pairs = {scale: torch.from_numpy(stored[f"logits_{scale}"]) for scale in (0.5, 1.0, 1.5)}
    logits = {(scale, flip): pair[int(flip)] for scale, pair in pairs.items() for flip in (False, True)}
    bank: Any = LogitBank(logits, (expected.shape[0], expected.shape[1]))
    # A head that passes level 3 on: its norm divides by √(1 + 1e-5), which the kernel takes back.
    head = ForegroundHead(2)
    with torch.no_grad():
        head.activation.weight.zero_()
        head.activation.weight[0, 0, 1, 1] = (1 + head.norm.eps) ** 0.5
    weights = {**named_tensors(head=head), "inverted": torch.tensor([inverted])}
    cue = C2am(C2amOptions(scales=(0.5, 1.0, 1.5), flip=True, threshold=0.5))
    (found,) = cue.apply([make_photo("p")], surroundings(weights=weights, bank=bank))
    assert np.abs(found - 255 * expected).max() <= 0.5 + 1e-3


def test_passes_are_every_scale_plain_and_mirrored_at_both_levels() -> None:
    cue = C2am(C2amOptions(scales=(1.0, 0.5), flip=True))
    expected = [FeatureRequest(s, f, level) for s in (1.0, 0.5) for f in (False, True) for level in (3, 4)]
    assert list(cue.apply_features()) == expected
    assert C2am(C2amOptions(flip=False)).apply_features() == (FeatureRequest(level=3), FeatureRequest(level=4))
    assert cue.supervision == ""


def test_a_mirrored_pass_is_mirrored_back(toy: Toy, surroundings: Callable[..., Any]) -> None:
    """The toy bank gives exactly mirrored features; a symmetric kernel then gives the same map twice."""
    weights = C2am(OPTIONS).fit(toy.weak.photos, surroundings(bank=toy.bank)).weights
    kernel = weights["head.activation.weight"]
    weights["head.activation.weight"] = (kernel + kernel.flip(3)) / 2
    maps = []
    for flip in (False, True):
        cue = C2am(OPTIONS.model_copy(update={"flip": flip}))
        maps += cue.apply(toy.weak.photos[:1], surroundings(weights=weights, bank=toy.bank))
    plain, both = maps
    assert np.abs(plain.astype(int) - both).max() <= 1
