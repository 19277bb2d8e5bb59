"""Photos at their own size and aspect, held against the plain loop: resize, pad, forward, enlarge, crop, one by one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, pad

from methods.base import BackboneOptions, Surroundings
from methods.colours import Colours
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.localizers.seam import Seam, SeamOptions
from methods.networks.backbones import Backbone, build
from methods.networks.coattention import five_map_mean
from methods.networks.deeplab import DeepLabHead
from methods.networks.heads import ClassMaps
from methods.networks.offsets import moved, offsets
from methods.networks.pair_classifier import PairClassifier, Structure
from methods.networks.seam import PixelCorrelation, stretched
from methods.networks.seam import Seam as SeamNetwork
from methods.pairs import References
from methods.segmenters.deeplab import DeepLab, DeepLabOptions
from methods.training import named_tensors
from methods.whole_photos import WholePhotos
from settings.images import resize
from settings.records import Image, Photo, WeakSet
from tests.methods.conftest import SPACE, Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64)
SCALES = (0.5, 1.0, 1.5, 2.0)
LABELS = (0, 2)


@pytest.fixture(scope="module")
def image() -> Image:
    """Neither side a whole number of cells of 16 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return resize(noise, 50, 71)


@pytest.fixture(scope="module")
def head() -> ClassMaps:
    torch.manual_seed(1)
    return ClassMaps(64, 3, 0).eval()


@pytest.fixture(scope="module")
def tuned() -> Backbone:
    """A backbone whose weights are not those that it began with."""
    backbone = build(SMALL, (3, 4)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1.1)
    return backbone


def given(tuned: Backbone, **heads: torch.nn.Module) -> Surroundings:
    return Noted(backbone=SMALL, weights=named_tensors(backbone=tuned.body, **heads))


def features(tuned: Backbone, image: Image) -> tuple[list[torch.Tensor], Image]:
    """Of one image padded to whole cells, each level moved to its place; and the image padded by its edges."""
    height, width = image.shape[:2]
    down, right = -height % 16, -width % 16
    with torch.inference_mode():
        levels = tuned(pad(tuned.to_input(np.stack([image])), (0, right, 0, down)))
    placed = [moved(level, offset) for level, offset in zip(levels, offsets(tuned, 0), strict=True)]
    return placed, np.pad(image, ((0, down), (0, right), (0, 0)), mode="edge")


def at_photo(maps_HW: np.ndarray, shown: tuple[int, int], size: tuple[int, int], stride: int) -> np.ndarray:
    """Linear interpolation first down, then across: pixel centres of the photo among centres of cells."""
    for axis in (0, 1):
        places = (np.arange(size[axis]) + 0.5) * shown[axis] / size[axis]
        centres = (np.arange(maps_HW.shape[axis]) + 0.5) * stride
        lines = [np.interp(places, centres, line) for line in np.moveaxis(maps_HW, axis, 1)]
        maps_HW = np.moveaxis(np.stack(lines), 1, axis)
    return maps_HW


def naive_total(
    image: Image, scales: Sequence[float], maps_of: Callable[[Image], torch.Tensor], labels: Sequence[int] = LABELS
) -> np.ndarray:
    """The sum over scales and mirrorings, one at a time, of maps (K, h, w) at stride 16."""
    size = image.shape[:2]
    total = np.zeros((len(labels), *size))
    for scale in scales:
        shown = (round(size[0] * scale), round(size[1] * scale))
        copy = image if scale == 1 else resize(image, *shown)
        for mirrored in (False, True):
            maps_KHW = maps_of(np.ascontiguousarray(copy[:, ::-1]) if mirrored else copy)
            for index, label in enumerate(labels):
                map_HW = at_photo(maps_KHW[label].double().numpy(), shown, size, 16)
                total[index] += map_HW[:, ::-1] if mirrored else map_HW
    return total


