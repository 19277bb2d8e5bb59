"""The matching network: self masks of one side and of both, votes, correlations, against loops and closed forms."""

import pytest
import torch

from methods.networks.matching import CentrePivot, MatchingNetwork, SelfMask, correlations, masked, votes

SIDES = (8, 4, 4)


def features(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 1, 5, side, side, generator=generator) for side in SIDES]


def network_of(self_mask: SelfMask) -> MatchingNetwork:
    torch.manual_seed(0)
    return MatchingNetwork((1, 1, 1), (4, 4, 8), self_mask).eval()


def half(size: int = 16) -> torch.Tensor:
    """A mask of the left half, of two photos."""
    mask_BHW = torch.zeros(2, size, size, dtype=torch.uint8)
    mask_BHW[:, :, : size // 2] = 1
    return mask_BHW


def test_correlations_are_cosines_and_never_negative() -> None:
    query, support = features(1)[0], features(2)[0]
    (found,) = correlations([query], [support])
    assert found.shape == (2, 1, 8, 8, 8, 8)
    for place in ((0, 3, 5, 7, 2), (1, 0, 0, 6, 6)):
        photo, *positions = place
        one, other = query[photo, 0, :, positions[0], positions[1]], support[photo, 0, :, positions[2], positions[3]]
        cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
        assert found[photo, 0, *positions].item() == pytest.approx(max(0.0, cosine.item()), abs=1e-4)


def test_a_centre_pivot_sees_two_planes_of_the_four_axes() -> None:
    """A change elsewhere than in the query's plane or the support's of a place does not reach it."""
    torch.manual_seed(0)
    convolution, values = CentrePivot(1, 2, 3, 1), torch.randn(1, 1, 5, 5, 5, 5)
    before = convolution(values)[..., 2, 2, 2, 2]
    beside, within = values.clone(), values.clone()
    beside[..., 1, 2, 3, 2] += 1
    within[..., 1, 2, 2, 2] += 1
    assert torch.equal(convolution(beside)[..., 2, 2, 2, 2], before)
    assert not torch.allclose(convolution(within)[..., 2, 2, 2, 2], before)


def test_self_masks_differ_by_the_query_side_alone() -> None:
    query, mask_BHW = features(1), half()
    both, one = network_of("both_sides"), network_of("one_sided")
    assert torch.equal(one.own(query, mask_BHW), both.own_matcher(correlations(query, masked(query, mask_BHW))))
    covered = masked(query, mask_BHW)
    assert torch.equal(both.own(query, mask_BHW), both.own_matcher(correlations(covered, covered)))
    assert not torch.allclose(one.own(query, mask_BHW), both.own(query, mask_BHW))


def test_the_true_mask_is_laid_on_what_the_first_mask_left_if_both_sides_are_masked() -> None:
    query, support, truth_BHW = features(1), features(2), half()
    network = network_of("both_sides")
    matched = network(query, support, half())
    left = matched._replace(first_mask_BHW=torch.zeros_like(truth_BHW))
    nothing = network.own([torch.zeros_like(level) for level in query], truth_BHW)
    assert torch.equal(network.by_truth(query, left, truth_BHW), nothing)
    alone = network_of("one_sided")
    assert torch.equal(alone.by_truth(query, left, truth_BHW), alone.own(query, truth_BHW))


def test_unknown_pixels_cost_nothing() -> None:
    query, support = features(1), features(2)
    network, truth_BHW = network_of("one_sided"), half()
    truth_BHW[:, :4] = 255
    known = network(query, support, half()).merged_B2HW
    costs = torch.nn.functional.cross_entropy(
        torch.nn.functional.interpolate(known, (16, 16), mode="bilinear", align_corners=True),
        truth_BHW.clamp(max=1).long(),
        reduction="none",
    )
    losses = network.losses(query, support, half(), truth_BHW)
    assert losses["merged"].item() == pytest.approx(costs[:, 4:].mean().item(), rel=1e-5)


@pytest.mark.parametrize(("supports", "enough"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_votes_are_counted_against_the_most(supports: int, enough: int) -> None:
    """Pixel n has n votes: with three votes the most, one is a third and too few; where two are most, one is enough."""
    logits_KB2HW = torch.zeros(supports, 1, 2, 1, supports + 1)
    for support in range(supports):
        logits_KB2HW[support, 0, 1, 0, support + 1 :] = 1
    assert votes(logits_KB2HW)[0, 0].tolist() == [0] * enough + [1] * (supports + 1 - enough)


def test_a_network_is_told_by_its_state() -> None:
    network = network_of("one_sided")
    again = MatchingNetwork.of_state(network.state_dict(), "one_sided")
    one, two = network(features(1), features(2), half()), again(features(1), features(2), half())
    assert torch.equal(one.merged_B2HW, two.merged_B2HW)
