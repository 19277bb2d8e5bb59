"""ECGAN: what the edge-guided generator draws from given features, its gradients, and the hinge losses."""

from __future__ import annotations

from typing import Any

from methods.networks.ecgan import EdgeGuided, hinge_of_fake, hinge_of_generator, hinge_of_real
from tests.golden.system import Inputs, System

LAYERS = {
    **{f"img{place + 1}": f"image.{place}" for place in range(4)},
    **{f"edge{place + 1}": f"edge.{place}" for place in range(4)},
    "comb": "refine",
    "comb1": "to_classes",
    "comb2": "from_classes",
}
"""The released names of the layers, and ours."""


def outputs(stored: Inputs) -> dict[str, Any]:
    features_BCHW, semantics_BKHW = stored.tensor("features").requires_grad_(), stored.tensor("semantics")
    net = EdgeGuided(features_BCHW.shape[1], len(stored["w_conv_comb1_bias"]), semantics_BKHW.shape[1])
    kinds = ("weight", "bias")
    state = {}
    for theirs, ours in LAYERS.items():
        state |= {f"{ours}.{kind}": stored.tensor(f"w_conv_{theirs}_{kind}") for kind in kinds}
    net.load_state_dict(state)
    drawn = net(features_BCHW, semantics_BKHW)
    loss = drawn.image.square().mean() + 2 * drawn.refined.square().mean() + drawn.edge.square().mean()
    loss.backward()
    parameters = dict(net.named_parameters())
    weights = ("edge1", "img1", "comb1", "comb2")
    scores = [stored.tensor("hinge_scores_scale1"), stored.tensor("hinge_scores_scale2")]
    return {
        "edge": drawn.edge,
        "image": drawn.image,
        "image_refined": drawn.refined,
        "class_map": drawn.class_map_BKHW,
        "class_pooled": drawn.class_mean_BK,
        "expanded": drawn.expanded,
        **{f"edge_{place}": drawn.edges[place - 1] for place in (1, 3, 4)},
        **{f"image_{place}_before": drawn.images[place - 1] for place in (1, 3)},
        "image_4": drawn.images[3],
        "check_loss": loss,
        "grad_features": features_BCHW.grad,
        **{f"grad_conv_{name}_weight": parameters[f"{LAYERS[name]}.weight"].grad for name in weights},
        "hinge_d_real": hinge_of_real(scores),
        "hinge_d_fake": hinge_of_fake(scores),
        "hinge_g": hinge_of_generator(scores),
    }


SYSTEM = System(outputs, allowed=(("grad_.*", 1e-4), (".*", 2e-5)))
