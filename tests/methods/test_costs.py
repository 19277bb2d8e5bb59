"""Guessed costs grow with what drives the work."""

import pytest

from methods.costs import Cost


def test_cost_grows_with_photos_positions_and_channels() -> None:
    cost = Cost(0.5, power=2, channels="hidden", usual_channels=256)
    assert cost.of(3, 224, {"hidden": 256}) == pytest.approx(1.5)
    # Twice the side: four times the positions, sixteen times their pairs.
    assert cost.of(3, 448, {"hidden": 256}) == pytest.approx(1.5 * 16)
    assert cost.of(3, 224, {"hidden": 64}) == pytest.approx(1.5 / 4)
    # An option that the identity leaves out is the usual one.
    assert cost.of(3, 224, {}) == pytest.approx(1.5)
    # What is done once grows with photos alone.
    assert Cost(0.5, once=0.1).of(3, 448, {}, epochs=5) == pytest.approx(3 * (0.1 + 5 * 0.5 * 4))
    assert Cost(0.5).of(3, 448, {"": 7}) == pytest.approx(6.0)
