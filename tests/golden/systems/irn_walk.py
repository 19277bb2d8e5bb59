"""IRN (jiwoon-ahn/irn): maps walked up to boundaries."""

from __future__ import annotations

from typing import Any

from methods.networks.random_walk import irn_walk
from tests.golden.system import Inputs, System


def outputs(stored: Inputs) -> dict[str, Any]:
    maps, edge_HW, beta = stored.tensor("maps"), stored.tensor("edge")[0], stored.number("beta")
    return {"walked": irn_walk(maps, edge_HW, beta, int(stored["log2_steps"]), int(stored["radius"]))[:, None]}


SYSTEM = System(outputs, allowed=(("walked", 1e-4),))
