"""The features stage against one photo at a time, and its files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import grid_sample

from methods.base import BackboneOptions, FeatureRequest
from methods.features import BATCH, FrozenBackbone, StoredFeatures, batches, compute, write_shard
from methods.networks.backbones import Backbone, build
from methods.networks.offsets import offsets
from settings.records import Photo

REQUESTS = (FeatureRequest(1.5, True, 4), FeatureRequest(), FeatureRequest(flip=True), FeatureRequest(level=1))
SIZES = [(64, 64), (50, 70), (33, 20), (64, 64), (90, 41)] * 2


OPTIONS = BackboneOptions(name="test_efficientnet", weights="random", size=64)


@pytest.fixture(scope="module")
def plain() -> Backbone:
    """The network as timm makes it, layer by layer."""
    return build(OPTIONS, (1, 4)).eval()


@pytest.fixture(scope="module")
def backbone(plain: Backbone) -> FrozenBackbone:
    return FrozenBackbone(plain)


@pytest.fixture
def photos(photo: Callable[..., Photo]) -> list[Photo]:
    """More than a batch of them, of different sizes."""
    rng = np.random.default_rng(0)
    assert len(SIZES) > BATCH
    images = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]
    return [photo(f"p{index}", (), image) for index, image in enumerate(images)]


def naive_CHW(backbone: Backbone, photo: Photo, request: FeatureRequest) -> torch.Tensor:
    side = round(backbone.options.size * request.scale)
    square = Image.fromarray(photo.image()).resize((side, side), Image.Resampling.BILINEAR)
    if request.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    values = (np.asarray(square) / 255 - np.array(backbone.mean_C)) / np.array(backbone.std_C)
    with torch.inference_mode():
        levels = backbone(torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32)))
    index = (1, 4).index(request.level)
    return sampled(levels[index], -offsets(backbone, side)[index])[0]


def sampled(features_1CHW: torch.Tensor, shift: float) -> torch.Tensor:
    """Bilinear, at every position plus `shift` cells to the right and down; what is outside is the nearest inside."""
    height, width = features_1CHW.shape[2:]
    y_H, x_W = (2 * (torch.arange(cells) + shift + 0.5) / cells - 1 for cells in (height, width))
    places_1HW2 = torch.stack(torch.meshgrid(x_W, y_H, indexing="xy"), -1)[None]
    return grid_sample(features_1CHW, places_1HW2, align_corners=False, padding_mode="border")


def test_stored_features_equal_one_photo_at_a_time(
    backbone: FrozenBackbone, plain: Backbone, photos: list[Photo], tmp_path: Path
) -> None:
    paths = []
    for part, some in enumerate((photos[:7], photos[7:])):
        computed = compute(backbone, some, REQUESTS)
        for request, features in computed.features.items():
            assert features.dtype == torch.float16
            paths.append(tmp_path / f"{part}{request.scale}{request.flip}{request.level}.safetensors")
            write_shard(paths[-1], request, computed.shard, features)
    bank = StoredFeatures(paths)
    assert [bank.image_size(photo.id) for photo in photos] == SIZES
    mixed = [photos[8], photos[0], photos[8], photos[3]]
    for request in REQUESTS:
        stored = bank.features_BCHW([photo.id for photo in mixed], [request] * 4)
        assert stored.dtype == torch.float32
        for features_CHW, photo in zip(stored, mixed, strict=True):
            expected = naive_CHW(plain, photo, request)
            assert torch.allclose(features_CHW, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
    unflipped, flipped = bank.features_BCHW(["p1", "p1"], [FeatureRequest(), FeatureRequest(flip=True)])
    assert torch.equal(unflipped, bank.features_BCHW(["p1"], [FeatureRequest()])[0])
    assert torch.equal(flipped, bank.features_BCHW(["p1"], [FeatureRequest(flip=True)])[0])


def test_a_displaced_level_is_stored_at_its_place(
    plain: Backbone, photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each scale by its own offset; a level without one bit by bit as the network gives it."""
    asked: list[int] = []

    def known(network: Backbone, side: int) -> tuple[float, float]:
        asked.append(side)
        return (0.0, {64: 0.25, 96: -0.5}[side])

    monkeypatch.setattr("methods.features.offsets", known)
    requests = (FeatureRequest(level=1), FeatureRequest(), FeatureRequest(1.5))
    found = compute(FrozenBackbone(plain), photos[:1], requests).features
    assert sorted(asked) == [64, 96]
    monkeypatch.setattr("methods.features.offsets", lambda _, side: (0.0, 0.0))
    unmoved = compute(FrozenBackbone(plain), photos[:1], requests).features
    assert torch.equal(found[requests[0]], unmoved[requests[0]])
    for request, offset in zip(requests[1:], (0.25, -0.5), strict=True):
        before, after = unmoved[request].float(), found[request].float()
        assert torch.allclose(after, sampled(before, -offset), atol=2e-3 * float(before.abs().max()))
        assert not torch.allclose(after, before, atol=1e-2 * float(before.abs().max()))


def test_flipped_features_are_those_of_the_mirrored_photo(backbone: FrozenBackbone, photos: list[Photo]) -> None:
    mirrored = [replace(p, load=lambda p=p: np.ascontiguousarray(p.image()[:, ::-1])) for p in photos]
    for level in (1, 4):
        one, other = FeatureRequest(flip=True, level=level), FeatureRequest(level=level)
        both = (FeatureRequest(level=1), FeatureRequest(level=4), one)
        flipped = compute(backbone, photos, both).features[one].float()
        plain = compute(backbone, mirrored, both).features[other].float()
        assert torch.allclose(flipped, plain, atol=0.01 * float(plain.abs().max()))
        unflipped = compute(backbone, photos, both).features[other].float()
        assert not torch.allclose(flipped, unflipped, atol=0.1 * float(plain.abs().max()))


def test_photos_are_decoded_once_whatever_is_asked(backbone: FrozenBackbone, photos: list[Photo]) -> None:
    loads: list[str] = []
    done: list[int] = []

    def counted(photo: Photo) -> Photo:
        return replace(photo, load=lambda: (loads.append(photo.id), photo.image())[1])

    computed = compute(backbone, list(map(counted, photos)), REQUESTS, progress=done.append)
    assert loads == [photo.id for photo in photos]
    assert done == [*range(BATCH, len(photos), BATCH), len(photos)]
    assert set(computed.features) == set(REQUESTS)
    assert computed.shard.ids == tuple(loads)
    assert {f.shape[0] for f in computed.features.values()} == {len(photos)}


def test_what_was_not_declared_is_a_key_error(backbone: FrozenBackbone, photos: list[Photo], tmp_path: Path) -> None:
    request = FeatureRequest(level=1)
    computed = compute(backbone, photos[:1], (request, FeatureRequest()))
    write_shard(tmp_path / "s.safetensors", request, computed.shard, computed.features[request])
    bank = StoredFeatures([tmp_path / "s.safetensors"])
    for photo_id, wanted in (("p0", FeatureRequest(flip=True, level=1)), ("p1", request)):
        with pytest.raises(KeyError):
            bank.features_BCHW([photo_id], [wanted])


@pytest.mark.parametrize(("items", "sizes"), [(0, []), (1, [1]), (3, [3]), (7, [3, 3, 1])])
def test_batches(items: int, sizes: list[int]) -> None:
    slices = list(batches(range(items), 3))
    assert [len(part) for part in slices] == sizes
    assert [item for part in slices for item in part] == list(range(items))
