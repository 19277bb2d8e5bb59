"""IMSAT: a clustering network, its information and adversarial losses, gradients, and what its evaluation says."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.imsat import ClusterNet, adversarial, best_matching, information_loss, neighbour_distance
from tests.golden.system import Inputs, System

KINDS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
"""The released names of a layer's parameters, and ours."""


def outputs(stored: Inputs) -> dict[str, Any]:
    net, x_NC = net_of(stored), stored.tensor("x")
    logits_NK = net(x_NC)
    information = information_loss(logits_NK, stored.number("mu"))
    clean_NK = net(x_NC)
    radius_N = stored.number("prop_eps") * stored.tensor("neighbour_distance")
    perturbed = adversarial(net, x_NC, clean_NK, stored.tensor("noise"), radius_N, stored.number("xi"))
    loss = perturbed.loss + stored.number("lam") * information.loss
    loss.backward()
    parameters = dict(net.named_parameters())
    gradients = {}
    for name in stored:
        if name.startswith("grad_"):
            layer, kind = name.removeprefix("grad_").split("_")
            gradients[name] = parameters[f"{layer}.{KINDS[kind]}"].grad
    return {
        "neighbour_distance": neighbour_distance(x_NC),
        "logits": logits_NK,
        "probabilities": logits_NK.softmax(dim=1),
        "entropy_conditional": information.conditional,
        "entropy_marginal": information.marginal,
        "loss_information": information.loss,
        "vat_clean_logits": clean_NK,
        "vat_probe_logits": perturbed.probe_NK,
        "vat_probe_distance": perturbed.probe_distance,
        "vat_perturbation": perturbed.perturbation_NC,
        "vat_adversarial_logits": perturbed.logits_NK,
        "loss_vat": perturbed.loss,
        "loss": loss,
        **gradients,
        **evaluation(stored, net),
    }


def net_of(stored: Inputs) -> ClusterNet:
    first, channels = stored["w_l1_weight"].shape
    clusters, second = stored["w_l3_weight"].shape
    net = ClusterNet(channels, (first, second), clusters)
    names = [name for name in stored if name.startswith("w_")]
    state = {}
    for name in names:
        layer, kind = name.removeprefix("w_").split("_")
        state[f"{layer}.{KINDS[kind]}"] = stored.tensor(name)
    for norm in ("bn1", "bn2"):
        state |= {f"{norm}.running_{kind}": stored.tensor(f"eval_{norm}_{kind}") for kind in ("mean", "var")}
    net.load_state_dict(state, strict=False)
    return net


def evaluation(stored: Inputs, net: ClusterNet) -> dict[str, Any]:
    """With given running statistics."""
    running = {name: value.clone() for name, value in net.state_dict().items() if "running" in name}
    for norm in ("bn1", "bn2"):
        for kind in ("mean", "var"):
            running[f"{norm}.running_{kind}"] = stored.tensor(f"eval_{norm}_{kind}")
    net.load_state_dict(running, strict=False)
    with torch.no_grad():
        share_NK = net.eval()(stored.tensor("x")).softmax(dim=1)
    labels_N, clusters = stored.tensor("labels"), share_NK.shape[1]
    counts_KL = torch.zeros(clusters, clusters, dtype=torch.int64)
    counts_KL.index_put_((share_NK.argmax(dim=1), labels_N), torch.ones(len(labels_N), dtype=torch.int64), True)
    matched = best_matching(counts_KL.numpy())
    return {
        "eval_probabilities": share_NK,
        "eval_accuracy": sum(int(counts_KL[cluster, label]) for cluster, label in matched.items()) / len(labels_N),
        "eval_marginal_entropy": information_loss(share_NK.log(), 1.0).marginal,
    }


SYSTEM = System(outputs, allowed=(("grad_.*|vat_perturbation|vat_adversarial_logits", 1e-4), (".*", 2e-5)))
