"""The supervised contrastive loss where nothing attracts; `tests/golden` holds it against the released programs."""

import torch

from methods.networks.contrast import contrastive_loss_of_views


def test_without_any_positive_the_loss_is_0_and_so_is_its_gradient() -> None:
    vectors_BVD = torch.nn.functional.normalize(torch.arange(12.0).reshape(3, 1, 4) + 1, dim=2).requires_grad_()
    loss = contrastive_loss_of_views(vectors_BVD, torch.eye(3, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert vectors_BVD.grad is not None and not vectors_BVD.grad.any()
