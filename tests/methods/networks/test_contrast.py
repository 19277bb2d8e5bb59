"""The supervised contrastive loss: values and gradients of the released programs, and what has no positives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.networks.contrast import contrastive_loss_of_views, same_class

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(params=[1, 2])
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(GOLDEN / f"neighbours_dcc_supcon_{request.param}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


@pytest.mark.parametrize(
    ("name", "by_labels", "weighted"),
    [("supcon", True, False), ("simclr", False, False), ("dcc_labels", True, True), ("dcc", False, True)],
)
def test_losses_and_gradients_of_the_released_programs(
    golden: dict[str, Any], name: str, by_labels: bool, weighted: bool
) -> None:
    views_BVD = golden["embeddings"].requires_grad_()
    positive_BB = same_class(golden["labels"]) if by_labels else torch.eye(len(views_BVD), dtype=torch.bool)
    weight_NN = golden["intensity_weight"] if weighted else None
    for place, temperature in enumerate(golden["temperatures"].tolist()):
        loss = contrastive_loss_of_views(views_BVD, positive_BB, temperature, weight_NN=weight_NN)
        assert loss.item() == pytest.approx(float(golden[f"loss_{name}"][place]), rel=2e-5)
        if f"grad_{name}" in golden:
            (found,) = torch.autograd.grad(loss, views_BVD)
            expected = golden[f"grad_{name}"][place]
            assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-4


def test_one_view_and_one_anchor_view_of_the_released_program(golden: dict[str, Any]) -> None:
    """With one view a photo that is alone in its class has no positive, and adds nothing."""
    views_BVD, positive_BB = golden["embeddings"], same_class(golden["labels"])
    one_view = contrastive_loss_of_views(views_BVD[:, :1], positive_BB, 0.3)
    one_anchor_view = contrastive_loss_of_views(views_BVD, positive_BB, 0.3, one_anchor_view=True)
    assert one_view.item() == pytest.approx(float(golden["loss_supcon_one_view"]), rel=2e-5)
    assert one_anchor_view.item() == pytest.approx(float(golden["loss_supcon_one_anchor_view"]), rel=2e-5)


def test_without_any_positive_the_loss_is_0_and_so_is_its_gradient() -> None:
    vectors_BVD = torch.nn.functional.normalize(torch.arange(12.0).reshape(3, 1, 4) + 1, dim=2).requires_grad_()
    loss = contrastive_loss_of_views(vectors_BVD, torch.eye(3, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert vectors_BVD.grad is not None and not vectors_BVD.grad.any()
