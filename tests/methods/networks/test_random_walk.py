"""Walks and pair losses: the loss of a released program, dense matrices, closed forms, batches."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from methods.networks.pixel_pairs import Border, path
from methods.networks.random_walk import affinity_loss, affinity_walk, irn_affinity_loss, irn_walk

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def golden(name: str) -> dict[str, Any]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) if stored[key].ndim else stored[key].item() for key in stored}


def test_irn_loss_of_the_released_program() -> None:
    """Of two photos together, without its displacement terms."""
    stored = golden("irn_loss")
    loss = irn_affinity_loss(stored["boundary_logits"][:, 0].sigmoid(), stored["labels"], stored["radius"])
    assert [int(count) for count in loss[:3]] == [stored["n_bg"], stored["n_fg"], stored["n_neg"]]
    assert loss.total.item() == pytest.approx(stored["loss"], rel=1e-5)


def begins(y: int, x: int, grid: tuple[int, int], radius: int, border: Border) -> bool:
    margin = radius - 1
    return border == "all" or (y < grid[0] - margin and margin <= x < grid[1] - margin)


def dense_transition(affinity: Any, grid: tuple[int, int], radius: int, border: Border, beta: float) -> torch.Tensor:
    """T, all HW × HW numbers of it; affinity(y, x, v, u) of two pixels."""
    height, width = grid
    matrix = torch.eye(height * width, dtype=torch.float64)
    for i in range(height * width):
        for j in range(i + 1, height * width):
            (y, x), (v, u) = divmod(i, width), divmod(j, width)
            if (v - y) ** 2 + (u - x) ** 2 < radius**2 and begins(y, x, grid, radius, border):
                matrix[i, j] = matrix[j, i] = affinity(y, x, v, u) ** beta
    return matrix / matrix.sum(0)


@pytest.mark.parametrize("border", get_args(Border))
@pytest.mark.parametrize("log2_steps", [0, 1, 5, 9])
def test_affinity_walk_beside_dense_squaring(border: Border, log2_steps: int) -> None:
    torch.manual_seed(0)
    maps, feature = torch.rand(2, 6, 9, dtype=torch.float64), torch.rand(4, 6, 9, dtype=torch.float64)
    matrix = dense_transition(
        lambda y, x, v, u: float((-(feature[:, y, x] - feature[:, v, u]).abs().mean()).exp()), (6, 9), 3, border, 5.0
    )
    expected = (maps.flatten(1) @ torch.linalg.matrix_power(matrix, 2**log2_steps)).view_as(maps)
    found = affinity_walk(maps, feature, 5.0, log2_steps, 3, border)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_irn_walk_beside_dense_squaring_on_the_padded_grid() -> None:
    """As the released program writes it: boundary 1 and maps 0 around the grid, sources on the padded one."""
    torch.manual_seed(0)
    radius, beta, log2_steps = 3, 4.0, 6
    maps, boundary = torch.rand(2, 5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64)
    padded_b = torch.nn.functional.pad(boundary, (radius, radius, 0, radius), value=1.0)
    padded_maps = torch.nn.functional.pad(maps * (1 - boundary), (radius, radius, 0, radius))

    def affinity(y: int, x: int, v: int, u: int) -> float:
        return 1 - max(float(padded_b[y + dy, x + dx]) for dy, dx in path(v - y, u - x))

    matrix = dense_transition(affinity, (8, 10), radius, "released", beta)
    walked = padded_maps.flatten(1) @ torch.linalg.matrix_power(matrix, 2**log2_steps)
    expected = walked.view_as(padded_maps)[:, :5, radius:-radius]
    torch.testing.assert_close(irn_walk(maps, boundary, beta, log2_steps, radius), expected, rtol=1e-10, atol=1e-12)


def test_a_batch_walks_and_learns_as_its_images_do() -> None:
    torch.manual_seed(0)
    maps, feature, boundary = torch.rand(3, 2, 10, 12), torch.rand(3, 4, 10, 12), torch.rand(3, 10, 12)
    together = affinity_walk(maps, feature, 8, 8, 5), irn_walk(maps, boundary, 10, 8, 5)
    alone = (
        torch.stack([affinity_walk(m, f, 8, 8, 5) for m, f in zip(maps, feature, strict=True)]),
        torch.stack([irn_walk(m, b, 10, 8, 5) for m, b in zip(maps, boundary, strict=True)]),
    )
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)
    labels = torch.randint(0, 3, (3, 10, 12))
    losses = [affinity_loss(f, mask, 3) for f, mask in zip(feature, labels, strict=True)]
    loss = affinity_loss(feature, labels, 3)
    assert [int(c) for c in loss[:3]] == [sum(int(one[k]) for one in losses) for k in range(3)]


def test_what_walks_keep() -> None:
    """A constant map stays (columns of T sum to 1); nothing passes a closed boundary; a tiny grid walks nowhere."""
    torch.manual_seed(0)
    flat = torch.full((1, 9, 12), 0.7)
    torch.testing.assert_close(affinity_walk(flat, torch.rand(3, 9, 12), 8, 8, 4), flat)
    boundary = torch.zeros(9, 12)
    boundary[:, 6] = 1
    maps = torch.zeros(1, 9, 12)
    maps[:, :, :6] = 1
    walked = irn_walk(maps, boundary, 10, 8, 5)
    torch.testing.assert_close(walked[:, :, :6], maps[:, :, :6])
    assert not walked[:, :, 6:].any()
    small = torch.rand(2, 3, 3)
    assert torch.equal(affinity_walk(small, torch.rand(4, 3, 3), 8, 8, 5), small)


@pytest.mark.parametrize("border", get_args(Border))
def test_both_losses_beside_a_loop(border: Border) -> None:
    torch.manual_seed(0)
    grid, radius = (7, 9), 3
    feature, boundary = torch.rand(2, *grid), torch.rand(grid)
    labels = torch.from_numpy(np.random.default_rng(0).choice([0, 1, 2, 255], grid).astype(np.uint8))
    kinds: dict[str, list[tuple[float, float]]] = {"bg": [], "fg": [], "negative": []}
    for i in range(63):
        for j in range(i + 1, 63):
            (y, x), (v, u) = divmod(i, 9), divmod(j, 9)
            p, q = int(labels[y, x]), int(labels[v, u])
            if (v - y) ** 2 + (u - x) ** 2 >= 9 or not begins(y, x, grid, radius, border) or 255 in (p, q):
                continue
            alike = float((-(feature[:, y, x] - feature[:, v, u]).abs().mean()).exp())
            free = 1 - max(float(boundary[y + dy, x + dx]) for dy, dx in path(v - y, u - x))
            kinds["negative" if p != q else "fg" if p else "bg"].append((alike, free))
    for which, loss in enumerate(
        [affinity_loss(feature, labels, 3, border), irn_affinity_loss(boundary, labels, 3, border)]
    ):
        means = {
            kind: -np.mean([np.log(1 + 1e-5 - a[which] if kind == "negative" else a[which] + 1e-5) for a in pairs])
            for kind, pairs in kinds.items()
        }
        assert [int(count) for count in loss[:3]] == [len(pairs) for pairs in kinds.values()]
        expected = means["bg"] / 4 + means["fg"] / 4 + means["negative"] / 2
        assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_losses_have_gradients_also_without_any_pair() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(9, 9, dtype=torch.uint8)
    labels[:, 4:] = 1
    feature, boundary = torch.rand(3, 9, 9, requires_grad=True), torch.rand(9, 9, requires_grad=True)
    unknown = torch.full_like(labels, 255)
    for function, values in ((affinity_loss, feature), (irn_affinity_loss, boundary)):
        (gradient,) = torch.autograd.grad(function(values, labels, 3).total, values)
        assert gradient.isfinite().all()
        assert gradient.any()
        (nothing,) = torch.autograd.grad(function(values, unknown, 3).total, values)
        assert not nothing.any()


def test_training_parts_two_halves() -> None:
    """Some steps of gradient descent make features alike within labels and unlike between."""
    torch.manual_seed(0)
    labels = torch.zeros(10, 10, dtype=torch.uint8)
    labels[:, 5:] = 1
    feature = torch.randn(4, 10, 10, requires_grad=True)
    optimizer = torch.optim.Adam([feature], 0.1)
    first = affinity_loss(feature, labels, 3).total.item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = affinity_loss(feature, labels, 3).total
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * first
    maps = torch.zeros(1, 10, 10)
    maps[:, 4, 3] = 1
    walked = affinity_walk(maps, feature.detach(), 8, 6, 3)
    assert walked[0, :, :5].sum() > 10 * walked[0, :, 5:].sum()


def test_grids_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        affinity_walk(torch.rand(1, 5, 6), torch.rand(2, 6, 5), 8, 8, 3)
    with pytest.raises(ValueError, match="differ"):
        irn_affinity_loss(torch.rand(2, 5, 6), torch.zeros(1, 5, 6), 3)
