"""Rows for tests."""

from collections.abc import Callable
from typing import Any

import pytest

from results.rows import Row


def make_row(**changes: Any) -> Row:
    """A plain row with some fields changed; a failed one loses its mIoU."""
    segmentation = changes.get("stage") == "segmentation"
    values: dict[str, Any] = {
        "dataset": "scenes",
        "split": "val" if segmentation else "train",
        "recipe": "cam",
        "setting": "clean",
        "training_mode": "frozen",
        "rng_seed": 0,
        "stage": "maps",
        "variant": "ss" if segmentation else "",
        "miou": None if changes.get("status") == "failed" else 0.5,
        "per_class": [0.75, 0.25],
        "classes": ["background", "disc"],
        "evaluation_fingerprint": "v" * 64 if segmentation else "t" * 64,
        "training_fingerprint": "f" * 64,
        "supervision": "I",
    }
    return Row(**(values | changes))


@pytest.fixture
def row() -> Callable[..., Row]:
    """Makes a plain row with some fields changed."""
    return make_row
