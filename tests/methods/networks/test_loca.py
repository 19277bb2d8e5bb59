"""LOCA's targets and losses at the edge; `tests/golden` holds them against the released program."""

import numpy as np
import pytest
import torch

from methods.crops import Box
from methods.networks.loca import OUTSIDE, cell_map, loca_loss, seen_cells


def test_positions_outside_the_reference_teach_no_place_and_none_at_all_teaches_nothing() -> None:
    map_HW = cell_map((4, 6), Box(0, 2, 4, 4), 2)
    assert map_HW.tolist() == [[-1, -1, 0, 0, 1, 1]] * 2 + [[-1, -1, 2, 2, 3, 3]] * 2
    assert seen_cells(map_HW, Box(0, 0, 4, 4), 4, 2, mirrored=True).tolist() == [[0, -1], [2, -1]]
    logits = torch.zeros(3, 4)
    loss = loca_loss(logits, logits, torch.full((3,), OUTSIDE), torch.full((3, 4), 0.25))
    assert (loss.position.item(), loss.cluster.item()) == (0, 0)
    assert loss.me_max.item() == pytest.approx(-np.log(4))
