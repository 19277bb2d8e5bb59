"""Fusion of five maps (GuoleiSun/MCIS_wsss)."""

from __future__ import annotations

from typing import Any

from methods.networks.coattention import five_map_mean
from tests.golden.system import Inputs, System


def outputs(stored: Inputs) -> dict[str, Any]:
    return {"mean_map_uint8": five_map_mean(stored["maps"])}


SYSTEM = System(outputs)
