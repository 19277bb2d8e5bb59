"""LOCA (google-research/scenic): targets, Sinkhorn's rounds, the losses on a few devices, gradients, moving average."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from methods.crops import Box
from methods.networks.loca import STUDENT_TEMPERATURE, average_into, balanced, cell_map, loca_loss, seen_cells, sinkhorn
from tests.golden.system import Array, Inputs, System

STRIDE = 16
"""Pixels of a token."""
LOGITS = ("position_logits_query0", "position_logits_focal", "cluster_logits_query0", "cluster_logits_focal")


class Targets(NamedTuple):
    """Cells that positions show: of the first photo's pixels, of every first query, of the other queries."""

    cell_map_HW: Array
    query0_BPP: Array
    focal_BQpp: Array


def outputs(stored: Inputs) -> dict[str, Any]:
    targets = targets_of(stored)
    teacher_DBNK = stored.tensor("teacher_logits")
    joint_DBNK = sinkhorn(teacher_DBNK.flatten(0, 2)).reshape(teacher_DBNK.shape)
    found: dict[str, Any] = {
        "cell_map": targets.cell_map_HW,
        "target_query0": targets.query0_BPP,
        "target_focal": targets.focal_BQpp,
        "sinkhorn_small_output": balanced(stored.tensor("sinkhorn_small_input")),
        "sinkhorn_joint": joint_DBNK,
    }
    if "sinkhorn_each_device" in stored:
        each = [sinkhorn(of_device.flatten(0, 1)).reshape(of_device.shape) for of_device in teacher_DBNK]
        found["sinkhorn_each_device"] = torch.stack(each)
    return found | losses(stored, targets, joint_DBNK)


def targets_of(stored: Inputs) -> Targets:
    height, width = stored["image_size"].tolist()
    maps = [cell_map((height, width), Box(*box), int(stored["cells"])) for box in stored["reference_box"].tolist()]
    pixels = stored["query_pixels"].tolist()
    seen = []
    for map_HW, boxes, flips in zip(
        maps, stored["query_boxes"].tolist(), stored["query_flipped"].tolist(), strict=True
    ):
        each = zip(boxes, pixels, flips, strict=True)
        seen.append([seen_cells(map_HW, Box(*box), side, side // STRIDE, flip) for box, side, flip in each])
    return Targets(maps[0], np.array([one[0] for one in seen]), np.array([one[1:] for one in seen]))


def losses(stored: Inputs, targets: Targets, clusters_DBNK: torch.Tensor) -> dict[str, Any]:
    position_q, position_f, cluster_q, cluster_f = logits = [stored.tensor(name).requires_grad_() for name in LOGITS]
    devices, photos, kept = len(position_q), position_q.shape[1], stored["query0_kept"]
    answers_NK = torch.cat([cluster_q.flatten(0, 2), cluster_f.flatten(0, 2)])
    mean_K = (answers_NK / STUDENT_TEMPERATURE).softmax(dim=1).mean(dim=0)
    terms = []
    for device in range(devices):
        mine = slice(device * photos, (device + 1) * photos)
        first_BP = targets.query0_BPP[mine].reshape(photos, -1)[:, kept]
        # Query by query: the first of every photo, then the second of every photo.
        others_NP = targets.focal_BQpp[mine].swapaxes(0, 1).reshape(-1, targets.focal_BQpp[0, 0].size)
        photo_N = np.concatenate(
            [
                np.repeat(np.arange(photos), first_BP.shape[1]),
                np.repeat(np.tile(np.arange(photos), len(others_NP) // photos), others_NP.shape[1]),
            ]
        )
        cells_N = torch.from_numpy(np.concatenate([first_BP.ravel(), others_NP.ravel()]))
        terms.append(
            loca_loss(
                torch.cat([position_q[device].flatten(0, 1), position_f[device].flatten(0, 1)]),
                torch.cat([cluster_q[device].flatten(0, 1), cluster_f[device].flatten(0, 1)]),
                cells_N,
                clusters_DBNK[device][torch.from_numpy(photo_N), cells_N.clamp(min=0)],
                mean_K,
            )
        )
    found: dict[str, Any] = {
        "loss_position": torch.stack([each.position for each in terms]),
        "loss_cluster": torch.stack([each.cluster for each in terms]),
        "loss_me_max": torch.stack([each.me_max for each in terms]),
        "loss": torch.stack([each.total for each in terms]),
    }
    if devices == 1 and "grad_cluster_query0" in stored:
        slopes = dict(zip(LOGITS, torch.autograd.grad(terms[0].total, logits), strict=True))
        names = [name for name in LOGITS if f"grad_{name.replace('_logits', '')}" in stored]
        found |= {f"grad_{name.replace('_logits', '')}": slopes[name] for name in names}
        averaged_K = cluster_q.detach()[0, 0, 0].clone()
        moved_K = averaged_K - slopes["cluster_logits_query0"][0, 0, 0]
        average_into([averaged_K], [moved_K], stored.number("ema_momentum"))
        found["ema_after_cluster_query0_first_row"] = averaged_K
    return found


SYSTEM = System(
    outputs,
    allowed=(("grad_.*", 1e-4), ("cell_map|target_.*", 0.0), (".*", 2e-5)),
    left_out=(("overlap_boxes", "the released training does not read them"),),
)