def test_cam_maps_are_those_of_the_plain_loop(
    image: Image, head: ClassMaps, tuned: Backbone, photo: Callable[..., Photo]
) -> None:
    """At the photo's own size, divided by their maxima; a photo is read once for all passes."""
    loads: list[str] = []
    photos = [replace(photo("p", LABELS), load=lambda: (loads.append("p"), image)[1]), photo("none", (), image[:40])]
    cam = Cam(CamOptions(aspect="kept", scales=SCALES))
    first, second = cam.apply(photos, given(tuned, head=head))
    with torch.inference_mode():
        total = naive_total(image, SCALES, lambda copy: head(features(tuned, copy)[0][-1])[0].relu())
    expected = total / total.max((1, 2), keepdims=True)
    assert (first.image_size, first.class_ids, first.maps_CHW.shape) == ((50, 71), LABELS, (2, 50, 71))
    assert np.allclose(first.maps_CHW, expected, atol=2e-4)
    assert expected.std() > 0.01
    assert loads == ["p"]
    assert second.maps_CHW.shape == (0, 40, 71)


def test_seam_maps_are_those_of_the_plain_loop(
    image: Image, head: ClassMaps, tuned: Backbone, photo: Callable[..., Photo]
) -> None:
    torch.manual_seed(2)
    network = SeamNetwork(head, PixelCorrelation(tuned.channels)).eval()
    seam = Seam(SeamOptions(aspect="kept", scales=(1.0, 1.5)))
    ours = photo("p", LABELS, image)
    (record,) = seam.apply([ours], given(tuned, network=network))

    def refined(copy: Image) -> torch.Tensor:
        levels, padded = features(tuned, copy)
        colours = Colours([photo("copy", (), padded)], "cpu")
        (image_B3HW,) = colours(np.zeros(1, np.int64), np.zeros(1, np.bool_), [tuple(levels[-1].shape[2:])])
        return network(levels, image_B3HW).refined_BCHW[0, 1:]

    with torch.inference_mode():
        total = torch.from_numpy(naive_total(image, (1.0, 1.5), refined))
    assert np.allclose(record.maps_CHW, stretched(total[None])[0].numpy(), atol=2e-4)
    shown = seam.views(ours, given(tuned, network=network))
    assert np.array_equal(shown["refined"].maps_CHW, record.maps_CHW)
    own = Cam(CamOptions(aspect="kept", scales=(1.0, 1.5)))
    (expected,) = own.apply([ours], given(tuned, head=head))
    assert np.array_equal(shown["cam"].maps_CHW, expected.maps_CHW)


def naive_common(ours: torch.Tensor, other: torch.Tensor, network: PairClassifier) -> list[torch.Tensor]:
    """Class 0's raw common maps of two photos whose features are (1, C, h, w) each, by the formulas."""
    m, n = (features_1CHW[0].double().flatten(1) for features_1CHW in (ours, other))
    affinity = (network.head.affinity.weight.double() @ m).T @ n
    head = network.head.common_head.weight[0, :, 0, 0].double()
    of_m, of_n = head @ n @ affinity.softmax(1).T, head @ m @ affinity.softmax(0)
    return [of_m.reshape(ours.shape[2:]), of_n.reshape(other.shape[2:])]


