"""Whole ways from a photo to its maps, at the photo's own size, against the released programs' formulas written out.

Weights are random and seeded, and sizes are whole cells at every scale: docs/presets.md tells what differs otherwise.
Photos are resized as everywhere here, by Pillow's bilinear filter.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch.nn.functional import avg_pool2d, conv2d, elu, group_norm, interpolate, pad

from methods.base import BackboneOptions, LocalizationMaps, Surroundings
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.seam import Seam, SeamOptions
from methods.networks import backbones
from methods.networks.affinity_net import AffinityHead, BoundaryHead
from methods.networks.backbones import build
from methods.networks.heads import ClassMaps
from methods.networks.resnet38 import ResNet38
from methods.networks.seam import PixelCorrelation
from methods.networks.seam import Seam as SeamNetwork
from methods.refiners.affinity import Affinity, AffinityOptions
from methods.refiners.irn import Irn, IrnOptions
from methods.training import named_tensors
from settings.images import resize
from settings.records import LabelSpace, Photo
from tests.golden.make_released import released_weights

THINNESS, CLASSES = 32, 4
RESNET38 = BackboneOptions(name="resnet38", weights="random", output_stride=8, size=64)
RESNET50 = BackboneOptions(name="resnet50_irn", weights="random", output_stride=16, size=64)
SPACE = LabelSpace(tuple(f"class{k}" for k in range(CLASSES)))
SCALES = (1.0, 0.5, 1.5, 2.0)
LABELS = (0, 2)


@pytest.fixture(autouse=True)
def _as_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet-38 of a 32nd of its widths, a ResNet-50 with one block a stage."""
    monkeypatch.setitem(backbones.OWN_NETWORKS, "resnet38", lambda *of: ResNet38(*of, THINNESS))
    monkeypatch.setattr("timm.create_model", lambda _: ResNet(Bottleneck, (1, 1, 1, 1)))


def a_photo(height: int, width: int) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    image = resize(pixels, height, width)
    return Photo("p", LABELS, "content of p", lambda: image)


def network_of(options: BackboneOptions, levels: Sequence[int]) -> backbones.Backbone:
    network = build(options, levels).eval()
    network.body.load_state_dict(released_weights(network.body.state_dict()))
    return network


def weights_of(backbone: backbones.Backbone, **parts: torch.nn.Module) -> dict[str, torch.Tensor]:
    return named_tensors(backbone=backbone.body, **parts)


def passes(photo: Photo, scales: Sequence[float]) -> Iterator[tuple[np.ndarray, bool]]:
    """The photo at each scale, as it is and mirrored."""
    image = photo.image()
    for scale, flip in itertools.product(scales, (False, True)):
        copy = resize(image, round(image.shape[0] * scale), round(image.shape[1] * scale))
        yield (copy[:, ::-1] if flip else copy), flip


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= tolerance
    assert float(expected.std()) > 0.02


@torch.no_grad()
@pytest.mark.parametrize("options", [RESNET38, RESNET50], ids=["psa", "irn"])
def test_cam_at_four_scales(options: BackboneOptions) -> None:
    """`infer_cls.py` and `step/make_cam.py`: ReLU of each pass, resized to the photo, summed, / (maximum + 1e-5)."""
    photo, network = a_photo(64, 96), network_of(options, (4,))
    torch.manual_seed(1)
    head = ClassMaps(network.channels[-1], CLASSES, 0, bias=False)
    part = Cam(CamOptions(hidden=0, bias=False, scales=SCALES, aspect="kept"))
    (record,) = part.apply([photo], Surroundings(SPACE, options, weights_of(network, head=head)))
    total = torch.zeros(CLASSES, 64, 96)
    for copy, flip in passes(photo, SCALES):
        (features,) = network(network.to_input(np.array(copy[None])))
        cam = conv2d(features, head.classifier.weight).relu()
        large = interpolate(cam, (64, 96), mode="bilinear", align_corners=False)[0]
        total += large.flip(2) if flip else large
    expected = total[list(LABELS)] / (total[list(LABELS)].amax((1, 2), keepdim=True) + 1e-5)
    close(record.maps_CHW, expected.numpy(), 1e-4)


