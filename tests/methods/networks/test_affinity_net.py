"""Heads on several levels: the formulas written again, published sizes, and heads made from their state."""

import pytest
import torch
from torch.nn.functional import conv2d, elu, group_norm, interpolate

from methods.networks.affinity_net import AffinityHead, BoundaryHead, boundary

CHANNELS = (24, 40, 16)


def levels(channels: tuple[int, ...] = CHANNELS) -> list[torch.Tensor]:
    """Each half as wide as the one before."""
    torch.manual_seed(0)
    return [torch.randn(2, width, 16 // 2**k, 24 // 2**k) for k, width in enumerate(channels)]


def spread(head: torch.nn.Module) -> None:
    """Scales and shifts that are not 1 and 0."""
    for name, parameter in head.named_parameters():
        if name.endswith(("1.weight", "1.bias")):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)


@torch.no_grad()
def test_affinity_features_by_the_formula() -> None:
    head = AffinityHead(CHANNELS, (8, 16, 32))
    spread(head)
    state, parts = head.state_dict(), []
    for k, (level, groups) in enumerate(zip(levels(), (1, 2, 4), strict=True)):
        projected = conv2d(level, state[f"projections.{k}.0.weight"])
        normed = group_norm(projected, groups, state[f"projections.{k}.1.weight"], state[f"projections.{k}.1.bias"])
        parts.append(interpolate(elu(normed), (8, 12), mode="bilinear"))
    expected = elu(conv2d(torch.cat(parts, 1), state["mixing.weight"]))
    found = head(levels(), (8, 12))
    assert found.shape == (2, 56, 8, 12)
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_affinity_features_without_group_norms_as_on_the_released_resnet38() -> None:
    head = AffinityHead(CHANNELS, (8, 16, 32), norm=False)
    state = head.state_dict()
    assert set(state) == {f"projections.{k}.0.weight" for k in range(3)} | {"mixing.weight"}
    parts = [elu(conv2d(level, state[f"projections.{k}.0.weight"])) for k, level in enumerate(levels())]
    small = torch.cat([interpolate(part, (8, 12), mode="bilinear") for part in parts], 1)
    found = AffinityHead.of_state(state)(levels(), (8, 12))
    torch.testing.assert_close(found, elu(conv2d(small, state["mixing.weight"])))
    assert float(state["projections.1.0.weight"].std()) == pytest.approx((2 / 40) ** 0.5, rel=0.15)


@torch.no_grad()
def test_boundary_logits_by_the_formula() -> None:
    head = BoundaryHead(CHANNELS, 16)
    spread(head)
    state, parts = head.state_dict(), []
    for k, level in enumerate(levels()):
        projected = conv2d(level, state[f"projections.{k}.0.weight"])
        normed = group_norm(projected, 2, state[f"projections.{k}.1.weight"], state[f"projections.{k}.1.bias"])
        parts.append(interpolate(normed, (16, 24), mode="bilinear").clamp_min(0))
    expected = conv2d(torch.cat(parts, 1), state["classifier.weight"], state["classifier.bias"])[:, 0]
    torch.testing.assert_close(head(levels(), (16, 24)), expected)


def test_published_sizes() -> None:
    """Projections, two numbers a normed channel, the last layer."""
    count = sum(parameter.numel() for parameter in AffinityHead(CHANNELS).parameters())
    assert count == 24 * 64 + 40 * 128 + 16 * 256 + 2 * 448 + 448 * 448
    five = (16, 24, 40, 112, 320)
    head = BoundaryHead(five)
    assert sum(parameter.numel() for parameter in head.parameters()) == 32 * sum(five) + 2 * 160 + 161
    assert [module.num_groups for module in head.modules() if isinstance(module, torch.nn.GroupNorm)] == [4] * 5
    groups = [m.num_groups for m in AffinityHead(CHANNELS).modules() if isinstance(m, torch.nn.GroupNorm)]
    assert groups == [8, 16, 32]


@pytest.mark.parametrize("kind", [AffinityHead, BoundaryHead])
def test_heads_come_back_from_their_state(kind: type[AffinityHead] | type[BoundaryHead]) -> None:
    head = kind(CHANNELS)
    again = kind.of_state(head.state_dict())
    with torch.no_grad():
        assert torch.equal(again(levels(), (8, 12)), head(levels(), (8, 12)))


def test_boundary_at_test() -> None:
    logits, mirrored = torch.tensor([[[1.0, -2.0]]]), torch.tensor([[[4.0, 3.0]]])
    torch.testing.assert_close(boundary(logits, mirrored), torch.tensor([[[2.0, 1.0]]]).sigmoid())


def test_levels_that_a_head_was_not_made_for_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        AffinityHead(CHANNELS)(levels()[:2], (8, 12))
