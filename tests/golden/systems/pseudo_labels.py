"""The saliency rule (GuoleiSun/MCIS_wsss): every pixel of the pseudo label."""

from __future__ import annotations

from typing import Any

from methods.labelers.saliency import saliency_rule
from tests.golden.system import Inputs, System


def outputs(stored: Inputs) -> dict[str, Any]:
    return {"pseudo_mask": saliency_rule(stored["maps"], stored["classes"].tolist(), stored["saliency"])}


SYSTEM = System(outputs)
