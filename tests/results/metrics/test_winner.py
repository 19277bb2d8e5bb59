"""The winning map against argmax."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from results.metrics.winner import winner_and_score


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
                  elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_winner_is_argmax_with_ties_to_the_lowest_class(maps_CHW: np.ndarray) -> None:
    ids = (0, 3, 7, 19)[: len(maps_CHW)]
    score, winner = winner_and_score(maps_CHW, ids)
    assert np.array_equal(score, maps_CHW.max(axis=0))
    assert np.array_equal(winner, np.array(ids)[maps_CHW.argmax(axis=0)] + 1)
    assert score.dtype == np.float32 and winner.dtype == np.uint8


def test_the_maps_are_not_changed() -> None:
    maps = np.array([[[0.1]], [[0.2]]], np.float32)
    winner_and_score(maps, (0, 1))
    assert maps.ravel().tolist() == np.array([0.1, 0.2], np.float32).tolist()


def test_without_maps_all_is_background() -> None:
    score, winner = winner_and_score(np.zeros((0, 2, 3), np.float32), ())
    assert not score.any() and (winner == 1).all() and score.shape == winner.shape == (2, 3)


def test_nan_wins_so_that_it_is_refused_later() -> None:
    assert np.isnan(winner_and_score(np.array([[[0.5]], [[np.nan]]], np.float32), (0, 1)).score).all()


@pytest.mark.parametrize(
    ("maps", "ids"),
    [
        (np.zeros((2, 1, 1), np.float32), (0,)),
        (np.zeros((1, 1, 1)), (0,)),
        (np.zeros((1, 1), np.float32), (0,)),
        (np.zeros((2, 1, 1), np.float32), (1, 0)),
        (np.zeros((2, 1, 1), np.float32), (1, 1)),
        (np.zeros((1, 1, 1), np.float32), (254,)),
        (np.zeros((1, 1, 1), np.float32), (-1,)),
    ],
)
def test_maps_and_ids_are_checked(maps: np.ndarray, ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"maps|class ids"):
        winner_and_score(maps, ids)
