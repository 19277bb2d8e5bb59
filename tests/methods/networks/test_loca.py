"""LOCA's targets, Sinkhorn's rounds, losses and moving average: those of the released program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.crops import Box
from methods.networks.loca import OUTSIDE, average_into, cell_map, loca_loss, seen_cells, sinkhorn

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(params=[1, 2])
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(GOLDEN / f"neighbours_loca_{request.param}.npz") as stored:
        return dict(stored)


def relative(found: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def targets(golden: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The cell map of the first photo, and the cells that all positions of the first query and of the others show."""
    size, cells = tuple(golden["image_size"].tolist()), int(golden["cells"])
    maps = [cell_map(size, Box(*box), cells) for box in golden["reference_box"].tolist()]
    seen = [
        [
            seen_cells(map_HW, Box(*box), pixels, pixels // 16, flipped)
            for box, flipped, pixels in zip(boxes, flips, golden["query_pixels"].tolist(), strict=True)
        ]
        for map_HW, boxes, flips in zip(maps, golden["query_boxes"].tolist(), golden["query_flipped"], strict=True)
    ]
    return maps[0], np.array([one[0] for one in seen]), np.array([one[1:] for one in seen])


def test_targets_of_the_released_program(golden: dict[str, Any]) -> None:
    map_HW, first, others = targets(golden)
    assert np.array_equal(map_HW, golden["cell_map"])
    assert np.array_equal(first, golden["target_query0"])
    assert np.array_equal(others, golden["target_focal"])


def test_clusters_of_the_released_program(golden: dict[str, Any]) -> None:
    """Over all devices together, or each by itself; the small case is given before its softmax or behind it."""
    teacher = torch.from_numpy(golden["teacher_logits"])
    joint = sinkhorn(teacher.flatten(0, 2)).reshape(teacher.shape)
    assert relative(joint, golden["sinkhorn_joint"]) <= 2e-5
    if "sinkhorn_each_device" in golden:
        each = torch.stack([sinkhorn(of_device.flatten(0, 1)).reshape(of_device.shape) for of_device in teacher])
        assert relative(each, golden["sinkhorn_each_device"]) <= 2e-5
    assert torch.allclose(joint.sum(dim=-1), torch.ones(()), atol=1e-6)


def test_losses_and_gradients_of_the_released_program(golden: dict[str, Any]) -> None:
    _, first, others = targets(golden)
    kept, devices = golden["query0_kept"], len(golden["teacher_logits"])
    names = ("position_logits_query0", "position_logits_focal", "cluster_logits_query0", "cluster_logits_focal")
    position_q, position_f, cluster_q, cluster_f = (torch.from_numpy(golden[name]).requires_grad_() for name in names)
    clusters = sinkhorn(torch.from_numpy(golden["teacher_logits"]).flatten(0, 2)).reshape(
        golden["teacher_logits"].shape
    )
    shared = torch.cat([each.flatten(0, 2) for each in (cluster_q, cluster_f)])
    mean_K = (shared / 0.1).softmax(dim=1).mean(dim=0)
    photos = len(first) // devices
    for device in range(devices):
        mine = slice(device * photos, (device + 1) * photos)
        seen_q = first[mine].reshape(photos, -1)[:, kept]
        # Focal queries: the first of every photo, then the second of every photo.
        seen_f = others[mine].transpose(1, 0, 2, 3).reshape(others.shape[1] * photos, -1)
        photo_q = np.repeat(np.arange(photos), seen_q.shape[1])
        photo_f = np.repeat(np.tile(np.arange(photos), others.shape[1]), seen_f.shape[1])
        cells_N = torch.from_numpy(np.concatenate([seen_q.ravel(), seen_f.ravel()]))
        photo_N = torch.from_numpy(np.concatenate([photo_q, photo_f]))
        teacher_NK = clusters[device][photo_N, cells_N.clamp(min=0)]
        position_NC = torch.cat([position_q[device].flatten(0, 1), position_f[device].flatten(0, 1)])
        cluster_NK = torch.cat([cluster_q[device].flatten(0, 1), cluster_f[device].flatten(0, 1)])
        loss = loca_loss(position_NC, cluster_NK, cells_N, teacher_NK, mean_K)
        for found, name in zip((*loss, loss.total), ("position", "cluster", "me_max", ""), strict=True):
            assert found.item() == pytest.approx(golden[f"loss_{name}".rstrip("_")][device], rel=2e-5)
        if devices == 1:
            alone = loca_loss(position_NC, cluster_NK, cells_N, teacher_NK)
            asked = (position_q, cluster_q, cluster_f)
            for found, name in zip(
                torch.autograd.grad(alone.total, asked),
                ("position_query0", "cluster_query0", "cluster_focal"),
                strict=True,
            ):
                assert relative(found, golden[f"grad_{name}"]) <= 1e-4


def test_the_moving_average_of_the_released_program(golden: dict[str, Any]) -> None:
    if "ema_momentum" not in golden:
        return
    old = torch.from_numpy(golden["cluster_logits_query0"])[0, 0, 0].clone()
    new = old - torch.from_numpy(golden["grad_cluster_query0"])[0, 0, 0]
    average_into([old], [new], float(golden["ema_momentum"]))
    assert relative(old, golden["ema_after_cluster_query0_first_row"]) <= 2e-5


def test_positions_outside_the_reference_teach_no_place_and_none_at_all_teaches_nothing() -> None:
    map_HW = cell_map((4, 6), Box(0, 2, 4, 4), 2)
    assert map_HW.tolist() == [[-1, -1, 0, 0, 1, 1]] * 2 + [[-1, -1, 2, 2, 3, 3]] * 2
    assert seen_cells(map_HW, Box(0, 0, 4, 4), 4, 2, mirrored=True).tolist() == [[0, -1], [2, -1]]
    logits = torch.zeros(3, 4)
    loss = loca_loss(logits, logits, torch.full((3,), OUTSIDE), torch.full((3, 4), 0.25))
    assert (loss.position.item(), loss.cluster.item()) == (0, 0)
    assert loss.me_max.item() == pytest.approx(-np.log(4))
