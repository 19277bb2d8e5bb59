"""The wide ResNet of PSA and SEAM at 1/32 of its widths (jiwoon-ahn/psa)."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.resnet38 import ResNet38
from tests.golden.make_released import released_weights
from tests.golden.system import Inputs, System

THINNESS = 32


def outputs(stored: Inputs) -> dict[str, Any]:
    network = ResNet38((2, 3, 4), 8, THINNESS)
    network.load_state_dict(released_weights(network.state_dict()))
    with torch.inference_mode():
        levels = network.eval()(stored.tensor("image"))
    return dict(zip(("conv4", "conv5", "conv6"), levels, strict=True))


SYSTEM = System(outputs, left_out=(("shapes", "held against ours by tests/methods/networks/test_resnet38.py"),))
