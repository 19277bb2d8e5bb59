"""IMSAT's losses: values, perturbation and gradients of the released program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.networks.imsat import ClusterNet, adversarial, information_loss

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
LAYERS = {"l1": ("weight", "bias"), "l2": ("weight", "bias"), "l3": ("weight", "bias")}


@pytest.fixture(params=[1, 2])
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(GOLDEN / f"neighbours_imsat_{request.param}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def net_of(golden: dict[str, Any]) -> ClusterNet:
    first, channels = golden["w_l1_weight"].shape
    clusters, second = golden["w_l3_weight"].shape
    net = ClusterNet(channels, (first, second), clusters)
    state = {f"{layer}.{name}": golden[f"w_{layer}_{name}"] for layer in LAYERS for name in ("weight", "bias")}
    for norm in ("bn1", "bn2"):
        state |= {f"{norm}.weight": golden[f"w_{norm}_gamma"], f"{norm}.bias": golden[f"w_{norm}_beta"]}
    net.load_state_dict(state, strict=False)
    return net


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_losses_and_gradients_of_the_released_program(golden: dict[str, Any]) -> None:
    net, lam, mu = net_of(golden), float(golden["lam"]), float(golden["mu"])
    logits_NK = net(golden["x"])
    information = information_loss(logits_NK, mu)
    radius_N = float(golden["prop_eps"]) * golden["neighbour_distance"]
    found = adversarial(net, golden["x"], net(golden["x"]), golden["noise"], radius_N, float(golden["xi"]))
    loss = found.loss + lam * information.loss
    assert relative(logits_NK.detach(), golden["logits"]) <= 2e-5
    assert relative(information.conditional.detach(), golden["entropy_conditional"]) <= 2e-5
    assert relative(information.marginal.detach(), golden["entropy_marginal"]) <= 2e-5
    assert relative(information.loss.detach(), golden["loss_information"]) <= 2e-5
    assert relative(found.probe_NK.detach(), golden["vat_probe_logits"]) <= 2e-5
    assert relative(found.probe_distance.detach(), golden["vat_probe_distance"]) <= 2e-5
    assert relative(found.perturbation_NC.detach(), golden["vat_perturbation"]) <= 1e-4
    assert relative(found.logits_NK.detach(), golden["vat_adversarial_logits"]) <= 1e-4
    assert relative(found.loss.detach(), golden["loss_vat"]) <= 2e-5
    assert relative(loss.detach(), golden["loss"]) <= 2e-5
    loss.backward()
    parameters = dict(net.named_parameters())
    for name, expected in golden.items():
        if not name.startswith("grad_"):
            continue
        layer, kind = name.removeprefix("grad_").split("_")
        gradient = parameters[f"{layer}.{ {'gamma': 'weight', 'beta': 'bias'}.get(kind, kind) }"].grad
        assert gradient is not None and relative(gradient, expected) <= 1e-4, name
