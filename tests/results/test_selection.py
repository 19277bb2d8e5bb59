"""What each policy chooses."""

import numpy as np
import pytest

from results.metrics.sweep import Sweep, threshold_sweep
from results.selection import chooser, is_ranked
from settings.errors import UserError


def sweep() -> Sweep:
    score = np.array([[0.5, 0.9]], np.float32)
    return threshold_sweep(score, np.ones((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2, 10)


def test_both_choosers_take_the_best_of_what_they_see() -> None:
    assert chooser("oracle").threshold(sweep(), 0.15) == chooser("held_out").threshold(sweep(), 0.15) == 0.5
    assert (chooser("oracle").split, chooser("held_out").split) == (None, "dev")


def test_oracle_without_a_counted_pixel_takes_what_was_declared() -> None:
    assert chooser("oracle").threshold(Sweep(np.zeros((2, 2, 11), np.int64)), 0.15) == 0.15


def test_policies_that_choose_nothing_and_those_that_may_be_ranked() -> None:
    with pytest.raises(UserError, match=r"unknown selection policy 'oracel'.*did you mean 'oracle'"):
        chooser("oracel")
    with pytest.raises(UserError, match="unknown selection policy 'fixed'; expected one of held_out, oracle"):
        chooser("fixed")
    assert is_ranked("fixed") and is_ranked("held_out") and not is_ranked("oracle") and not is_ranked("made up")
