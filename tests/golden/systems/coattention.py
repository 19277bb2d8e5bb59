"""Co-attention (GuoleiSun/MCIS_wsss): the six maps of a pair and every term of its loss."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.coattention import CoAttentionHead, pair_loss
from tests.golden.system import Inputs, System

STATE = {
    "affinity.weight": "W_P_linear_weight",
    "common_head.weight": "common_head_weight",
    "gate.weight": "gate_weight",
    "basic_head.weight": "basic_head_weight",
    "basic_head.bias": "basic_head_bias",
}


@torch.no_grad()
def outputs(stored: Inputs) -> dict[str, Any]:
    feature_m, feature_n = stored.tensor("feature_m"), stored.tensor("feature_n")
    labels_m, labels_n = stored.tensor("labels_m"), stored.tensor("labels_n")
    head = CoAttentionHead(feature_m.shape[1], labels_m.shape[1])
    head.load_state_dict({ours: stored.tensor(theirs) for ours, theirs in STATE.items()})
    maps = head(feature_m, feature_n)
    terms = pair_loss(maps, labels_m, labels_n)._asdict()
    found: dict[str, Any] = {f"loss_{name}": term for name, term in terms.items()}
    for name, map_BKHW in maps._asdict().items():
        branch, side = name.split("_")
        found[f"{branch}_map_{side}"] = map_BKHW
    return found


SYSTEM = System(outputs, allowed=((".*", 1e-5),))
