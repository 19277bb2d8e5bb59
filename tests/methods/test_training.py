"""The training loop against SGD and AdamW by hand; killed and resumed runs; losses that are not finite."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from methods.base import TrainingOptions
from methods.kernels.products import are_rounded
from methods.training import Group, TrainingDiverged, _digest, groups_of, learning_rate, named_tensors, part_of, train


class Interrupted(Exception):
    pass


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**({"epochs": 4, "batch": 4, "learning_rate": 0.1} | changes))


NO_GRADIENT = ("0.bias", "1.running_mean")
"""Of a problem's network: the bias before its batch norm, and what follows it alone."""


class Problem:
    """A small network with everything that has a state: batch norm, dropout, channels_last convolutions."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 2, 1))
        self.module = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.images_NCHW = torch.rand(18, 3, 6, 6, generator=torch.Generator().manual_seed(2))
        self.targets_N = torch.arange(18) % 2
        self.groups = [Group(list(self.module[0].parameters()), 0.1), Group(list(self.module[1:].parameters()))]
        self.steps = 0
        self.stop_at = -1
        self.seen: list[list[int]] = []

    def step(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        if self.steps == self.stop_at:
            raise Interrupted
        self.steps += 1
        self.seen.append(rows.tolist())
        noise = torch.from_numpy(rng.random((len(rows), 1, 1, 1))).float()
        scores = self.module(self.images_NCHW[rows] + 0.01 * noise).mean((2, 3))
        loss = nn.functional.cross_entropy(scores, self.targets_N[rows])
        return {"cross_entropy": loss, "norm": 1e-3 * self.module[4].weight.square().sum()}

    def run(self, context: Any, **changes: Any) -> tuple[Any, ...]:
        return train(self.module, self.groups, 18, self.step, options(**changes), context)


def test_an_epoch_visits_each_item_once_but_for_a_last_batch_that_is_not_full(surroundings: Callable[..., Any]) -> None:
    problem, context = Problem(), surroundings()
    log = problem.run(context, epochs=2)
    assert [len(rows) for rows in problem.seen] == [4] * 8
    for epoch in (problem.seen[:4], problem.seen[4:]):
        assert len({row for rows in epoch for row in rows}) == 16
    assert problem.seen[:4] != problem.seen[4:]
    assert [row["epoch"] for row in log] == [0, 1]
    assert [(done, total, unit) for done, total, unit, _ in context.reports] == [(i + 1, 8, "steps") for i in range(8)]


@pytest.mark.parametrize("items", [1, 2, 3])
def test_a_batch_larger_than_the_set(surroundings: Callable[..., Any], items: int) -> None:
    weight, seen = nn.Parameter(torch.ones(1)), []

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        seen.append(sorted(rows.tolist()))
        return {"loss": weight.square().sum()}

    train(nn.Module(), [Group([weight])], items, step, options(epochs=2), surroundings())
    assert seen == [list(range(items))] * 2


def test_the_poly_schedule(surroundings: Callable[..., Any]) -> None:
    """Without momentum and decay a loss of slope 1 moves it by its rate: base · factor · (1 − step/steps)^power."""
    weights = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(3)]
    places: list[list[float]] = []

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        places.append([weight.item() for weight in weights])
        return {"loss": torch.stack([weight.sum() for weight in weights]).sum()}

    groups = [Group([weights[0]]), Group([weights[1]], 0.1), Group([weights[2]], 0.0)]
    plain = options(epochs=3, batch=2, momentum=0, weight_decay=0, poly_power=0.9)
    log = train(nn.Module(), groups, 5, step, plain, surroundings())
    places.append([weight.item() for weight in weights])
    rates = -np.diff(np.array(places), axis=0)
    expected = 0.1 * (1 - np.arange(6) / 6) ** 0.9
    assert np.allclose(rates, expected[:, None] * [1, 0.1, 0], rtol=1e-6, atol=1e-12)
    assert [row["learning_rate"] for row in log] == pytest.approx(expected[[1, 3, 5]])


def test_the_step_schedule_is_the_released_recipes(surroundings: Callable[..., Any]) -> None:
    """A tenth from epoch index 5 on, a hundredth from 10 on; biases ×2, new layers ×10, their biases ×20."""
    torch.manual_seed(0)
    modules = nn.ModuleDict({"old": nn.Conv2d(1, 1, 1), "new": nn.Sequential(nn.Conv2d(1, 1, 1))}).double()
    places: list[list[float]] = []

    def note() -> None:
        places.append([parameter.item() for parameter in modules.parameters()])

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        note()
        return {"loss": torch.stack([parameter.sum() for parameter in modules.parameters()]).sum()}

    recipe = options(
        epochs=11, batch=2, learning_rate=1e-2, backbone_factor=0.1, bias_factor=2, momentum=0, weight_decay=0
    ).model_copy(update={"schedule": "step", "milestones": (5, 10)})
    groups = [*groups_of(modules["old"], recipe.backbone_factor, recipe.bias_factor)]
    groups += groups_of(modules["new"], bias_factor=recipe.bias_factor)
    log = train(nn.Module(), groups, 4, step, recipe, surroundings())
    note()
    rates = -np.diff(np.array(places), axis=0).reshape(11, 2, 4)
    tenths = np.array([1] * 5 + [0.1] * 5 + [0.01])
    assert np.allclose(rates, 1e-3 * tenths[:, None, None] * [1, 2, 10, 20], rtol=1e-6, atol=1e-12)
    assert [row["learning_rate"] for row in log] == pytest.approx(1e-2 * tenths)


def test_a_step_schedule_does_not_know_how_many_epochs_follow() -> None:
    """So eleven epochs are the first eleven of fifteen."""
    step = options(schedule="step", milestones=(2,))
    assert [learning_rate(step, epoch, fraction) for epoch, fraction in ((1, 0.0), (1, 0.9), (2, 0.1), (9, 0.2))] == (
        pytest.approx([0.1, 0.1, 0.01, 0.01])
    )


@pytest.mark.parametrize("bias_factor", [1.0, 2.0])
def test_groups_hold_every_trained_parameter_once(bias_factor: float) -> None:
    module = Problem().module
    module[1].requires_grad_(False)
    groups = groups_of(module, 0.5, bias_factor)
    named = dict(module.named_parameters())
    factors = {id(parameter): group.factor for group in groups for parameter in group.parameters}
    assert sum(len(group.parameters) for group in groups) == len(factors)
    expected = {"0.weight": 0.5, "0.bias": 0.5 * bias_factor, "4.weight": 0.5, "4.bias": 0.5 * bias_factor}
    assert factors == {id(named[name]): factor for name, factor in expected.items()}


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, True), (0.9, False), (0.9, True)])
def test_three_steps_by_hand(surroundings: Callable[..., Any], momentum: float, nesterov: bool) -> None:
    """Loss w²/2 (slope w); decay adds 0.01·w; v = µ·v + g; Nesterov steps by g + µ·v."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    chosen = options(epochs=3, momentum=momentum, nesterov=nesterov, weight_decay=0.01, poly_power=0)
    train(nn.Module(), [Group([weight])], 1, lambda rows, rng: {"l": weight.square().sum() / 2}, chosen, surroundings())
    w, v = 2.0, None
    for _ in range(3):
        g = w + 0.01 * w
        v = g if v is None else momentum * v + g
        w -= 0.1 * (g + momentum * v if nesterov and momentum else v)
    assert weight.item() == pytest.approx(w, rel=1e-6)


