"""Several processes against one: slices, divisors, gathering, and how they are kept alike."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from methods.base import TrainingOptions
from methods.sharing import ALONE, ProcessesDiffer, Share, least_items
from methods.training import Group, TrainingDiverged, groups_of, train
from settings.errors import UserError


@given(st.integers(1, 200), st.integers(1, 16))
def test_slices_are_contiguous_complete_and_even(items: int, size: int) -> None:
    parts = [Share(rank, size).of(np.arange(items)) for rank in range(size)]
    assert np.concatenate(parts).tolist() == list(range(items))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert [Share(rank, size).weight(items) for rank in range(size)] == pytest.approx([n / items for n in lengths])


def test_one_process_is_left_alone() -> None:
    values = torch.arange(4.0, requires_grad=True)
    assert ALONE.of(values) is values
    assert ALONE.total(values) is values and ALONE.even(values, 7) is values and ALONE.gathered(values, 4) is values
    ALONE.agree([values], "now")


@pytest.mark.parametrize(("size", "sync", "least"), [(1, True, 1), (1, False, 1), (3, True, 3), (3, False, 6)])
def test_the_least_items_of_a_batch(size: int, sync: bool, least: int) -> None:
    assert least_items(size, sync) == least
    Share(0, size, sync).check(least)
    if size > 1:
        with pytest.raises(UserError, match=rf"found {size} processes for a batch of {least - 1}; expected at least"):
            Share(0, size, sync).check(least - 1)


def test_a_divisor_of_the_whole_batch(together: Callable[..., Any]) -> None:
    """Means over known values of slices, weighted by the slices' lengths, are the mean over the whole batch."""
    values, known = torch.arange(7.0), torch.tensor([1, 0, 0, 1, 1, 1, 0])

    def work(share: Share) -> tuple[float, bool, bool]:
        part, mask = share.of(values), share.of(known)
        mean = (part * mask).sum() / share.even(mask.sum(), 7) * share.weight(7)
        here = torch.tensor(share.rank == 1)
        return float(mean), bool(share.any(here)), bool(share.any(here & False))

    for size in (2, 3):
        answers = together(size, work)
        assert sum(mean for mean, _, _ in answers) == pytest.approx((0 + 3 + 4 + 5) / 4)
        assert [(yes, no) for _, yes, no in answers] == [(True, False)] * size


def test_gathered_values_have_the_gradient_of_the_whole(together: Callable[..., Any]) -> None:
    """A loss over all pairs of a batch of 5, on 2 processes."""
    whole = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    def loss(values: torch.Tensor) -> torch.Tensor:
        return (values @ values.T).exp().mean()

    def work(share: Share) -> tuple[float, list[list[float]]]:
        part = share.of(whole).clone().requires_grad_()
        value = loss(share.gathered(part, 5))
        (value * share.weight(5)).backward()
        assert part.grad is not None
        return float(value.detach()), part.grad.tolist()

    alone = whole.clone().requires_grad_()
    expected = loss(alone)
    expected.backward()
    (first, above), (second, below) = together(2, work)
    assert first == second == pytest.approx(float(expected.detach()))
    assert alone.grad is not None and np.allclose([*above, *below], alone.grad, rtol=1e-5)


def test_processes_begin_alike_and_are_found_out_when_they_differ(together: Callable[..., Any]) -> None:
    def work(share: Share) -> tuple[list[float], str]:
        values = [torch.full((2, 3, 2, 2), float(share.rank)).to(memory_format=torch.channels_last)]
        values += [torch.tensor(7 + share.rank)]
        share.begin_alike(values)
        share.agree(values, "at first")
        begun = [float(value.sum()) for value in values]
        values[0][0, 0, 0, 0] += 1e-7 * (share.rank + 1)
        try:
            share.agree(values, "epoch 3")
        except ProcessesDiffer as error:
            return begun, str(error)
        return begun, ""

    assert together(2, work) == [([0.0, 7.0], "epoch 3: the 2 processes hold different networks")] * 2


def network(norm: bool) -> nn.Sequential:
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, padding=1), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU(), nn.Conv2d(8, 2, 1)]
    return nn.Sequential(*layers)


