"""Refiners on crops: which labels a crop has, what learns, and cells of whole photos."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods.base import LocalizationMaps, Localized, Photo, Surroundings, TrainingOptions, WeakSet
from methods.networks.backbones import build
from methods.photo_inputs import CropOptions
from methods.refiners.affinity import Affinity, AffinityOptions
from methods.refiners.irn import Irn, IrnOptions
from methods.refining import KeptLabels, fit_on_crops, pooled, unpooled
from methods.training import part_of
from settings.records import UNKNOWN
from tests.methods.conftest import SPACE, make_photo

TRAINING = TrainingOptions(epochs=1, batch=2, learning_rate=0.1)
CROPS = CropOptions(scales=(1.0, 1.0), crop=48)
PARTS = [
    Affinity(AffinityOptions(inputs=CROPS, training=TRAINING, label_refiner="none", log2_steps=2, radius=3)),
    Irn(IrnOptions(levels=(1, 4), inputs=CROPS, training=TRAINING, label_refiner="none", log2_steps=2)),
]


def four_photos() -> tuple[tuple[Photo, ...], Callable[[str], LocalizationMaps]]:
    """Noise of 40 × 56 pixels; of each the left half is sure to show its class, the rest is sure to show nothing."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 56, 3)).astype(np.uint8) for _ in range(4)]
    photos = tuple(make_photo(f"p{index}", (index % 3,), image) for index, image in enumerate(images))
    maps = np.zeros((1, 40, 56), np.float32)
    maps[:, :, :28] = 1
    records = {photo.id: LocalizationMaps(photo.id, photo.labels, maps, (40, 56)) for photo in photos}
    return photos, records.__getitem__


def changed(fit: Any, surroundings: Surroundings, levels: Sequence[int]) -> set[str]:
    """The names of the backbone's tensors that training has changed, but for what batch norms count."""
    before, after = build(surroundings.backbone, levels).body.state_dict(), part_of(fit.weights, "backbone")
    assert set(before) == set(after)
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("part", PARTS, ids=["affinity", "irn"])
def test_who_learns_is_as_released(part: Any, surroundings: Callable[..., Any]) -> None:
    """AffinityNet trains its backbone along; IRN's stands still, its batch norms too. Both keep it for `apply`."""
    (photos, maps), given = four_photos(), surroundings()
    assert part.fit_features() == part.apply_features() == ()
    fit = part.fit(Localized(WeakSet(photos, SPACE), maps), given)
    levels = (2, 3, 4) if isinstance(part, Affinity) else (1, 4)
    assert bool(changed(fit, given, levels)) == isinstance(part, Affinity)
    records = list(part.apply(photos, maps, surroundings(weights=fit.weights)))
    assert [record.photo_id for record in records] == [photo.id for photo in photos]
    for record in records:
        assert record.maps_CHW.shape == (1, 40, 56)
        tops = [record.maps_CHW.max(), -1 if record.background_HW is None else record.background_HW.max()]
        assert max(tops) == pytest.approx(1)
        assert (record.background_HW is not None) == isinstance(part, Affinity)


def test_a_crop_has_the_labels_of_its_part_and_none_outside(surroundings: Callable[..., Any]) -> None:
    """The photo covers 5 × 7 of the 6 × 8 cells of a crop of 64 × 64 pixels at stride 8, which end beyond it."""
    photos, maps = four_photos()
    seen: list[torch.Tensor] = []

    def loss(head: nn.Module, levels: Any, labels_BHW: torch.Tensor, counted: Any) -> torch.Tensor:
        seen.extend(labels_BHW.clone())
        return sum((parameter.sum() for parameter in head.parameters()), start=torch.zeros(()))

    crops = CropOptions(scales=(1.0, 1.0), crop=64, flip=False)
    data = Localized(WeakSet(photos, SPACE), maps)

    def step(maps_CHW: np.ndarray, class_ids: Sequence[int], image_HWC: np.ndarray) -> np.ndarray:
        return np.where(maps_CHW[0] == 1, class_ids[0] + 1, 0).astype(np.uint8)

    def head_of(channels: tuple[int, ...]) -> nn.Module:
        return nn.Linear(channels[0], 1)

    labels, given = KeptLabels(data, step, 4096), surroundings()
    fit_on_crops(data, (4,), head_of, labels, loss, crops, TRAINING, given, backbone_learns=False)
    assert len(seen) == 4
    for labels_HW in seen:
        assert labels_HW.dtype == torch.uint8
        assert labels_HW.shape == (8, 8)
        known = labels_HW != UNKNOWN
        rows, columns = known.any(1).nonzero().flatten(), known.any(0).nonzero().flatten()
        inside = labels_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert inside.shape == (5, 7)
        assert (inside != UNKNOWN).all()
        (label,) = inside[:, :3].unique().tolist()
        assert 1 <= label <= 3
        assert (inside[:, 4:] == 0).all(), "the right half; the cell between may be of either"


def test_nothing_sure_ends_the_fit_with_the_reason(surroundings: Callable[..., Any]) -> None:
    photos, _ = four_photos()
    flat = LocalizationMaps("p", (0,), np.full((1, 40, 56), 0.2, np.float32), (40, 56))
    with pytest.raises(ValueError, match=f"no sure pixel in the maps of 4 photos: all labels are {UNKNOWN}"):
        PARTS[1].fit(Localized(WeakSet(photos, SPACE), lambda _: flat), surroundings())


def test_cells_are_means_of_their_pixels_and_0_beyond_the_photo() -> None:
    scores = np.arange(30, dtype=np.float32).reshape(1, 5, 6)
    found = pooled(scores, (8, 8), 4)
    padded = np.zeros((8, 8), np.float32)
    padded[:5, :6] = scores[0]
    expected = [[padded[y : y + 4, x : x + 4].mean() for x in (0, 4)] for y in (0, 4)]
    assert np.allclose(found[0].numpy(), expected)


def test_cells_become_pixels_and_are_cut_at_the_photo() -> None:
    """Between the centres of two cells of 4 pixels, at 1.5 and 5.5, values go up evenly."""
    found = unpooled(torch.tensor([[[0.0, 1.0]]]), (3, 7), 4)
    assert found.shape == (1, 3, 7)
    assert found[0, 1].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1])


@pytest.mark.parametrize("options", [AffinityOptions, IrnOptions])
def test_the_aspect_follows_the_inputs(options: Any) -> None:
    assert options(inputs=CROPS).keeps_aspect
    assert not {"inputs", "aspect", "group_norm"} & set(options().model_dump())
    for given in ({"aspect": "kept"}, {"inputs": CROPS, "aspect": "square"}):
        with pytest.raises(ValueError, match="no aspect: a refiner keeps it where its inputs are crops"):
            options(**given)
