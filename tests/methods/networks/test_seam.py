"""SEAM's pixel correlation and losses: the released program's, loops over positions, and where gradients stop."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.networks.heads import ClassMaps
from methods.networks.seam import (
    Branch,
    PixelCorrelation,
    Seam,
    consistency,
    min_pooling,
    peaked,
    seam_losses,
    stretched,
    with_background,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CHANNELS, WIDTHS = (5, 6), (4, 7)


def example(grid: tuple[int, int] = (4, 3)) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Two levels of one size, and an image."""
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(2, channels, *grid, generator=generator) for channels in CHANNELS]
    return levels, torch.rand(2, 3, *grid, generator=generator) * 2 - 1


def network(hidden: int = 0) -> Seam:
    torch.manual_seed(1)
    return Seam(ClassMaps(CHANNELS[1], 3, hidden), PixelCorrelation(CHANNELS, WIDTHS))


def golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def test_the_network_is_that_of_the_released_program() -> None:
    """Its classifier has a background channel, which nothing reads, and no bias."""
    stored = golden("seam_network")
    part = Seam(ClassMaps(7, 4, 0), PixelCorrelation((6, 7), (4, 5)))
    part.head.classifier.weight.copy_(stored["fc8"][1:])
    part.head.classifier.bias.zero_()
    for layer, name in zip(
        (*part.correlation.projections, part.correlation.mixing), ("f8_3", "f8_4", "f9"), strict=True
    ):
        layer.weight.copy_(stored[name])
    found = part([stored["level_3"], stored["level_4"]], stored["image"])
    assert relative(found.raw_BKHW, stored["cam"][:, 1:]) <= 1e-5
    assert relative(found.refined_BCHW, stored["refined"]) <= 1e-5


@torch.no_grad()
def test_a_classifier_on_a_level_of_its_own_leaves_the_first_two_to_the_correlation() -> None:
    """On ResNet-38 the released module compares "conv4" and "conv5", and the classifier reads "conv6"."""
    torch.manual_seed(2)
    part, (levels, image) = Seam(ClassMaps(9, 3, 0), PixelCorrelation(CHANNELS, WIDTHS)), example()
    last = torch.randn(2, 9, 4, 3)
    found = part([*levels, last], image)
    raw = part.head(last)
    assert torch.equal(found.raw_BKHW, raw)
    assert torch.equal(found.refined_BCHW, part.correlation(levels, image, with_background(peaked(raw))))


def test_losses_are_those_of_the_released_program() -> None:
    stored = golden("seam_losses")
    assert relative(stretched(stored["cam_1"]), stored["normalised_cam"]) <= 1e-6
    large, small = (Branch(stored[f"cam_{copy}"][:, 1:], stored[f"refined_{copy}"]) for copy in (1, 2))
    losses = seam_losses(large, small, stored["labels"])
    for name, value in losses.items():
        assert float(value) == pytest.approx(float(stored[name]), rel=1e-5), name
    assert float(sum(losses.values())) == pytest.approx(float(stored["total"]), rel=1e-5)


def test_maps_are_stretched_as_the_released_program_does() -> None:
    """There, positions below the minimum's neighbourhood are a little below 0; maps here are not."""
    stored = golden("seam_inference")
    found = stretched(stored["passes"].sum(0)[None])[0]
    assert relative(found, stored["maps"].relu()) <= 1e-5
    assert float(stored["maps"].min()) < 0


def naive_refined(
    module: PixelCorrelation, levels: list[torch.Tensor], image: torch.Tensor, maps: torch.Tensor
) -> np.ndarray:
    """Position by position, in double precision."""
    low, high, mixing = (p.detach().double().numpy()[:, :, 0, 0] for p in module.parameters())
    batch, channels, height, width = maps.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    refined = np.zeros(maps.shape)
    for b in range(batch):
        features = {}
        for y, x in places:
            parts = [image[b, :, y, x].double().numpy()]
            for weight, level in ((low, levels[0]), (high, levels[1])):
                parts.append(np.maximum(weight @ level[b, :, y, x].double().numpy(), 0))
            mixed = mixing @ np.concatenate(parts)
            features[y, x] = mixed / (math.sqrt((mixed**2).sum()) + 1e-5)
        for q in places:
            alike = {p: max(0.0, float(features[p] @ features[q])) for p in places}
            for c in range(channels):
                total = sum(alike.values()) + 1e-5
                refined[(b, c, *q)] = sum(alike[p] * float(maps[(b, c, *p)]) for p in places) / total
    return refined


