"""What each policy chooses."""

import numpy as np
import pytest

from results.metrics.sweep import Sweep, threshold_sweep
from results.selection import check_policy, chooser, is_ranked
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


def test_held_out_of_n_sees_n_masks_of_dev() -> None:
    some = chooser("held_out(8)")
    assert (some.split, some.masks, chooser("held_out").masks) == ("dev", 8, None)
    assert some.threshold(sweep(), 0.15) == 0.5
    assert is_ranked("held_out(8)") and not is_ranked("held_out(0)")


@pytest.mark.parametrize("name", ["held_out(0)", "held_out()", "held_out(-1)", "held_out(8", "oracel"])
def test_names_of_no_policy_are_refused(name: str) -> None:
    expected = r"policies: found unknown selection policy .*; expected one of fixed, held_out, held_out\(n\), oracle"
    with pytest.raises(UserError, match=expected):
        check_policy(name, "mine.yaml.policies")


def test_image_level_labels_choose_no_threshold_and_the_reason_is_told() -> None:
    with pytest.raises(UserError, match=r"found 'image_level'; .* tell no pixel, so no threshold can be chosen"):
        check_policy("image_level", "mine.yaml.policies")
    for name in ("fixed", "held_out", "held_out(12)", "oracle"):
        check_policy(name, "mine.yaml.policies")