def fitted(share: Share, context: Any, norm: bool = False, items: int = 23, **changes: Any) -> tuple[Any, ...]:
    """Losses an epoch and final state of a small network; noise is drawn for the whole batch."""
    context = replace(context, share=share)
    module, images = network(norm), torch.rand(items, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    images += torch.arange(items).view(-1, 1, 1, 1) / 5
    targets = torch.arange(items) % 2

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        noise = share.of(torch.from_numpy(rng.random((len(rows), 1, 1, 1))).float())
        rows = share.of(rows)
        scores = module(images[rows] + 0.1 * noise).mean((2, 3))
        return {"cross_entropy": nn.functional.cross_entropy(scores, targets[rows]), "zero": scores.sum() * 0}

    options = TrainingOptions(**({"epochs": 4, "batch": 5, "learning_rate": 0.1} | changes))
    log = train(module, groups_of(module), items, step, options, context)
    return [row["cross_entropy"] for row in log], {name: value.numpy() for name, value in module.state_dict().items()}


def difference(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[float, float]:
    """The largest of the losses, and of the weights and buffers."""
    losses = np.abs(np.array(one[0]) - other[0]).max()
    return float(losses), max(float(np.abs(one[1][name] - other[1][name]).max()) for name in one[1])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("norm", [False, True])
def test_so_many_processes_train_as_one(
    together: Callable[..., Any], surroundings: Callable[..., Any], size: int, norm: bool
) -> None:
    """Slices of 5 items: 2 and 3, or 1, 2 and 2. With batch norm over all processes its statistics agree too."""
    one, context = fitted(ALONE, surroundings(), norm), surroundings()
    many = together(size, lambda share: fitted(share, context, norm))
    losses, weights = difference(one, many[0])
    assert losses < 1e-5 and weights < 1e-5
    assert all(difference(many[0], other) == (0, 0) for other in many[1:])


def test_batch_norm_of_each_process_makes_a_bounded_difference(
    together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    one, context = fitted(ALONE, surroundings(), True), surroundings()
    many = together(2, lambda share: fitted(share, context, True), sync_batch_norm=False)
    losses, _ = difference(one, many[0])
    assert 1e-4 < losses < 0.05
    assert 1e-4 < np.abs(one[1]["0.weight"] - many[0][1]["0.weight"]).max() < 0.1
    assert difference(*many) == (0, 0)


def test_a_killed_group_continues_to_the_same_result(
    together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    """Two epochs (of a schedule without a horizon), then four: as four at once; only the first process has written."""
    how = {"schedule": "step"}
    whole, parts = surroundings(), surroundings()
    at_once = together(2, lambda share: fitted(share, whole, True, **how))
    together(2, lambda share: fitted(share, parts, True, epochs=2, **how))
    continued = together(2, lambda share: fitted(share, parts, True, **how))
    assert difference(at_once[0], continued[0]) == difference(at_once[1], continued[1]) == (0, 0)
    assert len(list(parts.checkpoint_folder.iterdir())) == 1


def test_a_parameter_without_a_gradient_is_left_alone(
    together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    """Weight decay would move one whose gradient became 0; one that only the other process has a gradient for moves."""
    context = surroundings()

    def work(share: Share) -> list[float]:
        idle, shared = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
            return {"loss": (shared if share.rank else torch.ones(1, requires_grad=True)).sum()}

        plain = TrainingOptions(epochs=1, batch=2, learning_rate=0.5, momentum=0, weight_decay=0.5)
        train(nn.Module(), [Group([idle, shared])], 2, step, plain, replace(context, share=share))
        return [idle.item(), shared.item()]

    # 1 − 0.5 · (½ · 1 + 0.5): half of the batch has slope 1, and weight decay is of the whole.
    assert together(2, work) == [[1.0, 0.5]] * 2


def test_all_processes_tell_of_a_loss_that_is_not_finite(
    together: Callable[..., Any], surroundings: Callable[..., Any]
) -> None:
    context = surroundings()

    def work(share: Share) -> str:
        weight = nn.Parameter(torch.ones(1))

        def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
            return {"loss": weight.sum() * (float("nan") if share.rank == 1 else 1)}

        with pytest.raises(TrainingDiverged) as caught:
            train(
                nn.Module(),
                [Group([weight])],
                4,
                step,
                TrainingOptions(epochs=1, batch=4),
                replace(context, share=share),
            )
        return str(caught.value)

    first, second = together(2, work)
    assert first == second and first.startswith("epoch 0, step 0: the loss is not finite")
