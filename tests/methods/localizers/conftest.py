"""Photos for localizers that train their backbone along."""

from collections.abc import Callable

import numpy as np
import pytest

from settings.records import LabelSpace, Photo, WeakSet


@pytest.fixture
def striped(photo: Callable[..., Photo]) -> WeakSet:
    """Photos that are dark (class 0) or bright above (class 1)."""
    rng = np.random.default_rng(0)
    photos = []
    for index in range(8):
        image = rng.integers(0, 60, (50, 70, 3)).astype(np.uint8)
        image[:25] += np.uint8(150 * (index % 2))
        photos.append(photo(f"p{index}", (index % 2,), image))
    return WeakSet(tuple(photos), LabelSpace(("dark", "bright")))
