"""PAMR as a refiner: maps stop where colours change; sizes and backgrounds are kept in step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from methods.base import LocalizationMaps
from methods.networks.pamr import pamr
from methods.refiners.none import NoRefiner
from methods.refiners.pamr import Pamr, PamrOptions
from settings.options import Options
from settings.records import Photo


def two_colours(height: int = 40, width: int = 60) -> Photo:
    image = np.full((height, width, 3), 20, np.uint8)
    image[:, width // 2 :] = (200, 180, 90)
    noise = np.random.default_rng(0).integers(0, 12, image.shape, np.uint8)
    return Photo("p", (1,), "c", lambda: image + noise)


def leaking() -> LocalizationMaps:
    """High left of three fifths of the width, where the colour changes at a half."""
    maps = np.zeros((1, 10, 15), np.float32)
    maps[:, :, :9] = 1
    return LocalizationMaps("p", (1,), maps, (40, 60), "nearest")


def refined(part: Any, record: LocalizationMaps, context: Any) -> LocalizationMaps:
    (found,) = part.apply([two_colours()], lambda _: record, context)
    return found


def test_a_leak_over_an_edge_fades(surroundings: Callable[..., Any]) -> None:
    found = refined(Pamr(PamrOptions()), leaking(), surroundings())
    map_HW = found.maps_CHW[0]
    assert map_HW.shape == (40, 60)
    assert map_HW[:, 32:35].mean() < 0.6 < 0.9 < map_HW[:, 5:25].mean()


def test_it_is_the_function_at_the_shrunk_size(surroundings: Callable[..., Any]) -> None:
    part, photo = Pamr(PamrOptions(size=30, iterations=2)), two_colours()
    found = refined(part, leaking(), surroundings())
    assert found.maps_CHW.shape == (1, 20, 30)
    from settings.images import resize

    image = torch.from_numpy(np.array(resize(photo.image(), 20, 30))).permute(2, 0, 1).float()
    before = torch.from_numpy(leaking().maps_CHW.repeat(2, 1).repeat(2, 2))[None]
    expected = pamr(before, image[None], iterations=2)[0].numpy()
    assert np.allclose(found.maps_CHW, expected / expected.max(), atol=1e-5)


def test_a_background_map_is_refined_along(surroundings: Callable[..., Any]) -> None:
    record = leaking()
    with_background = LocalizationMaps("p", (1,), record.maps_CHW, (40, 60), "nearest", 1 - record.maps_CHW[0])
    found = refined(Pamr(PamrOptions()), with_background, surroundings())
    assert found.background_HW is not None
    assert found.background_HW[:, 32:35].mean() > 0.4


def test_none_changes_nothing(surroundings: Callable[..., Any]) -> None:
    record = leaking()
    assert refined(NoRefiner(Options()), record, surroundings()) is record