def test_coattention_maps_are_those_of_the_plain_loop(
    image: Image, tuned: Backbone, photo: Callable[..., Photo]
) -> None:
    """Beside the mirror image and a half copy of the padded photo, and beside references of other sizes."""
    torch.manual_seed(5)
    network = PairClassifier(64, 3, Structure(0, 1, "none", True, True)).eval()
    network.head.affinity.weight.data.mul_(100)
    images = {"p": image, "q": image[:33, 20:], "r": image[10:, :30]}
    photos = [photo(name, (0,), picture) for name, picture in images.items()]
    surroundings = replace(given(tuned, network=network), weak=WeakSet(tuple(photos), SPACE))
    drawn = References(surroundings.weak, 0, 3).of("p", 0)
    assert len(set(drawn)) > 1, "of several sizes"

    def placed(input_BCHW: torch.Tensor) -> torch.Tensor:
        return moved(tuned(input_BCHW)[-1], offsets(tuned, 0)[-1])

    with torch.inference_mode():
        input_BCHW = pad(tuned.to_input(np.stack([image])), (0, 9, 0, 14))
        plain, mirrored = placed(input_BCHW), placed(input_BCHW.flip(3))
        # 4 × 5 cells: of the half, 2 × 2.5, which Python rounds to 2.
        half = placed(interpolate(input_BCHW, (32, 32), mode="bilinear", align_corners=False, antialias=True))
        beside = [features(tuned, images[name])[0][-1] for name in drawn]
        pair = naive_common(plain, mirrored, network)
        copy_HW = naive_common(plain, half, network)[1]
        copy_HW = interpolate(copy_HW[None, None], plain.shape[2:], mode="bicubic", align_corners=False)[0, 0]
        references_HW = torch.stack([naive_common(plain, other, network)[0] for other in beside]).mean(0)
        fused_HW = five_map_mean(torch.stack([pair[0], pair[1].flip(1), copy_HW, references_HW]).numpy()) / 255.0
        keys = [(network.head.affinity.weight @ plain[0].flatten(1)).T @ other[0].flatten(1) for other in beside]
        sums_HW = torch.stack([key.logsumexp(1) for key in keys]).mean(0).reshape(4, 5)
    affinity_HW = ((sums_HW - sums_HW.min()) / (sums_HW.max() - sums_HW.min())).numpy()
    for inference, expected_HW, within in (("common", fused_HW, 1.5 / 255), ("affinity", affinity_HW, 1e-4)):
        options = CoAttentionOptions(aspect="kept", hidden=0, norm="none", scaled_pairs=(0.5,), inference=inference)
        (record,) = CoAttention(options).apply(photos[:1], surroundings)
        grid_BCHW = torch.from_numpy(expected_HW)[None, None].double()
        large = interpolate(grid_BCHW, (64, 80), mode="bicubic", align_corners=False)[0, :, :50, :71].clamp(0, 1)
        assert (record.image_size, record.maps_CHW.shape) == ((50, 71), (1, 50, 71))
        assert np.abs(record.maps_CHW - large.numpy()).max() < within
        assert record.maps_CHW.std() > 0.05
    views = ("basic", "own", "mirrored pair", "mirror image", "references")
    shown = CoAttention(options).views(photos[1], surroundings)
    assert {name: record.maps_CHW.shape for name, record in shown.items()} == dict.fromkeys(views, (1, 33, 51))


def test_maps_of_a_mirrored_photo_are_the_mirrored_maps(
    image: Image, head: ClassMaps, tuned: Backbone, photo: Callable[..., Photo]
) -> None:
    """Though both are padded on their right: flips are undone where the photo lies, not where its padding does."""
    photos = [photo("p", (1,), image), photo("q", (1,), np.ascontiguousarray(image[:, ::-1]))]
    plain, mirrored = Cam(CamOptions(aspect="kept", scales=(0.7, 1.0))).apply(photos, given(tuned, head=head))
    assert np.allclose(plain.maps_CHW, mirrored.maps_CHW[:, :, ::-1], atol=1e-5)
    assert not np.allclose(plain.maps_CHW, plain.maps_CHW[:, :, ::-1], atol=1e-2)


def test_whole_cells_are_enlarged_as_torch_does(tuned: Backbone, photo: Callable[..., Photo]) -> None:
    """Of a photo that needs no padding, at its own size: plain bilinear enlargement, as in the released programs."""
    picture = photo("p", (0,), np.random.default_rng(3).integers(0, 256, (48, 80, 3)).astype(np.uint8))
    maps_BKHW = torch.rand(2, 2, 3, 5)
    found = WholePhotos(given(tuned), (3, 4)).at_photo(picture, (1.0,), True, lambda one: maps_BKHW)
    expected = interpolate(maps_BKHW, (48, 80), mode="bilinear", align_corners=False)
    assert torch.allclose(found[0], expected[0], atol=1e-6)
    assert torch.allclose(found[1], expected[1].flip(2), atol=1e-6)


