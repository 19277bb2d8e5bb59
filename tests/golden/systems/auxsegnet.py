"""AuxSegNet (xulianuwa/AuxSegNet): both dense tasks, fused affinity, losses, gradients, a round's labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from methods.labelers.agreement import agreement
from methods.networks.cross_task import CrossTaskNetwork, losses, refined_maps, refined_saliency, softmax_rows
from methods.networks.grids import resized
from tests.golden.system import Inputs, System

DILATIONS = (6, 12, 18)


def modules() -> dict[str, str]:
    """The released program's names of layers, and ours."""
    names = {"fc8": "classifier", "cross_att_0": "fusion.conv1", "cross_att_2": "fusion.conv2"}
    for theirs, ours in (("seg", "segmentation"), ("sal", "saliency")):
        for layer in ("conv1", "conv2", "conv3", "conv4", "g", "W"):
            names[f"{theirs}_{layer}"] = f"{ours}.{layer}"
        for layer in ("theta", "phi"):
            names[f"{theirs}_att_{layer}"] = f"{ours}.{layer}"
    return names


def parameter_of(name: str) -> str:
    """Our name of a parameter of the released program."""
    layer, _, kind = name.rpartition("_")
    return f"{modules()[layer]}.{kind}"


def network_of(stored: Inputs) -> CrossTaskNetwork:
    """The network with the file's weights, without dropout."""
    theirs = [name.removeprefix("w_") for name in stored if name.startswith("w_")]
    state = {parameter_of(name): stored.tensor(f"w_{name}") for name in theirs}
    return CrossTaskNetwork.of_state(state, DILATIONS, "cross").eval()


def outputs(stored: Inputs) -> dict[str, Any]:
    network, features_BCHW = network_of(stored), stored.tensor("features")
    predictions, alike = network.predict(features_BCHW)
    terms = losses(predictions, stored.tensor("labels"), stored.tensor("target_saliency"), stored.tensor("target_seg"))
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    parameters = dict(network.named_parameters())
    gradients = [name for name in stored if name.startswith("grad_")]
    return {
        "class_scores": predictions.scores_BK,
        "cam": predictions.class_maps_BKHW,
        "saliency_first": predictions.saliency_B1HW,
        "saliency_refined": predictions.refined_saliency_B1HW,
        "seg_first": predictions.segmentation_BSHW,
        "seg_refined": predictions.refined_segmentation_BSHW,
        "loss_class": terms["classes"],
        "loss_saliency_first": terms["saliency"],
        "loss_saliency_refined": terms["refined_saliency"],
        "loss_seg_first": terms["segmentation"],
        "loss_seg_refined": terms["refined_segmentation"],
        "loss": total,
        **{name: parameters[parameter_of(name.removeprefix("grad_"))].grad for name in gradients},
        **affinities(network, alike, stored),
        **update(network, stored),
    }


def affinities(network: CrossTaskNetwork, alike: Any, stored: Inputs) -> dict[str, Any]:
    """As many rows as the file holds."""
    rows = slice(0, stored["affinity"].shape[1])
    weights_B2RN, _ = network.fusion.weights(alike.queries_BND, alike.keys_BND, rows)
    of_seg, of_sal = (
        softmax_rows([query], [key], rows) for query, key in zip(alike.queries_BND, alike.keys_BND, strict=True)
    )
    found = {"affinity": alike.rows(rows), "fusion_weights": weights_B2RN}
    return {**found, "affinity_seg": of_seg, "affinity_sal": of_sal}


def update(network: CrossTaskNetwork, stored: Inputs) -> dict[str, Any]:
    """What the first photo's maps, saliency and label are in the next round."""
    original_1HW = stored.tensor("update_saliency_original")[None].float() / 255
    with torch.no_grad():
        predictions, alike = network.predict(stored.tensor("features")[:1])
        saliency_1HW = refined_saliency(predictions.refined_saliency_B1HW, original_1HW)
        maps_1CHW = resized(refined_maps(predictions.class_maps_BKHW, alike), original_1HW.shape[1:])
    ids = np.flatnonzero(stored["labels"][0])
    label_HW = agreement(maps_1CHW[0].numpy()[ids], ids.tolist(), saliency_1HW[0].numpy())
    return {"update_saliency": saliency_1HW[0], "update_cam": maps_1CHW, "update_label": label_HW}


SYSTEM = System(outputs)