@torch.no_grad()
def test_refined_maps_by_loops_over_positions() -> None:
    module, (levels, image) = network().correlation, example()
    maps = torch.rand(2, 4, 4, 3, generator=torch.Generator().manual_seed(2))
    found = module(levels, image, maps)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), naive_refined(module, levels, image, maps), atol=1e-6)


@torch.no_grad()
def test_products_are_float32_under_autocast() -> None:
    """Of the mixed features as they are, which autocast makes in bfloat16 as it does any layer's."""
    module, (levels, image) = network().correlation, example()
    maps = torch.rand(2, 4, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(levels, image, maps)
        projected = [layer(level).relu() for layer, level in zip(module.projections, levels, strict=True)]
        features = module.mixing(torch.cat([image, *projected], 1)).double().flatten(2)
    features = features / features.norm(dim=1, keepdim=True)
    alike = (features.transpose(1, 2) @ features).relu()
    expected = (maps.double().flatten(2) @ (alike / alike.sum(1, keepdim=True))).reshape(maps.shape)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=3e-5, atol=0)


@torch.no_grad()
def test_columns_of_the_affinity_have_the_sum_1() -> None:
    affinity_BPQ = network().correlation.affinity(*example())
    assert affinity_BPQ.shape == (2, 12, 12)
    assert affinity_BPQ.min() == 0, "some positions are unlike"
    torch.testing.assert_close(affinity_BPQ.sum(1), torch.ones(2, 12))
    assert not torch.allclose(affinity_BPQ.sum(2), torch.ones(2, 12), atol=0.01)


@torch.no_grad()
def test_positions_share_their_maps_with_those_of_their_colour() -> None:
    """Levels of 0, and a mixing that passes colours on: red, green and blue are at right angles."""
    module = PixelCorrelation(CHANNELS, WIDTHS)
    module.mixing.weight.zero_()
    module.mixing.weight[:3, :3, 0, 0] = torch.eye(3)
    image = torch.eye(3)[:, [0, 0, 1, 1, 1, 2]].reshape(1, 3, 2, 3)
    levels = [torch.zeros(1, channels, 2, 3) for channels in CHANNELS]
    maps = torch.tensor([[[[1.0, 3.0, 0.0], [3.0, 6.0, 7.0]]]])
    expected = torch.tensor([[[[2.0, 2.0, 3.0], [3.0, 3.0, 7.0]]]])
    torch.testing.assert_close(module(levels, image, maps), expected, rtol=5e-5, atol=0)
    torch.testing.assert_close(
        module(levels, 0 * image, maps), 0 * maps, msg="nothing is like a position without features"
    )


@torch.no_grad()
def test_a_level_of_another_size_is_resized() -> None:
    """A level that is the same everywhere may have any size."""
    module, (levels, image) = network().correlation, example()
    levels[0] = levels[0][:, :, :1, :1].expand(-1, -1, 4, 3)
    maps = torch.rand(2, 4, 4, 3)
    found = module([levels[0][:, :, :2, :1], levels[1]], image, maps)
    torch.testing.assert_close(found, module(levels, image, maps))


def test_published_sizes_and_the_way_back_from_the_state() -> None:
    module = PixelCorrelation((1024, 2048))
    assert sum(p.numel() for p in module.parameters()) == 1024 * 64 + 2048 * 128 + (3 + 192) * 192
    small, (levels, image) = network().correlation, example()
    maps = torch.rand(2, 4, 4, 3)
    again = PixelCorrelation.of_state(small.state_dict())
    assert torch.equal(again(levels, image, maps), small(levels, image, maps))


def test_peaks_and_background() -> None:
    raw = torch.tensor([[[[-1.0, 2.0, 1.0, 0.0]], [[4.0, 1.0, 3.0, 0.0]], [[-1.0, -2.0, -3.0, -4.0]]]])
    normalised = peaked(raw)
    expected = torch.tensor([[[[0, 1, 0.5, 0]], [[1, 0.25, 0.75, 0]], [[0, 0, 0, 0]]]])
    torch.testing.assert_close(normalised, expected, rtol=0, atol=2e-5)
    shown = torch.tensor([[[[0, 0, 0.25, 1]], [[0, 1, 0, 0]], [[1, 0, 0.75, 0]], [[0, 0, 0, 0]]]])
    torch.testing.assert_close(with_background(normalised), shown, rtol=0, atol=2e-5)