@torch.no_grad()
def test_seam_at_four_scales() -> None:
    """`resnet38_SEAM.py` and `infer_SEAM.py`, each pass resized from its grid to the photo, colours in [−1, 1]."""
    photo, network = a_photo(64, 96), network_of(RESNET38, (2, 3, 4))
    torch.manual_seed(2)
    head = ClassMaps(network.channels[-1], CLASSES, 0, bias=False)
    correlation = PixelCorrelation(network.channels[:2])
    part = Seam(SeamOptions(hidden=0, bias=False, correlation_levels=(2, 3), scales=SCALES, aspect="kept"))
    weights = weights_of(network, network=SeamNetwork(head, correlation))
    (record,) = part.apply([photo], Surroundings(SPACE, RESNET38, weights))
    low, high = (layer.weight for layer in correlation.projections)
    total = torch.zeros(CLASSES, 64, 96)
    for copy, flip in passes(photo, SCALES):
        conv4, conv5, conv6 = network(network.to_input(np.array(copy[None])))
        cam = conv2d(conv6, head.classifier.weight).relu()
        cam = (cam - 1e-5).relu() / (cam.amax((2, 3), keepdim=True) + 1e-5)
        strongest = cam.amax(1, keepdim=True)
        cam[cam < strongest] = 0
        grid = conv6.shape[2:]
        colours = torch.from_numpy(resize(np.ascontiguousarray(copy), *grid).copy()).permute(2, 0, 1)[None]
        compared = [colours.float() / 127.5 - 1, conv2d(conv4, low).relu(), conv2d(conv5, high).relu()]
        f = conv2d(torch.cat(compared, 1), correlation.mixing.weight).flatten(2)
        f = f / (f.norm(dim=1, keepdim=True) + 1e-5)
        affinity = (f.transpose(1, 2) @ f).relu()
        affinity = affinity / (affinity.sum(1, keepdim=True) + 1e-5)
        refined = (cam.flatten(2) @ affinity).view(cam.shape)
        large = interpolate(refined, (64, 96), mode="bilinear", align_corners=False)[0]
        total += large.flip(2) if flip else large
    summed = total[list(LABELS)].numpy()
    least, most = summed.min((1, 2), keepdims=True), summed.max((1, 2), keepdims=True)
    summed[summed < least + 1e-5] = 0
    close(record.maps_CHW, ((summed - least - 1e-5) / (most - least + 1e-5)).clip(0), 1e-4)


def half_plane(radius: int) -> list[tuple[int, int]]:
    """The released programs' offsets (dy, dx)."""
    along = [(0, x) for x in range(1, radius)]
    below = itertools.product(range(1, radius), range(1 - radius, radius))
    return along + [(y, x) for y, x in below if x * x + y * y < radius * radius]


def dense_walk(
    maps: np.ndarray, alike: Callable[[int, int, int, int], float], size: tuple[int, int], beta: float, steps: int
) -> np.ndarray:
    """`infer_aff.py` and `indexing.py`: the dense matrix of pairs, their power, divided by columns, squared."""
    height, width = size
    affinity = np.eye(height * width)
    for y in range(height - 4):
        for x in range(4, width - 4):
            for dy, dx in half_plane(5):
                one, other = y * width + x, (y + dy) * width + x + dx
                affinity[one, other] = affinity[other, one] = alike(y, x, dy, dx)
    transition = affinity**beta
    transition /= transition.sum(0, keepdims=True)
    for _ in range(steps):
        transition = transition @ transition
    walked: np.ndarray = (maps.reshape(len(maps), -1) @ transition).reshape(maps.shape)
    return walked


