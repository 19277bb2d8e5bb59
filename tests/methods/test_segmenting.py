"""How trained networks are run: names of variants, the vote of several passes, the CRF, and what is refused."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, FeatureRequest
from methods.segmenters.all_background import AllBackgroundSegmenter
from methods.segmenters.deeplab import DeepLab, DeepLabOptions
from methods.segmenting import CrfKernels, Inference, argmax_at, mask_of, mean_probabilities, variant_of, variants_of
from settings.errors import UserError
from settings.options import Options
from settings.records import Photo

BACKBONE = BackboneOptions(size=96)
PAPER = {
    "gaussian_sxy": 3,
    "gaussian_compat": 1,
    "bilateral_sxy": 80,
    "bilateral_srgb": 4,
    "bilateral_compat": 3,
    "iterations": 1,
}
"""MCIS's (Sun et al., ECCV 2020)."""


def logits_of(*shapes: tuple[int, int], classes: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(classes, *shape, generator=generator) for shape in shapes]


def naive_upsampled(map_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear between the centres of cells, which repeat beyond the outermost."""
    large = np.empty((height, width))
    rows, columns = map_HW.shape
    for y in range(height):
        for x in range(width):
            at_y = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            at_x = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = int(at_y), int(at_x)
            below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = map_HW[top, left] * (1 - at_x + left) + map_HW[top, right] * (at_x - left)
            lower = map_HW[below, left] * (1 - at_x + left) + map_HW[below, right] * (at_x - left)
            large[y, x] = upper * (1 - at_y + top) + lower * (at_y - top)
    return large


def naive_probabilities(passes: list[torch.Tensor], height: int, width: int) -> np.ndarray:
    total = 0
    for logits_CHW in passes:
        raised = np.exp([naive_upsampled(map_HW, height, width) for map_HW in logits_CHW.double().numpy()])
        total = total + raised / raised.sum(0)
    return total / len(passes)


@pytest.mark.parametrize(
    ("options", "name", "passes"),
    [
        ({}, "ss", [(1, False)]),
        ({"flip": True}, "ss+flip", [(1, False), (1, True)]),
        ({"crf": True}, "ss+crf", [(1, False)]),
        ({"scales": (0.5,)}, "ms", [(0.5, False)]),
        ({"scales": (1, 2)}, "ms", [(1, False), (2, False)]),
        (
            {"scales": (0.75, 1), "flip": True, "crf": True},
            "ms+flip+crf",
            [(0.75, False), (0.75, True), (1, False), (1, True)],
        ),
    ],
)
def test_names_and_passes(options: dict[str, Any], name: str, passes: list[tuple[float, bool]]) -> None:
    inference = Inference(**options)
    assert inference.variant == name
    assert list(inference.passes) == passes
    requests = DeepLab(DeepLabOptions(inference=inference)).apply_features()
    assert set(requests) == {FeatureRequest(scale, flip, level) for scale, flip in passes for level in (1, 4)}


@pytest.mark.parametrize("scales", [(), (0,), (-1,), (4.5,), (1, 1), tuple(range(1, 10))])
def test_scales_that_are_none(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales"):
        Inference(scales=scales)


def test_passes_vote_by_the_mean_of_their_probabilities(photo: Callable[..., Photo]) -> None:
    passes = logits_of((3, 4), (5, 2), (6, 7))
    expected = naive_probabilities(passes, 12, 9)
    found = mean_probabilities(passes, (12, 9)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
    mask = mask_of(passes, (12, 9), Inference(scales=(0.5, 1, 2)), photo("p"))
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected.argmax(0))
    each = [argmax_at(one, (12, 9)) for one in passes]
    assert not any(np.array_equal(mask, one) for one in each)


def test_one_pass_is_the_largest_logit(photo: Callable[..., Photo]) -> None:
    """Even where the probabilities of two are the same numbers."""
    logits = torch.tensor([0.0, 1e-8, -100.0])[:, None, None].expand(3, 2, 2)
    assert torch.equal(logits.softmax(0)[0], logits.softmax(0)[1])
    assert (mask_of([logits], (4, 4), Inference(), photo("p")) == 1).all()


@pytest.mark.parametrize("passes", [1, 2])
def test_the_crf_gets_the_mean_and_the_photo(passes: int, photo: Callable[..., Photo]) -> None:
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed (extra crf)")
    from methods.dense_crf import dense_crf

    image = np.zeros((24, 20, 3), np.uint8)
    image[:, 9:] = 200
    logits = [one * 0.2 for one in logits_of((4, 5), (6, 5), classes=2)[:passes]]
    expected = dense_crf(image, naive_probabilities(logits, 24, 20).astype(np.float32), 1, 3, 67, 3, 4, 10).argmax(0)
    mask = mask_of(logits, (24, 20), Inference(scales=(1, 2)[:passes], crf=True), photo("p", (), image))
    assert mask.dtype == np.uint8
    assert (mask == expected).mean() > 0.99
    assert (mask != mean_probabilities(logits, (24, 20)).argmax(0).numpy()).mean() > 0.05
    assert list(CrfKernels().model_dump().values()) == [1, 3, 67, 3, 4, 10]


def test_a_crf_may_have_kernels_of_its_own(photo: Callable[..., Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to the CRF, in whose place stands one that turns the classes round."""
    given: list[dict[str, float]] = []

    def turned(image: np.ndarray, probabilities_CHW: np.ndarray, **kernels: float) -> np.ndarray:
        given.append(kernels)
        return probabilities_CHW[::-1]

    monkeypatch.setattr("methods.segmenting.dense_crf", turned)
    monkeypatch.setattr("methods.segmenting.require_dense_crf", lambda *_: None)
    changes = [Inference.model_validate({"crf": PAPER}), Inference()]
    own, plain = variants_of(DeepLab(DeepLabOptions()), changes, BackboneOptions(size=64), "cam")
    assert [variant_of(own), variant_of(plain)] == ["ss+crf", "ss"]
    (logits,) = logits_of((4, 5), classes=2)
    mask = mask_of([logits], (24, 20), own.options.inference, photo("p"))
    assert np.array_equal(mask, 1 - argmax_at(logits, (24, 20)))
    mask_of([logits], (24, 20), Inference(crf=True), photo("p"))
    assert given == [PAPER, CrfKernels().model_dump()]
    assert DeepLabOptions.model_validate(own.options.model_dump(mode="json")) == own.options


def test_what_a_change_sets_replaces_the_segmenters_own() -> None:
    own = DeepLabOptions(inference=Inference(scales=(0.5, 1), flip=True))
    changes = [Inference(), Inference(flip=False), Inference(scales=(1,), flip=False)]
    variants = variants_of(DeepLab(own), changes, BackboneOptions(size=64), "cam")
    assert [variant_of(one) for one in variants] == ["ms+flip", "ms", "ss"]
    assert [one.options.inference.scales for one in variants] == [(0.5, 1), (0.5, 1), (1,)]
    assert all(one.options.width == own.width for one in variants)


def test_what_learns_nothing_has_no_variants() -> None:
    floor = AllBackgroundSegmenter(Options())
    assert variants_of(floor, [Inference(), Inference(flip=True)], BACKBONE, "floor") == (floor,)
    assert variant_of(floor) == "ss"


@pytest.mark.parametrize("twice", [[{}, {}], [{}, {"scales": (1,)}], [{"scales": (1, 2)}, {"scales": (1, 1.5)}]])
def test_a_variant_that_comes_twice_is_refused(twice: list[dict[str, Any]]) -> None:
    changes = [Inference(**one) for one in twice]
    with pytest.raises(UserError, match=r"segment: found '(ss|ms)' twice \(recipe cam\); expected each variant once"):
        variants_of(DeepLab(DeepLabOptions()), changes, BackboneOptions(size=64), "cam")


@pytest.mark.parametrize(
    ("size", "scale", "side", "least", "most"), [(320, 0.05, 16, "0.1", "6.4"), (1024, 4, 4096, "0.0312", "2")]
)
def test_a_scale_of_photos_too_small_or_too_large_is_refused(
    size: int, scale: float, side: int, least: str, most: str
) -> None:
    deeplab, backbone = DeepLab(DeepLabOptions()), BackboneOptions(size=size)
    words = rf"segment: found scale {scale:g}, at which photos have a side of {side} pixels; expected 32 to 2048 pixels"
    with pytest.raises(UserError, match=rf"{words}; of {size}: a scale from {least} to {most}$"):
        variants_of(deeplab, [Inference(scales=(1, scale))], backbone, "cam")
    assert variants_of(deeplab, [Inference(scales=(1, 0.77))], backbone, "cam")


def test_a_crf_that_is_not_installed_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(UserError, match=r"^segment \(ss\+crf\): .*pip install 'seedbed\[crf\]', or leave crf out"):
        variants_of(DeepLab(DeepLabOptions()), [Inference(), Inference(crf=True)], BACKBONE, "cam")


def test_one_plain_pass_is_in_no_key() -> None:
    assert "inference" not in DeepLabOptions().model_dump(mode="json")
    options = DeepLabOptions(inference=Inference(crf=True))
    assert DeepLabOptions.model_validate(options.model_dump(mode="json")) == options
    assert "inference" not in options.model_dump(mode="json", exclude={"inference"})