def test_maps_are_stretched_from_their_minimum_to_their_maximum() -> None:
    """A minimum below 0 counts as 0; a flat map becomes 0."""
    raw = torch.tensor([[[[2.0, 6.0, 3.0, 2.0]], [[-4.0, 1.0, 3.0, 0.0]], [[5.0, 5.0, 5.0, 5.0]]]])
    expected = torch.tensor([[[[0, 1, 0.25, 0]], [[0, 1 / 3, 1, 0]], [[0, 0, 0, 0]]]])
    torch.testing.assert_close(stretched(raw), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_refined(labelled: bool) -> None:
    """Without labels all classes compete; with them a class that is not in the photo takes no position."""
    part, (levels, image) = network().eval(), example()
    labels_BK = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    found = part(levels, image, labels_BK if labelled else None)
    raw = part.head(levels[1]).detach()
    assert torch.equal(found.raw_BKHW, raw)
    shown = with_background(peaked(raw * labels_BK[:, :, None, None] if labelled else raw))
    expected = naive_refined(part.correlation, levels, image, shown)
    np.testing.assert_allclose(found.refined_BCHW.detach().numpy(), expected, atol=1e-6)
    assert (found.refined_BCHW[0, 2:].abs().sum() == 0) == labelled


def naive_losses(large: Branch, small: Branch, labels_BK: torch.Tensor) -> dict[str, float]:
    """By loops; the large maps have twice the sides of the small ones, so that bilinear is the mean of four."""

    def scaled(maps: np.ndarray, halve: bool, labels: np.ndarray) -> np.ndarray:
        out = []
        for channel, counts in zip(maps, labels, strict=True):
            positive = np.maximum(channel, 0)
            reach = positive.max() - positive.min()
            positive = np.maximum(positive - positive.min() - 1e-5, 0) / (reach + 1e-5)
            if halve:
                positive = sum(positive[y::2, x::2] for y in (0, 1) for x in (0, 1)) / 4
            out.append(positive * counts)
        return np.array(out)

    def one_hot(maps: np.ndarray) -> np.ndarray:
        out = np.zeros((len(maps) + 1, *maps.shape[1:]))
        for y, x in np.ndindex(maps.shape[1:]):
            best = maps[:, y, x].argmax()
            out[0, y, x], out[best + 1, y, x] = 1 - maps[best, y, x], maps[best, y, x]
        return out

    classification, equivariance, ecr, lows = [], [], [], []
    for b, labels in enumerate(labels_BK.double().numpy()):
        with_bg = np.array([1, *labels])
        raws, refined = [], []
        for branch, halve in ((large, True), (small, False)):
            raw, rv = branch.raw_BKHW[b].double().numpy(), branch.refined_BCHW[b].double().numpy()
            raws.append(scaled(raw, halve, labels))
            refined.append(scaled(rv, halve, with_bg))
            p = 1 / (1 + np.exp(-raw.mean((1, 2))))
            classification.append(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
            strongest = sorted((rv[1:] * labels[:, None, None]).max(0).flatten())
            lows.append(np.mean([max(0, value) for value in strongest[: len(strongest) // 4]]))
        equivariance.append(np.abs(raws[0] - raws[1]).mean())
        for mine, other in ((0, 1), (1, 0)):
            differences = sorted(np.abs(refined[mine] - one_hot(raws[other])).flatten(), reverse=True)
            ecr.append(np.mean(differences[: len(differences) // 5]))
    return {
        "classification": np.mean(classification),
        "equivariance": np.mean(equivariance),
        "consistency": 2 * np.mean(ecr),
        "min_pooling": np.mean(lows),
    }


def test_losses_by_loops() -> None:
    generator = torch.Generator().manual_seed(5)
    large, small = (
        Branch(torch.randn(3, 4, *grid, generator=generator), torch.rand(3, 5, *grid, generator=generator))
        for grid in ((8, 6), (4, 3))
    )
    labels_BK = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1]])
    found = seam_losses(large, small, labels_BK)
    expected = naive_losses(large, small, labels_BK)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5), name


def test_only_the_largest_fifth_and_the_lowest_quarter_count() -> None:
    """Ten entries: two count. The target is 1 in the background. Eight positions: the two lowest count, −1 as 0."""
    refined = torch.tensor([[1.0, 1, 1, 0.5, 1, 0.2, 0, 0, 0, 0]]).reshape(1, 2, 1, 5)
    assert float(consistency(refined, torch.zeros(1, 1, 1, 5), torch.ones(1, 1))) == pytest.approx((0.5 + 0.2) / 2)
    first, second = [9.0, 8, 7, 6, 5, 0.5, 0.25, 0.125], [0.0, 9, 9, 9, 9, 9, 0, 0]
    maps = torch.tensor([[first, second]]).reshape(1, 2, 2, 4)
    assert float(min_pooling(maps)) == pytest.approx((0.125 + 0.25) / 2)
    assert float(min_pooling(torch.tensor([[[[-1.0, 2, 3, 4, 5, 6, 7, 1]]]]))) == pytest.approx((0 + 1) / 2)


def test_a_photo_without_labels_is_classified_and_nothing_else() -> None:
    """Its row is −log(1 − p); beside it the other terms are those of the labelled photo, over two photos."""
    generator = torch.Generator().manual_seed(6)
    large, small = (
        Branch(torch.randn(2, 3, *grid, generator=generator), torch.rand(2, 4, *grid, generator=generator))
        for grid in ((8, 6), (4, 3))
    )
    labels_BK = torch.tensor([[0.0, 0, 0], [0, 1, 1]])
    found = seam_losses(large, small, labels_BK)
    one = seam_losses(*(Branch(*(maps[1:] for maps in branch)) for branch in (large, small)), labels_BK[1:])
    for name in ("equivariance", "consistency", "min_pooling"):
        assert float(found[name]) == pytest.approx(float(one[name]) / 2, rel=1e-5), name
    scores_BK = [branch.raw_BKHW[0].double().mean((1, 2)) for branch in (large, small)]
    negative = np.mean([np.log1p(np.exp(scores_K.numpy())).mean() for scores_K in scores_BK])
    expected = (negative + float(one["classification"])) / 2
    assert float(found["classification"]) == pytest.approx(expected, rel=1e-5)


def test_maps_that_agree_cost_nothing() -> None:
    """Refined maps that are the other's one-hot maps, with room for background."""
    raw = torch.zeros(1, 2, 4, 4)
    raw[0, 1, :2] = 3.0
    branch = Branch(raw, with_background(peaked(raw)))
    losses = seam_losses(branch, branch, torch.tensor([[0.0, 1.0]]))
    assert [float(losses[name]) for name in ("equivariance", "min_pooling")] == [0, 0]
    assert float(losses["consistency"]) == pytest.approx(0, abs=5e-5)
    mean, softplus = 1.5, math.log(2)
    assert float(losses["classification"]) == pytest.approx((math.log1p(math.exp(-mean)) + softplus) / 2)


@pytest.mark.parametrize("term", ["classification", "equivariance", "consistency", "min_pooling"])
def test_where_gradients_go(term: str) -> None:
    """The classifier learns from classification and ER alone, the PCM from ECR and min-pooling alone."""
    part, copies = network(hidden=8), [example((6, 6)), example((3, 3))]
    for levels, _ in copies:
        for level in levels:
            level.requires_grad_()
    branches = [part(*copy) for copy in copies]
    seam_losses(*branches, torch.tensor([[1.0, 0, 0], [0, 1, 1]]))[term].backward()

    def touched(tensors: object) -> bool:
        return any(t.grad is not None and bool(t.grad.abs().sum() > 0) for t in tensors)  # type: ignore[attr-defined]

    of_classifier = term in ("classification", "equivariance")
    assert touched(part.head.parameters()) == of_classifier
    assert touched(levels[1] for levels, _ in copies) == of_classifier
    assert touched(part.correlation.parameters()) != of_classifier
    assert not touched(levels[0] for levels, _ in copies)
    if not of_classifier:
        assert all(touched([parameter]) for parameter in part.correlation.parameters())
