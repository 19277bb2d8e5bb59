"""Label effort, by hand."""

import pytest

from settings.effort import label_seconds


@pytest.mark.parametrize(
    ("source", "photos", "classes", "seconds"),
    [
        ("target", 10, 20, 200),
        ("single_label", 10, 20, 10),
        ("web", 10, 20, 0),
        ("mask", 2, 20, 479.4),
        ("other", 3, 4, 12),
    ],
)
def test_seconds_of_work(source: str, photos: int, classes: int, seconds: float) -> None:
    assert label_seconds(source, photos, classes) == pytest.approx(seconds)
