"""ECGAN's generator on given features and its hinge losses: those of the released program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.networks.ecgan import EdgeGuided, hinge_of_fake, hinge_of_generator, hinge_of_real

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(params=[1, 2])
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(GOLDEN / f"neighbours_ecgan_{request.param}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def generator_of(golden: dict[str, Any]) -> EdgeGuided:
    classes, semantics = len(golden["w_conv_comb1_bias"]), golden["semantics"].shape[1]
    net = EdgeGuided(golden["features"].shape[1], classes, semantics)
    names = {"comb": "refine", "comb1": "to_classes", "comb2": "from_classes"}
    names |= {f"{short}{place + 1}": f"{name}.{place}" for short, name in BRANCHES.items() for place in range(4)}
    state = {
        f"{ours}.{kind}": golden[f"w_conv_{theirs}_{kind}"]
        for theirs, ours in names.items()
        for kind in ("weight", "bias")
    }
    net.load_state_dict(state)
    return net


BRANCHES = {"img": "image", "edge": "edge"}


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach() - expected).abs().max() / expected.abs().max())


def test_what_the_released_generator_draws_and_its_gradients(golden: dict[str, Any]) -> None:
    net, features_BCHW = generator_of(golden), golden["features"].requires_grad_()
    drawn = net(features_BCHW, golden["semantics"])
    for found, name in (
        (drawn.edge, "edge"),
        (drawn.image, "image"),
        (drawn.refined, "image_refined"),
        (drawn.class_map_BKHW, "class_map"),
        (drawn.class_mean_BK, "class_pooled"),
        (drawn.expanded, "expanded"),
        *((drawn.edges[j - 1], f"edge_{j}") for j in (1, 3, 4)),
        *((drawn.images[j - 1], f"image_{j}_before") for j in (1, 3)),
        (drawn.images[3], "image_4"),
    ):
        assert relative(found, golden[name]) <= 2e-5, name
    loss = drawn.image.square().mean() + 2 * drawn.refined.square().mean() + drawn.edge.square().mean()
    assert relative(loss, golden["check_loss"]) <= 2e-5
    loss.backward()
    for found, name in (
        (features_BCHW, "features"),
        (net.edge[0].weight, "conv_edge1_weight"),
        (net.image[0].weight, "conv_img1_weight"),
        (net.to_classes.weight, "conv_comb1_weight"),
        (net.from_classes.weight, "conv_comb2_weight"),
    ):
        assert isinstance(found, torch.Tensor) and found.grad is not None
        assert relative(found.grad, golden[f"grad_{name}"]) <= 1e-4, name


def test_hinge_losses_of_the_released_program(golden: dict[str, Any]) -> None:
    scores = [golden["hinge_scores_scale1"], golden["hinge_scores_scale2"]]
    assert hinge_of_real(scores).item() == pytest.approx(float(golden["hinge_d_real"]), rel=2e-5)
    assert hinge_of_fake(scores).item() == pytest.approx(float(golden["hinge_d_fake"]), rel=2e-5)
    assert hinge_of_generator(scores).item() == pytest.approx(float(golden["hinge_g"]), rel=2e-5)
