"""SCCNet (linhanwang/SCCNet): correlations, centre pivots, votes, and the whole network with its losses."""

from __future__ import annotations

import re
from typing import Any

from methods.networks.grids import resized
from methods.networks.matching import CentrePivot, MatchingNetwork, correlations, votes
from tests.golden.system import Inputs, System

LEVELS = {"layer2": "shallow", "layer3": "middle", "layer4": "deep"}
PARTS = (
    (r"^hpn_learner2_", "own_matcher."),
    (r"^hpn_learner_", "matcher."),
    (r"encoder_layer4to3_", "mix_middle."),
    (r"encoder_layer3to2_", "mix_shallow."),
    *((f"encoder_{theirs}_", f"encode_{ours}.") for theirs, ours in LEVELS.items()),
    (r"decoder(\d)_", r"decode\1."),
    (r"_conv1_", ".query."),
    (r"_conv2_", ".support."),
    (r"_(weight|bias)$", r".\1"),
    (r"^merger_0", "merger"),
)
"""The released program's names of layers, and ours."""


def parameter_of(name: str) -> str:
    """Our name of a parameter of the released program."""
    for theirs, ours in PARTS:
        name = re.sub(theirs, ours, name)
    return name.replace("..", ".")


def outputs(stored: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for level in LEVELS:
        sides = [stored.tensor(f"corr_{side}_{level}").movedim(0, 1) for side in ("query", "support")]
        (found[f"corr_{level}"],) = correlations(sides[:1], sides[1:])
    for case in sorted({name[3] for name in stored if name.startswith("cp_")}):
        found[f"cp_{case}_output"] = pivot(stored, case)
    for name in [name for name in stored if name.startswith("vote_logits_")]:
        found[name.replace("logits", "mask")] = votes(stored.tensor(name))
    return found | network(stored)


def pivot(stored: Inputs, case: str) -> Any:
    """One centre-pivot convolution."""
    weight = stored.tensor(f"cp_{case}_query_weight")
    width, channels = weight.shape[:2]
    kernel, stride = (int(stored[f"cp_{case}_{what}"]) for what in ("kernel", "support_stride"))
    convolution = CentrePivot(channels, width, kernel, stride)
    parts = [f"{side}_{kind}" for side in ("query", "support") for kind in ("weight", "bias")]
    convolution.load_state_dict({part.replace("_", "."): stored.tensor(f"cp_{case}_{part}") for part in parts})
    return convolution(stored.tensor(f"cp_{case}_input"))


def network(stored: Inputs) -> dict[str, Any]:
    """Both masks of a query, merged, and the losses."""
    theirs = [name.removeprefix("w_") for name in stored if name.startswith("w_")]
    state = {parameter_of(name): stored.tensor(f"w_{name}") for name in theirs}
    matching = MatchingNetwork.of_state(state, "both_sides")
    query, support = ([stored.tensor(f"net_{side}_{level}")[None] for level in LEVELS] for side in ("query", "support"))
    support_1HW, truth_1HW = stored.tensor("net_support_mask")[None], stored.tensor("net_query_mask")[None]
    matched = matching(query, support, support_1HW)
    losses = matching.losses(query, support, support_1HW, truth_1HW)
    size = support_1HW.shape[1:]
    return {
        "net_first_logits": matched.first_B2HW,
        "net_first_mask": matched.first_mask_BHW[0],
        "net_second_logits": matched.second_B2HW,
        "net_merged_logits": matched.merged_B2HW,
        "net_logits": resized(matched.merged_B2HW, size, align_corners=True),
        "net_logits_true_mask": resized(
            matching.by_truth(query, matched, truth_1HW), truth_1HW.shape[1:], align_corners=True
        ),
        "net_loss_merged": losses["merged"],
        "net_loss_true_mask": losses["true_mask"],
        "net_loss": losses["merged"] + losses["true_mask"],
    }


SYSTEM = System(outputs)
