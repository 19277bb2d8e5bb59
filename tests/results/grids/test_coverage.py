"""Intervals of effects hold what is true as often as they say; the long form is `python -m benchmarks.grid_effects`."""

from benchmarks.grid_effects import coverage


def test_intervals_hold_the_known_effects() -> None:
    found = coverage(seeds=5, seed_spread=0.02, draws=50)
    # Of 300 intervals, which are not independent of each other.
    assert 0.91 <= found["all"] <= 0.99
