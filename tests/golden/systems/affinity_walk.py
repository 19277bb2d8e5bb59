"""AffinityNet (jiwoon-ahn/psa): walked maps, counts of pairs, the loss."""

from __future__ import annotations

from typing import Any

from methods.networks.random_walk import affinity_loss, affinity_walk
from tests.golden.system import Inputs, System


def outputs(stored: Inputs) -> dict[str, Any]:
    feature, maps, radius = stored.tensor("feature"), stored.tensor("maps"), int(stored["radius"])
    loss = affinity_loss(feature, stored.tensor("affinity_label_map"), radius)
    names = ("n_bg", "n_fg", "n_neg")
    return {
        "walked": affinity_walk(maps, feature, stored.number("beta"), int(stored["log2_steps"]), radius),
        "affinity_loss": loss.total,
        **dict(zip(names, loss[:3], strict=True)),
    }


SYSTEM = System(outputs, allowed=(("walked", 1e-4), ("affinity_loss", 1e-5), ("n_.*", 0.0)))
