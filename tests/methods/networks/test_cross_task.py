"""The cross-task network in chunks and whole, its floors and its unary part, against matrices written out."""

from collections.abc import Iterator

import pytest
import torch

from methods.networks import cross_task
from methods.networks.cross_task import Affinity, CrossTaskNetwork, losses, peaked, refined_maps, softmax_rows
from settings.records import UNKNOWN

SHAPE = (2, 6, 5, 7)
POSITIONS = 35


def network_of(affinity: Affinity = "cross", unary: bool = False) -> CrossTaskNetwork:
    torch.manual_seed(0)
    return CrossTaskNetwork(SHAPE[1], 3, 8, (1, 2, 1), affinity, unary, dropout=0).eval()


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def in_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four rows at a time, so that chunks end within the matrix and once at its end."""
    monkeypatch.setattr(cross_task, "CHUNK_ENTRIES", 4 * 2 * POSITIONS)
    yield


def trained_once(network: CrossTaskNetwork, features: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The loss on some targets, and the gradient of every parameter."""
    labels_BK = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    generator = torch.Generator().manual_seed(2)
    saliency_BHW = torch.randint(0, 2, (2, 10, 14), generator=generator, dtype=torch.uint8)
    segmentation_BHW = torch.randint(0, 4, (2, 10, 14), generator=generator, dtype=torch.uint8)
    segmentation_BHW[0, :3] = UNKNOWN
    loss = torch.stack(list(losses(network(features), labels_BK, saliency_BHW, segmentation_BHW).values())).sum()
    network.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}, loss


@pytest.mark.parametrize("unary", [False, True])
def test_chunks_give_the_whole_matrix_and_its_gradients(
    unary: bool, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(unary=unary)
    whole, loss = trained_once(network, features)
    monkeypatch.setattr(cross_task, "CHUNK_ENTRIES", 4 * 2 * POSITIONS)
    parts, loss_of_parts = trained_once(network, features)
    assert loss_of_parts.item() == pytest.approx(loss.item(), rel=1e-5)
    assert whole.keys() == parts.keys() and "fusion.conv1.weight" in whole
    assert all(torch.allclose(parts[name], whole[name], rtol=1e-4, atol=1e-6) for name in whole)


def kept_bytes(network: CrossTaskNetwork, features: torch.Tensor) -> int:
    """Of the tensors that the backward pass finds, each memory once."""
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = network(features)
    assert outcome.segmentation_BSHW.requires_grad
    return sum(found.values())


def test_chunks_keep_less_than_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    features, network = torch.randn(1, SHAPE[1], 20, 20), network_of()
    whole = kept_bytes(network, features)
    monkeypatch.setattr(cross_task, "CHUNK_ENTRIES", 400 * 8)
    assert kept_bytes(network, features) < whole / 3


def test_the_fused_matrix_is_that_of_the_formula(features: torch.Tensor, in_chunks: None) -> None:
    """Made whole, by torch's own padded convolution."""
    network = network_of()
    _, alike = network.predict(features)
    assert alike is not None
    pairs = zip(alike.queries_BND, alike.keys_BND, strict=True)
    both = torch.stack([(query @ key.transpose(1, 2)).softmax(2) for query, key in pairs], 1)
    hidden = torch.nn.functional.conv2d(both, network.fusion.conv1.weight, padding=1).relu()
    expected = (network.fusion.conv2(hidden).softmax(1) * both).sum(1)
    rows = [alike.rows(slice(start, min(start + 9, POSITIONS))) for start in range(0, POSITIONS, 9)]
    assert torch.allclose(torch.cat(rows, 1), expected, atol=1e-6)
    values = torch.randn(2, POSITIONS, 3)
    assert torch.allclose(alike.times(values), expected @ values, atol=1e-5)


@pytest.mark.parametrize("affinity", ["segmentation", "saliency"])
def test_one_task_alone_refines_by_its_own_matrix(affinity: Affinity, features: torch.Tensor) -> None:
    network = network_of(affinity)
    predictions, alike = network.predict(features)
    branch = network.segmentation if affinity == "segmentation" else network.saliency
    query, key = branch.queries_and_keys(branch.dense(features))
    matrix = softmax_rows([query], [key], slice(0, POSITIONS))
    assert alike is not None
    assert torch.allclose(alike.rows(slice(0, POSITIONS)), matrix, atol=1e-6)
    first = predictions.saliency_B1HW.flatten(2).transpose(1, 2)
    refined = predictions.refined_saliency_B1HW.flatten(2).transpose(1, 2)
    assert torch.allclose(refined, matrix @ first, atol=1e-5)


def test_the_identity_refines_nothing(features: torch.Tensor) -> None:
    predictions, alike = network_of("identity").predict(features)
    assert alike is None
    assert torch.equal(predictions.refined_segmentation_BSHW, predictions.segmentation_BSHW)
    maps = torch.tensor([[[[-1.0, 2.0], [4.0, 0.0]]]])
    assert torch.allclose(refined_maps(maps, None), torch.tensor([[[[0, 0.5], [1, 0]]]]), atol=1e-5)
    assert torch.equal(refined_maps(maps, None), peaked(maps))


def test_the_unary_part_adds_the_same_to_all_positions(features: torch.Tensor) -> None:
    """And nothing to maps, which pairs of positions alone refine."""
    network = network_of(unary=True)
    predictions, alike = network.predict(features)
    assert alike is not None and alike.unary_B1N is not None
    first = predictions.segmentation_BSHW.flatten(2).transpose(1, 2)
    added = predictions.refined_segmentation_BSHW.flatten(2).transpose(1, 2) - alike.times(first)
    assert torch.allclose(added, (alike.unary_B1N @ first).expand_as(added), atol=1e-5)
    of_branches = [
        branch.alike(branch.dense(features)).unary_B1N for branch in (network.segmentation, network.saliency)
    ]
    assert torch.allclose(alike.unary_B1N, sum(of_branches) / 2)
    assert torch.allclose(alike.unary_B1N.sum(2), torch.ones(2, 1))
    maps = features[:, :1]
    by_pairs = (alike.rows(slice(0, POSITIONS)) @ peaked(maps).flatten(2).transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(refined_maps(maps, alike).flatten(2), by_pairs, atol=1e-5)


def test_a_network_is_told_by_its_state(features: torch.Tensor) -> None:
    network = network_of("saliency", unary=True)
    again = CrossTaskNetwork.of_state(network.state_dict(), (1, 2, 1), "saliency").eval()
    assert all(torch.equal(one, two) for one, two in zip(network(features), again(features), strict=True))