def test_padding_is_cropped_away(tuned: Backbone, image: Image, photo: Callable[..., Photo]) -> None:
    """At scale 1 the enlarged map of the padded photo, less what was padded, up to the last cell's centre."""
    maps_BKHW = torch.rand(1, 1, 4, 5)
    whole, ours = WholePhotos(given(tuned), (3, 4)), photo("p", (0,), image)
    (found,) = whole.at_photo(ours, (1.0,), False, lambda one: maps_BKHW)
    expected = interpolate(maps_BKHW, (64, 80), mode="bilinear", align_corners=False)[0, :, :50, :71]
    assert torch.allclose(found, expected, atol=1e-6)
    seen: list[Any] = []
    whole.at_photo(ours, (0.5,), True, lambda one: (seen.append(one), maps_BKHW)[1])
    (one,) = seen
    assert (one.shown, one.size) == ((25, 36), (32, 48))
    assert [tuple(level.shape) for level in one.levels] == [(2, 48, 2, 3), (2, 64, 2, 3)]


def test_less_memory_gives_the_same_maps(
    image: Image, head: ClassMaps, tuned: Backbone, photo: Callable[..., Photo]
) -> None:
    surroundings = given(tuned, head=head)
    cam = Cam(CamOptions(aspect="kept"))
    (both,) = cam.apply([photo("p", (0,), image)], surroundings)
    (one_by_one,) = cam.apply([photo("p", (0,), image)], replace(surroundings, halvings=1))
    assert np.allclose(both.maps_CHW, one_by_one.maps_CHW, atol=1e-5)


def test_deeplab_segments_photos_of_their_own_size(image: Image, photo: Callable[..., Photo]) -> None:
    """The mean of two passes' probabilities, against the plain loop."""
    backbone = build(SMALL, (1, 4)).eval()
    torch.manual_seed(4)
    low, high = backbone.channels
    head = DeepLabHead(low, high, 3, 8, (3, 6, 9), False).eval()
    with torch.no_grad():
        # No class is ahead by its bias.
        head.classifier.bias -= head(*features(backbone, image)[0]).mean((0, 2, 3))
    options = DeepLabOptions.model_validate({"aspect": "kept", "width": 8, "inference": {"scales": (1.0, 1.5)}})
    (mask_HW,) = DeepLab(options).apply([photo("p", (), image)], given(backbone, head=head))
    total = np.zeros((3, 50, 71))
    with torch.inference_mode():
        for scale in (1.0, 1.5):
            shown = (round(50 * scale), round(71 * scale))
            (low_BCHW, high_BCHW), _ = features(backbone, image if scale == 1 else resize(image, *shown))
            logits_CHW = head(low_BCHW, high_BCHW)[0].double().numpy()
            enlarged = np.stack([at_photo(logits_HW, shown, (50, 71), 4) for logits_HW in logits_CHW])
            total += np.exp(enlarged) / np.exp(enlarged).sum(0)
    assert mask_HW.shape == (50, 71)
    assert (mask_HW == total.argmax(0)).mean() > 0.999
    assert len(np.unique(mask_HW)) > 1, "not one class everywhere"


def test_a_photo_is_kept_until_the_next(tuned: Backbone, image: Image, photo: Callable[..., Photo]) -> None:
    whole = WholePhotos(given(tuned), (3, 4))
    assert whole.size(photo("p", (), image)) == (50, 71)
    assert whole.size(photo("q", (), image[:30])) == (30, 71)
    assert whole.record(photo("p", (1,), image), torch.zeros(1, 50, 71)).image_size == (50, 71)
