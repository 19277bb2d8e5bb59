"""The small generator's parts where a closed form is known."""

import numpy as np
import pytest
import torch

from methods.networks.synthesis import (
    Discriminator,
    Generator,
    below_scores,
    edges_of_photos,
    frechet_distance,
    matched,
    scores,
    semantics,
)


def test_label_maps_become_a_channel_each_and_unknown_pixels_none() -> None:
    found = semantics(torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8), 3)
    assert found.tolist() == [[[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]]]]


def test_a_step_in_brightness_is_an_edge_and_a_flat_photo_has_none() -> None:
    photo = torch.full((1, 3, 4, 6), -1.0)
    photo[..., 3:] = 1
    edges = edges_of_photos(photo)
    assert edges.shape == photo.shape
    assert edges[0, 0].tolist() == [[-1, -1, 1, 1, -1, -1]] * 4
    assert (edges_of_photos(torch.zeros(1, 3, 4, 4)) == -1).all()


def test_the_distance_of_normal_distributions_is_the_closed_form() -> None:
    """Of independent channels: squared differences of means and of deviations."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 3))
    centred = vectors - vectors.mean(0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred, rowvar=False))).T
    one, other = white * [1.0, 2.0, 3.0], white * [2.0, 2.0, 0.5] + [1.0, 0.0, -2.0]
    assert frechet_distance(one, other) == pytest.approx(1 + 4 + 1 + 0 + 2.5**2)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_fewer_vectors_than_channels_give_a_distance_too() -> None:
    rng = np.random.default_rng(0)
    few = rng.standard_normal((4, 9))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(few, few + 1) == pytest.approx(9, abs=1e-6)


def test_photos_are_as_large_as_their_label_maps_and_of_another_style_are_others() -> None:
    torch.manual_seed(0)
    generator = Generator(values=3, style=5, width=4).eval()
    masks = torch.randint(0, 3, (2, 48, 48), dtype=torch.uint8)
    styles = torch.randn(2, 5)
    drawn = generator(masks, styles)
    for image in (drawn.edge, drawn.image, drawn.refined):
        assert image.shape == (2, 3, 48, 48)
    assert drawn.refined.abs().max() <= 1
    assert not torch.allclose(drawn.refined, generator(masks, styles.flip(0)).refined)
    assert not torch.allclose(drawn.refined, generator(masks.flip(0), styles).refined)


def test_a_generators_loss_moves_no_discriminator() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(values=2, width=4)
    labels, images = torch.rand(2, 2, 32, 32), torch.rand(2, 3, 32, 32, requires_grad=True)
    unmoved, moved = discriminator.unmoved(labels, images), discriminator(labels, images)
    assert [len(scale) for scale in unmoved] == [4, 4]
    assert all(torch.equal(one, other) for one, other in zip(scores(unmoved), scores(moved), strict=True))
    torch.stack([score.mean() for score in scores(unmoved)]).sum().backward()
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in discriminator.parameters())


def test_features_are_matched_in_units_of_those_that_are_wanted() -> None:
    wanted = [torch.tensor([[2.0, -2.0], [4.0, 4.0]]), torch.full((2, 3, 1, 1), -5.0)]
    found = [torch.tensor([[3.0, -2.0], [4.0, 2.0]]), torch.full((2, 3, 1, 1), -5.0)]
    assert matched(found, wanted).item() == pytest.approx((0.25 + 0.25) / 2 / 2)


def test_scores_are_not_among_the_features() -> None:
    scales = [[torch.zeros(1), torch.ones(1)], [torch.zeros(1), torch.ones(1)]]
    assert [layer.item() for layer in below_scores(scales)] == [0, 0]
    assert [score.item() for score in scores(scales)] == [1, 1]
