"""The dense CRF (pydensecrf2): probabilities after some mean-field steps; needs the extra `crf`."""

from __future__ import annotations

from typing import Any

from methods.dense_crf import dense_crf
from tests.golden.system import Inputs, System

NUMBERS = ("gaussian_sxy", "gaussian_compat", "bilateral_sxy", "bilateral_srgb", "bilateral_compat", "iterations")


def outputs(stored: Inputs) -> dict[str, Any]:
    numbers = {name: stored[name].item() for name in NUMBERS}
    return {"refined": dense_crf(stored["image"], stored["probabilities"], **numbers)}


SYSTEM = System(outputs, allowed=(("refined", 1e-4),), absolute=True)
