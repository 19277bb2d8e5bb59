"""Components trained by two processes against one: the same losses and weights where nothing but rounding differs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from methods.base import Fit, Localized, PseudoLabelled, TrainingOptions
from methods.cues.c2am import C2am, C2amOptions
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.localizers.seam import Seam, SeamOptions
from methods.photo_inputs import CropOptions
from methods.pretraining.synthesis import Synthesis, SynthesisOptions
from methods.refiners.affinity import Affinity, AffinityOptions
from methods.refiners.cross_task import CrossTask, CrossTaskOptions
from methods.refiners.irn import Irn, IrnOptions
from methods.segmenters.deeplab import DeepLab, DeepLabOptions
from methods.segmenters.deeplab_largefov import DeepLabLargeFov, DeepLabLargeFovOptions
from methods.segmenters.superpixel_clusters import SuperpixelClusters, SuperpixelClustersOptions
from methods.sharing import ALONE, Share
from settings.records import UNKNOWN, WeakSet
from tests.methods.conftest import Toy, make_photo
from tests.methods.pretraining.test_synthesis import no_maps
from tests.methods.refiners.test_walks import corner_maps

ODD = TrainingOptions(epochs=3, batch=7, learning_rate=0.05)
"""Slices of 3 and 4 of each batch."""
TWICE = ODD.model_copy(update={"epochs": 2})


def masks_of(toy: Toy) -> PseudoLabelled:
    """Every third photo is mostly unknown: means of slices are then far from the mean of the batch."""

    def mask(photo_id: str) -> np.ndarray:
        found = toy.truth[photo_id].copy()
        if int(photo_id[1:]) % 3 == 0:
            found[4:] = UNKNOWN
        return found

    return PseudoLabelled(toy.weak.photos, toy.weak.label_space, mask)


def maps_of(toy: Toy) -> Localized:
    return Localized(toy.weak, corner_maps(toy).__getitem__)


def cam(toy: Toy, context: Any, hidden: int = 0) -> Fit:
    return Cam(CamOptions(hidden=hidden, training=ODD)).fit(toy.weak, context)


def noisy(toy: Toy) -> WeakSet:
    """Photos of noise: batch norm would blow the rounding of photos of one colour up."""
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 255, (64, 64, 3)).astype(np.uint8) for _ in toy.weak.photos)
    photos = tuple(
        make_photo(photo.id, photo.labels, image) for photo, image in zip(toy.weak.photos, noise, strict=True)
    )
    return WeakSet(photos, toy.weak.label_space)


def fine_tuned(toy: Toy, context: Any) -> Fit:
    return Cam(CamOptions(hidden=8, training=ODD)).fit(noisy(toy), replace(context, bank=None))


def pairs_of_crops(toy: Toy, context: Any) -> Fit:
    crops = CropOptions(crop=33, longer_side=(32, 40))
    options = CoAttentionOptions(hidden=8, scaled_pairs=(), inputs=crops, training=TWICE)
    return CoAttention(options).fit(noisy(toy), replace(context, bank=None))


def adamw(toy: Toy, context: Any) -> Fit:
    training = ODD.model_copy(update={"optimizer": "adamw", "learning_rate": 0.01})
    return Cam(CamOptions(hidden=8, training=training)).fit(toy.weak, context)


def coattention(toy: Toy, context: Any) -> Fit:
    options = CoAttentionOptions(hidden=8, scaled_pairs=(), contrastive_from=1, training=ODD)
    return CoAttention(options).fit(toy.weak, context)


def seam(toy: Toy, context: Any) -> Fit:
    """Without dropout, which each process draws for itself."""
    options = SeamOptions(hidden=8, dropout=0, small_scale=1.0, training=ODD)
    return Seam(options).fit(toy.weak, context)


def affinity(toy: Toy, context: Any) -> Fit:
    options = AffinityOptions(label_refiner="none", radius=3, training=ODD)
    return Affinity(options).fit(maps_of(toy), context)


def irn(toy: Toy, context: Any) -> Fit:
    options = IrnOptions(label_refiner="none", levels=(1, 4), training_radius=4, training=ODD)
    return Irn(options).fit(maps_of(toy), context)


def cross_task(toy: Toy, context: Any) -> Fit:
    """Without dropout, which each process draws for itself; two rounds, the second on labels of the first."""
    saliency = {photo_id: (mask_HW > 0) * np.uint8(255) for photo_id, mask_HW in toy.truth.items()}
    training = ODD.model_copy(update={"epochs": 1})
    options = CrossTaskOptions(width=8, dilations=(1, 1, 1), dropout=0, rounds=2, training=training)
    return CrossTask(options).fit(replace(maps_of(toy), saliency=saliency.__getitem__), context)


def clusters(toy: Toy, context: Any) -> Fit:
    """Both processes see the whole batch, which counts twice in the correction n / (n − 1) of running variances."""
    training = TrainingOptions(epochs=2, batch=63, learning_rate=0.01)
    options = SuperpixelClustersOptions(clusters=4, superpixels=9, side=32, width=8, training=training)
    fit = SuperpixelClusters(options).fit(masks_of(toy), replace(context, weak=toy.weak))
    return replace(fit, weights={name: value for name, value in fit.weights.items() if "running_var" not in name})


def synthesis(toy: Toy, context: Any) -> Fit:
    training = TrainingOptions(epochs=1, batch=7, learning_rate=1e-3)
    options = SynthesisOptions(side=32, width=4, training=training)
    data = Localized(WeakSet(toy.weak.photos[:24], toy.weak.label_space), no_maps, pseudo_label=toy.truth.__getitem__)
    return Synthesis(options).fit(data, replace(context, bank=None))


CASES: Mapping[str, Callable[[Toy, Any], Fit]] = {
    "cam": cam,
    "cam with batch norm": lambda toy, context: cam(toy, context, hidden=8),
    "cam, fine-tuned": fine_tuned,
    "cam by AdamW": adamw,
    "coattention": coattention,
    "coattention, on crops": pairs_of_crops,
    "seam": seam,
    "affinity": affinity,
    "irn": irn,
    "cross_task": cross_task,
    "superpixel_clusters": clusters,
    "synthesis": synthesis,
    "c2am": lambda toy, context: C2am(C2amOptions(training=ODD)).fit(toy.weak.photos, context),
}


def losses(fit: Fit) -> np.ndarray:
    """(epochs, terms)."""
    return np.array(
        [[value for name, value in row.items() if name not in ("epoch", "learning_rate", "round")] for row in fit.log]
    )


def apart(one: Fit, other: Fit) -> tuple[float, float]:
    """The largest difference of the losses, and of the weights."""
    weights = [
        float((one.weights[name] - value).abs().max())
        for name, value in other.weights.items()
        if value.is_floating_point()
    ]
    return float(np.abs(losses(one) - losses(other)).max()), max(weights)


def trained(fit: Callable[[Toy, Any], Fit], toy: Toy, context: Any, share: Share) -> Fit:
    return fit(toy, replace(context, share=share, bank=toy.bank))


@pytest.mark.parametrize("name", list(CASES))
def test_two_processes_train_as_one(
    name: str, toy: Toy, together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    one, context = trained(CASES[name], toy, surroundings(), ALONE), surroundings()
    first, second = together(2, lambda share: trained(CASES[name], toy, context, share))
    assert np.ptp(losses(one)) > 1e-3
    assert apart(first, second) == (0, 0)
    of_losses, of_weights = apart(one, first)
    assert of_losses < 1e-4
    # On CPUs without AVX-512 a backbone that is trained along on crops makes 2.4e-4 of the rounding.
    assert of_weights < (5e-4 if name == "coattention, on crops" else 1e-4)


@pytest.mark.parametrize("kind", ["deeplab", "deeplab_largefov"])
def test_two_processes_train_a_segmenter_as_one(
    kind: str, toy: Toy, together: Callable[..., Any], surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the dropout of DeepLab's head, which each process draws for itself: here without."""
    monkeypatch.setattr("torch.nn.functional.dropout", lambda values, *_: values)

    def fit(toy: Toy, context: Any) -> Fit:
        if kind == "deeplab":
            return DeepLab(DeepLabOptions(width=8, training=ODD)).fit(masks_of(toy), context)
        options = DeepLabLargeFovOptions(width=8, crop=65, training=ODD.model_copy(update={"epochs": 1}))
        return DeepLabLargeFov(options).fit(masks_of(toy), replace(context, bank=None))

    one, context = trained(fit, toy, surroundings(), ALONE), surroundings()
    first, second = together(2, lambda share: trained(fit, toy, context, share))
    assert apart(first, second) == (0, 0)
    of_losses, of_weights = apart(one, first)
    assert of_losses < 1e-4
    assert of_weights < 1e-4


def test_dropout_and_batch_norm_of_each_process_make_a_bounded_difference(
    toy: Toy, together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    def fit(toy: Toy, context: Any) -> Fit:
        return DeepLab(DeepLabOptions(width=8, training=ODD)).fit(masks_of(toy), context)

    one, contexts = trained(fit, toy, surroundings(), ALONE), [surroundings() for _ in range(2)]
    for sync, context in zip((True, False), contexts, strict=True):
        first, _ = together(2, lambda share, to=context: trained(fit, toy, to, share), sync_batch_norm=sync)
        assert 1e-4 < apart(one, first)[0] < 0.15
