"""The co-attention head and its loss: golden files, switches, one side at a time; and the fusion of five maps."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.networks.attention import Kernel
from methods.networks.coattention import CoAttentionHead, PairMaps, five_map_mean, pair_loss

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
STATE = {
    "affinity.weight": "W_P_linear_weight",
    "common_head.weight": "common_head_weight",
    "gate.weight": "gate_weight",
    "basic_head.weight": "basic_head_weight",
    "basic_head.bias": "basic_head_bias",
}


def golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(np.asarray(stored[key])) for key in stored}


def random_pair(batch: int = 2, channels: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(batch, channels, 5, 3), torch.rand(batch, channels, 2, 4)


@pytest.mark.parametrize("kernel", [None, *get_args(Kernel)])
@pytest.mark.parametrize("name", ["coattention_square", "coattention_uneven", "coattention_skipped"])
def test_maps_and_losses_of_the_released_program(name: str, kernel: Kernel | None) -> None:
    stored = golden(name)
    head = CoAttentionHead(stored["feature_m"].shape[1], 20, kernel=kernel)
    head.load_state_dict({ours: stored[theirs] for ours, theirs in STATE.items()})
    with torch.no_grad():
        maps = head(stored["feature_m"], stored["feature_n"])
        loss = pair_loss(maps, stored["labels_m"], stored["labels_n"])
    for field, found in maps._asdict().items():
        branch, side = field.split("_")
        expected = stored[f"{branch}_map_{side}"]
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), field
    for field, term in loss._asdict().items():
        assert term.item() == pytest.approx(stored[f"loss_{field}"].item(), rel=1e-5), field


def word_by_word(head: CoAttentionHead, feature_m: torch.Tensor, feature_n: torch.Tensor) -> PairMaps:
    """docs/methods.md §2 on C-channel common features, the heads last."""
    weight = head.affinity.weight if isinstance(head.affinity, torch.nn.Linear) else torch.eye(feature_m.shape[1])
    affinity = torch.einsum("dc,bcl,bds->bls", weight, feature_m.flatten(2), feature_n.flatten(2))
    common_m = torch.einsum("bcs,bls->bcl", feature_n.flatten(2), affinity.softmax(2)).view_as(feature_m)
    common_n = torch.einsum("bcl,bls->bcs", feature_m.flatten(2), affinity.softmax(1)).view_as(feature_n)
    rest_m, rest_n = ((1 - head.gate(c).sigmoid()) * f for c, f in ((common_m, feature_m), (common_n, feature_n)))
    basic = head.basic_head or head.common_head
    scored = [head.common_head(feature) for feature in (common_m, common_n, rest_m, rest_n)]
    return PairMaps(basic(feature_m), basic(feature_n), *scored)


@pytest.mark.parametrize("learned_affinity", [False, True])
@pytest.mark.parametrize("separate_heads", [False, True])
@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_switches_and_gradients(learned_affinity: bool, separate_heads: bool, kernel: Kernel) -> None:
    """Maps and every parameter's and feature's gradient, beside the formulas with the heads at the end."""
    switches = {"learned_affinity": learned_affinity, "separate_heads": separate_heads}
    head = CoAttentionHead(6, 3, **switches, kernel=kernel)
    names = {name for name, _ in head.named_parameters()}
    expected_names = {"common_head.weight", "gate.weight"}
    expected_names |= {"affinity.weight"} if learned_affinity else set()
    assert names == expected_names | ({"basic_head.weight", "basic_head.bias"} if separate_heads else set())
    pair = [feature.requires_grad_() for feature in random_pair()]
    wanted = [*pair, *head.parameters()]
    labels_m, labels_n = torch.tensor([[1.0, 1, 0], [1, 0, 0]]), torch.tensor([[0.0, 1, 0], [1, 0, 1]])
    found, expected = head(*pair), word_by_word(head, *pair)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    gradients = [torch.autograd.grad(pair_loss(maps, labels_m, labels_n).total, wanted) for maps in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("learned_affinity", [False, True])
@pytest.mark.parametrize("separate_heads", [False, True])
def test_a_head_comes_back_from_its_state(learned_affinity: bool, separate_heads: bool) -> None:
    head = CoAttentionHead(6, 3, learned_affinity=learned_affinity, separate_heads=separate_heads)
    again = CoAttentionHead.of_state(head.state_dict())
    for one, other in zip(again(*random_pair()), head(*random_pair()), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_one_side_alone_and_one_photo_with_many_references() -> None:
    head, (feature_m, feature_n) = CoAttentionHead(6, 3), random_pair()
    maps = head(feature_m, feature_n)
    torch.testing.assert_close(head.common_maps(feature_m, feature_n), maps.common_m)
    torch.testing.assert_close(head.basic_maps(feature_m), maps.basic_m)
    torch.testing.assert_close(
        head.own_maps(feature_m), torch.einsum("kc,bchw->bkhw", head.common_head.weight[..., 0, 0], feature_m)
    )
    many = head.common_maps(feature_m[:1], feature_n)
    assert many.shape == (2, 3, 5, 3)
    torch.testing.assert_close(many[1:], head.common_maps(feature_m[:1], feature_n[1:]))


def test_entropy_is_that_of_an_even_look_where_affinities_are_zero() -> None:
    head, (feature_m, feature_n) = CoAttentionHead(6, 3), random_pair()
    torch.nn.init.zeros_(head.affinity.weight)
    found = head.attention_entropy(feature_m, feature_n)
    torch.testing.assert_close(found, torch.full((2,), math.log(8)))
    assert not found.requires_grad


@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_bfloat16_autocast_trains_in_float32(kernel: Kernel) -> None:
    """What a pair's maps are made of is multiplied in float32; features that were rounded before stay as they are."""
    head, (feature_m, feature_n) = CoAttentionHead(6, 3, kernel=kernel), random_pair()
    feature_m, feature_n = feature_m.bfloat16(), feature_n.bfloat16()
    labels = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
    exact = pair_loss(head(feature_m.float(), feature_n.float()), labels, labels.flip(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = pair_loss(head(feature_m, feature_n), labels, labels.flip(0))
    loss.total.backward()
    assert loss.total.dtype == torch.float32
    assert loss.total.item() == pytest.approx(exact.total.item(), rel=1e-6)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in head.parameters())


def constant_maps(*values: float) -> PairMaps:
    return PairMaps(*(torch.full((2, 2, 3, 3), value, requires_grad=True) for value in values))


def test_loss_terms_by_hand() -> None:
    """Softplus of ∓score on a class that is there or not, averaged over classes and rows."""
    there, absent = (lambda score: math.log1p(math.exp(-score))), (lambda score: math.log1p(math.exp(score)))
    maps = constant_maps(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    labels_m, labels_n = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    loss = pair_loss(maps, labels_m, labels_n)
    basic = (3 * there(1) + absent(1) + 2 * there(2) + 2 * absent(2)) / 8
    common = (2 * there(3) + 2 * absent(3) + 2 * there(4) + 2 * absent(4)) / 8
    contrastive_m = (there(5) + 3 * absent(5)) / 4
    expected = [basic, common, contrastive_m, 0.0, basic + common + contrastive_m]
    assert [term.item() for term in loss] == pytest.approx(expected, rel=1e-6)


def test_a_negative_teaches_that_nothing_is_shared_and_all_of_its_partner_is_contrastive() -> None:
    there, absent = (lambda score: math.log1p(math.exp(-score))), (lambda score: math.log1p(math.exp(score)))
    maps = constant_maps(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    loss = pair_loss(maps, torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    basic = (4 * absent(1) + 3 * there(2) + absent(2)) / 8
    common = (4 * absent(3) + 4 * absent(4)) / 8
    contrastive_n = (3 * there(6) + absent(6)) / 4
    expected = [basic, common, 0.0, contrastive_n, basic + common + contrastive_n]
    assert [term.item() for term in loss] == pytest.approx(expected, rel=1e-6)


def test_contrastive_terms_off() -> None:
    maps = constant_maps(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    labels_m, labels_n = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    loss = pair_loss(maps, labels_m, labels_n, contrastive=False)
    assert (loss.contrastive_m.item(), loss.contrastive_n.item()) == (0.0, 0.0)
    assert loss.total.item() == pytest.approx((loss.basic + loss.common).item())
    with_them = pair_loss(maps, labels_m, labels_n)
    assert with_them.contrastive_m.item() > 0.5
    assert with_them.contrastive_n.item() > 0.5


@given(st.integers(1, 6), st.integers(0, 1000))
def test_fusion_of_any_number_of_maps(count: int, rng_seed: int) -> None:
    """Beside a loop in double precision, to one step of uint8."""
    rng = np.random.default_rng(rng_seed)
    maps = rng.normal(rng.uniform(-5, 3, (count, 1, 1)), 2, (count, 4, 3)).astype(np.float32)
    counted = []
    for i, raw in enumerate(maps.astype(np.float64)):
        if i == 0 or 1 / (1 + np.exp(-raw.mean())) > 0.1:
            positive = np.maximum(raw, 0)
            counted.append(positive / (positive.max() + 1e-8) * 255)
    mean, largest = np.sum(counted, 0) / count, np.max(counted, 0)
    assert np.abs(five_map_mean(maps).astype(float) + 0.5 - mean).max() <= 0.501
    assert np.abs(five_map_mean(maps, "max").astype(float) + 0.5 - largest).max() <= 0.501