def known_maps(height: int, width: int) -> Callable[[str], LocalizationMaps]:
    small = torch.rand(1, len(LABELS), 6, 8, generator=torch.Generator().manual_seed(5)) ** 2
    large = interpolate(small, (height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1).numpy()
    record = LocalizationMaps("p", LABELS, large, (height, width))
    return lambda photo_id: record


@torch.no_grad()
def test_affinity_net_walks_as_the_released_one() -> None:
    """`infer_aff.py`: padded to whole cells, background (1 − maximum)^16 walked along, upsampled, cut."""
    height, width = 70, 100
    photo, network, maps = a_photo(height, width), network_of(RESNET38, (2, 3, 4)), known_maps(height, width)
    torch.manual_seed(3)
    head = AffinityHead(network.channels, (8, 8, 16), norm=False)
    part = Affinity(AffinityOptions(group_norm=False, inputs={"crop": 64}, log2_steps=3))
    (record,) = part.apply([photo], maps, Surroundings(SPACE, RESNET38, weights_of(network, head=head)))
    image = pad(network.to_input(photo.image()[None].copy()), (0, 4, 0, 2))
    levels = network(image)
    parts = [elu(conv2d(level, layer[0].weight)) for level, layer in zip(levels, head.projections, strict=True)]
    x = elu(conv2d(torch.cat(parts, 1), head.mixing.weight))[0].double().numpy()
    own = maps("p").maps_CHW
    scores = np.concatenate([(1 - own.max(0, keepdims=True)) ** 16, own])
    scores = avg_pool2d(torch.from_numpy(np.pad(scores, ((0, 0), (0, 2), (0, 4)))), 8, 8).numpy()

    def alike(y: int, x_: int, dy: int, dx: int) -> float:
        return float(np.exp(-np.abs(x[:, y, x_] - x[:, y + dy, x_ + dx]).mean()))

    walked = torch.from_numpy(dense_walk(scores, alike, (9, 13), 8, 3))[None]
    large = interpolate(walked, scale_factor=8, mode="bilinear", align_corners=False)[0, :, :height, :width].numpy()
    assert record.background_HW is not None
    close(np.concatenate([record.background_HW[None], record.maps_CHW]), large / large.max(), 1e-4)


@torch.no_grad()
def test_irn_walks_as_the_released_one() -> None:
    """`resnet50_irn.py`, `indexing.py`, `make_sem_seg_labels.py`: an edge of 1 all around, radius 5, stride 4.

    Maps are averaged over cells, as everywhere here.
    """
    height, width = 48, 64
    photo, network, maps = a_photo(height, width), network_of(RESNET50, (0, 1, 2, 3, 4)), known_maps(height, width)
    torch.manual_seed(4)
    head = BoundaryHead(network.channels)
    part = Irn(IrnOptions(levels=(0, 1, 2, 3, 4), inputs={"crop": 64}, log2_steps=3))
    (record,) = part.apply([photo], maps, Surroundings(SPACE, RESNET50, weights_of(network, head=head)))
    grid, state = (height // 4, width // 4), head.state_dict()
    logits = []
    for image in (photo.image(), photo.image()[:, ::-1]):
        levels = network(network.to_input(np.array(image[None])))
        edges = []
        for k, level in enumerate(levels):
            edge = conv2d(level, state[f"projections.{k}.0.weight"])
            edge = group_norm(edge, 4, state[f"projections.{k}.1.weight"], state[f"projections.{k}.1.bias"])
            factor = levels[0].shape[2] // level.shape[2]
            if factor > 1:
                edge = interpolate(edge, scale_factor=factor, mode="bilinear", align_corners=False)
            edges.append(edge.relu())
        logits.append(conv2d(torch.cat(edges, 1), state["classifier.weight"], state["classifier.bias"]))
    plain, mirrored = (one[0, 0, : grid[0], : grid[1]] for one in logits)
    edge = torch.sigmoid(plain / 2 + mirrored.flip(-1) / 2).double()
    padded = pad(edge, (5, 5, 0, 5), value=1.0).numpy()

    def alike(y: int, x: int, dy: int, dx: int) -> float:
        columns = range(min(0, dx), max(0, dx) + 1)
        way = [(j, i) for j in range(dy + 1) for i in columns if (dy * i - dx * j) ** 2 / (dy**2 + dx**2) < 1]
        return float(1 - max(padded[y + j, x + i] for j, i in way))

    cam = avg_pool2d(torch.from_numpy(maps("p").maps_CHW), 4)
    inside = pad(cam.double() * (1 - edge), (5, 5, 0, 5)).numpy()
    walked = dense_walk(inside, alike, padded.shape, 10, 3)[:, : grid[0], 5:-5]
    large = interpolate(torch.from_numpy(walked)[None], scale_factor=4, mode="bilinear", align_corners=False)
    expected = large[0].numpy()
    close(record.maps_CHW, expected / expected.max(), 1e-4)