def test_three_steps_of_adamw_by_hand(surroundings: Callable[..., Any]) -> None:
    """Loss w²/2; decay acts on the weight itself, and not on a bias; rates are those of the groups."""
    weight, bias = (nn.Parameter(torch.full(shape, 2.0, dtype=torch.float64)) for shape in ((1, 1), (1,)))
    chosen = options(epochs=3, optimizer="adamw", learning_rate=0.1, betas=(0.8, 0.95), weight_decay=0.05, poly_power=0)

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return {"l": weight.square().sum() / 2 + bias.square().sum() / 2}

    train(nn.Module(), [Group([weight, bias], 0.5)], 1, step, chosen, surroundings())
    for parameter, decay in ((weight, 0.05), (bias, 0.0)):
        w, mean, square = 2.0, 0.0, 0.0
        for number in (1, 2, 3):
            g = w
            w -= 0.05 * decay * w
            mean, square = 0.8 * mean + 0.2 * g, 0.95 * square + 0.05 * g * g
            w -= 0.05 * (mean / (1 - 0.8**number)) / ((square / (1 - 0.95**number)) ** 0.5 + 1e-8)
        assert parameter.item() == pytest.approx(w, rel=1e-9)


def test_adamw_is_torchs(surroundings: Callable[..., Any]) -> None:
    """A network of several kinds of layer, its decay alike for all."""
    problem, other = Problem(), Problem()
    chosen = {"epochs": 2, "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.0, "poly_power": 0}
    problem.run(surroundings(), **chosen)
    groups = [{"params": list(group.parameters), "lr": 0.01 * group.factor} for group in other.groups]
    reference = torch.optim.AdamW(groups, weight_decay=0.0)
    for epoch in range(2):
        rng = np.random.default_rng([0, epoch])
        torch.manual_seed(int(rng.integers(2**63)) % 2**63)
        order = rng.permutation(18)
        for start in range(0, 16, 4):
            reference.zero_grad()
            torch.stack(list(other.step(order[start : start + 4], rng).values())).sum().backward()
            reference.step()
    # A bias before a batch norm changes nothing: its gradient is rounding, which Adam divides by its own size.
    values = {name: value for name, value in problem.module.state_dict().items() if name not in NO_GRADIENT}
    assert len(values) == 7
    for name, value in values.items():
        assert torch.allclose(value, other.module.state_dict()[name], rtol=1e-4, atol=1e-6), name


def test_the_log_holds_means_and_terms_are_added(surroundings: Callable[..., Any]) -> None:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return {"a": weight.sum() + float(rows.sum()), "b": 2 * weight.sum()}

    chosen = options(epochs=1, batch=2, momentum=0, weight_decay=0, poly_power=0)
    log = train(nn.Module(), [Group([weight])], 4, step, chosen, surroundings())
    assert weight.item() == pytest.approx(-0.1 * 3 * 2), "slope 1 + 2, two steps"
    assert log[0]["a"] == pytest.approx((0 + 1 + 2 + 3 - 0.3) / 2, rel=1e-6)
    assert log[0]["b"] == pytest.approx(-0.3, rel=1e-6)


def test_runs_repeat_and_depend_on_the_rng_seed(surroundings: Callable[..., Any]) -> None:
    states = []
    for rng_seed in (0, 0, 1):
        problem = Problem()
        torch.manual_seed(rng_seed + 99)
        states.append((problem.run(surroundings(rng_seed=rng_seed)), problem.module.state_dict()))
    assert states[0][0] == states[1][0] != states[2][0]
    assert all(torch.equal(states[0][1][name], states[1][1][name]) for name in states[0][1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_at", [0, 3, 4, 9, 15])
def test_a_killed_run_continues_to_the_same_result(
    surroundings: Callable[..., Any], stop_at: int, optimizer: str
) -> None:
    whole = Problem()
    log = whole.run(surroundings(), optimizer=optimizer)
    context, killed = surroundings(), Problem()
    killed.stop_at = stop_at
    with pytest.raises(Interrupted):
        killed.run(context, optimizer=optimizer)
    resumed = Problem()
    nn.init.zeros_(resumed.module[4].weight) if stop_at >= 4 else None
    assert resumed.run(context, optimizer=optimizer) == log
    assert resumed.steps == 16 - 4 * (stop_at // 4)
    state = resumed.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.module.state_dict().items())


def test_a_finished_run_is_not_run_again(surroundings: Callable[..., Any]) -> None:
    context, problem = surroundings(), Problem()
    log = problem.run(context)
    again = Problem()
    assert again.run(context) == log
    assert again.steps == 0
    assert torch.equal(again.module[0].weight, problem.module[0].weight)


@pytest.mark.parametrize("damage", ["half", "empty", "garbage", "other", "foreign", "partial", "other version"])
def test_a_damaged_checkpoint_means_the_beginning(surroundings: Callable[..., Any], damage: str) -> None:
    context, whole = surroundings(), Problem()
    log = whole.run(context)
    path = context.checkpoint_folder / "training.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage == "other":
        save_file({"module.0.weight": torch.zeros(1)}, path)
    elif damage == "foreign":
        save_file({"module.0.weight": torch.zeros(1)}, path, {"log": '[{"epoch": 0}]'})
    elif damage == "other version":
        tensors, kept = {}, [row for row in log if row["epoch"] < 2]
        for name, value in load(content).items():
            # Weights would fit, and training would go on without its momentum.
            tensors[name.replace("optimizer.", "momentum.")] = value
        text = json.dumps(kept)
        save_file(tensors, path, {"log": text, "sha256": _digest(tensors, text)})
    elif damage == "partial":
        path = path.with_suffix(".partial")  # what a kill while writing leaves
        path.write_bytes(content[:100])
    else:
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "garbage": b"\0" * 500}[damage])
    again = Problem()
    assert again.run(context) == log
    assert again.steps == 16
    assert torch.equal(again.module[0].weight, whole.module[0].weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_epoch_and_step(surroundings: Callable[..., Any], value: float) -> None:
    weight, calls = nn.Parameter(torch.ones(1)), []

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        calls.append(rows)
        return {"fine": weight.sum(), "bad": weight.sum() * (value if len(calls) == 8 else 1)}

    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 2: the loss is not finite .*'bad': -?(nan|inf)"):
        train(nn.Module(), [Group([weight])], 20, step, options(), surroundings())


def test_products_are_rounded_where_bfloat16_is_asked(surroundings: Callable[..., Any]) -> None:
    """On a CPU the factors of products alone: what layers give stays float32."""
    kinds, asked = set(), []
    layer = nn.Linear(4, 2)

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        scores = layer(torch.ones(2, 4))
        kinds.add(scores.dtype)
        asked.append(are_rounded())
        return {"loss": scores.square().mean()}

    for precision in ("bfloat16", "float32"):
        groups = [Group(list(layer.parameters()))]
        train(layer, groups, 4, step, options(epochs=1, batch=4), surroundings(precision=precision))
    assert asked == [True, False]
    assert kinds == {torch.float32}


def test_networks_are_trained_in_training_mode(surroundings: Callable[..., Any]) -> None:
    problem, modes = Problem(), []
    problem.module.eval()

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        modes.append({part.training for part in problem.module.modules()})
        problem.module.eval()
        return {"loss": problem.module[0].weight.sum()}

    train(problem.module, problem.groups, 4, step, options(epochs=2), surroundings())
    assert modes == [{True}, {True}], "at the start of every epoch"


@pytest.mark.parametrize("before", [False, True])
def test_small_numbers_are_flushed_in_training_alone(surroundings: Callable[..., Any], before: bool) -> None:
    weight, products = nn.Parameter(torch.ones(1)), []

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        products.append(float(torch.tensor(1e-40) * 1))
        if len(products) == 2:
            raise Interrupted
        return {"loss": weight.sum()}

    torch.set_flush_denormal(before)
    try:
        with pytest.raises(Interrupted):
            train(nn.Module(), [Group([weight])], 8, step, options(), surroundings())
        assert products == [0, 0]
        assert (float(torch.tensor(1e-40) * 1) == 0) is before
    finally:
        torch.set_flush_denormal(False)


def test_no_half_written_checkpoint_is_left(surroundings: Callable[..., Any]) -> None:
    context = surroundings()
    Problem().run(context)
    assert [path.name for path in Path(context.checkpoint_folder).iterdir()] == ["training.safetensors"]


def test_named_tensors_and_their_parts() -> None:
    one, two = nn.Linear(2, 3), nn.BatchNorm1d(3)
    weights = named_tensors(head=one, heading=two)
    assert set(part_of(weights, "head")) == {"weight", "bias"}
    assert set(part_of(weights, "heading")) == set(two.state_dict())
    assert torch.equal(part_of(weights, "head")["weight"], one.weight)
    assert not any(tensor.requires_grad for tensor in weights.values())
