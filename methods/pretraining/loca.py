"""LOCA (Caron et al., WACV 2024): the backbone goes on by telling where crops of a photo lie, and what they show.

Targets and losses are those of the released program (docs/neighbours.md). On the grid of a CNN, positions of a query
cannot be left out before the backbone, so that all of its positions learn; the colours are jittered, neither blurred
nor solarised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from methods.base import Cost, Fit, Localized, Pretraining, Surroundings, TrainingOptions
from methods.crops import Box, random_box
from settings.options import Options
from settings.records import Image

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from methods.networks.backbones import Backbone
    from methods.networks.loca import Cells
    from methods.networks.loca_net import LocaNet, Teacher

MOMENTUM = 0.996
"""Of the teacher in the first step; it rises to 1 along a cosine."""
LARGE, SMALL = (0.32, 1.0), (0.05, 0.32)
"""Areas of the reference and the first query, and of the others, as shares of the photo."""
LEVELS = (1, 4)
"""Of the backbone: its last, and one that every reader of features may want."""
JITTER = (0.4, 0.4, 0.2, 0.1)
"""Strengths of brightness, contrast, saturation and hue, as released."""
JITTERED, GREY = 0.8, 0.2
"""How often colours are jittered, and taken away."""
CROPPED_FROM = 2.0
"""Crops are taken from squares of so many times the backbone's size."""


class LocaOptions(Options):
    """The crops, the head and its training."""

    queries: int = Field(2, ge=0, le=20, description="small query crops a photo, beside one large one")
    query_size: int = Field(96, ge=32, le=512, multiple_of=32, description="side of the small ones (pixels)")
    kept: float = Field(0.2, gt=0, le=1, description="share of the reference's positions that queries may look at")
    width: int = Field(128, ge=16, le=1024, multiple_of=8, description="channels of the head")
    prototypes: int = Field(256, ge=2, le=8192)
    positions: Literal["true", "shuffled"] = Field("true", description="shuffled: the control, cells at random")
    fixed_norms: bool = Field(True, description="batch norms of the backbone keep their statistics")
    training: TrainingOptions = TrainingOptions(
        epochs=2, batch=8, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05
    )


class Loca(Pretraining):
    """Position, cluster and mean-entropy losses, unweighted; the teacher is a moving average."""

    options_model = LocaOptions
    fit_cost = Cost(0.3)
    options: LocaOptions

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on photos without labels; each step sees one reference and all queries of each photo of the batch."""
        import torch

        from methods.inputs import Squares
        from methods.networks.backbones import build
        from methods.networks.loca import average_into
        from methods.networks.loca_net import LocaNet, Teacher
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        options, backbone, device = self.options, surroundings.backbone, surroundings.device
        networks = [build(backbone, LEVELS) for _ in range(2)]
        grids = Grids(_side(networks[0], backbone.size), _side(networks[0], options.query_size))
        nets = [LocaNet(network, grids.large**2, options.width, options.prototypes) for network in networks]
        student, teacher = nets[0].to(device), Teacher(*nets).to(device)
        photos = data.weak.photos
        squares, steps = Squares(photos, backbone.size), max(1, len(photos) // options.training.batch)
        steps *= options.training.epochs

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            if teacher.steps:
                momentum = teacher.momentum(MOMENTUM, steps)
                average_into(tuple(teacher.net.parameters()), tuple(student.parameters()), momentum)
                average_into(_statistics(teacher.net), _statistics(student), momentum)
            teacher.steps += 1
            _prepare(student, teacher, options.fixed_norms)
            crops = [_crops(squares.at(row, CROPPED_FROM), options, backbone.size, grids, rng) for row in rows]
            run = int(rng.integers(grids.large**2))
            return _losses(student, teacher, surroundings.share.of(crops), options.kept, run, surroundings, len(rows))

        training = options.training
        groups = groups_of(student.backbone, training.backbone_factor, training.bias_factor)
        head = [module for name, module in student.named_children() if name != "backbone"]
        groups += groups_of(torch.nn.ModuleList(head), bias_factor=training.bias_factor)
        groups += groups_of(torch.nn.ParameterList([student.place]))
        modules = torch.nn.ModuleDict({"student": student, "teacher": teacher})
        log = train(modules, groups, len(photos), step, training, surroundings)
        return Fit(named_tensors(backbone=student.backbone.body), log)


class Grids(NamedTuple):
    """Positions a side that the backbone gives of a large crop and of a small one."""

    large: int
    small: int


class _Crops(NamedTuple):
    """What a step sees of one photo."""

    reference: Image
    queries: tuple[Image, ...]
    """The large one first."""
    cells: tuple[NDArray[np.int64], ...]
    """Of every query, the cell of the reference that each position shows, in raster order."""


def _crops(square: Image, options: LocaOptions, size: int, grids: Grids, rng: np.random.Generator) -> _Crops:
    """Draw the reference, which is not mirrored, and the queries, which are half the time."""
    from methods.networks.loca import cell_map, seen_cells

    whole = Box(0, 0, *square.shape[:2])
    reference = random_box(whole, LARGE, rng)
    map_HW = cell_map(square.shape[:2], reference, grids.large)
    queries, cells = [], []
    for index in range(1 + options.queries):
        area, side, positions = (SMALL, options.query_size, grids.small) if index else (LARGE, size, grids.large)
        box, mirrored = random_box(whole, area, rng), bool(rng.random() < 0.5)
        seen_PP = seen_cells(map_HW, box, side, positions, mirrored)
        cells.append(
            _control(seen_PP.reshape(-1), grids, rng) if options.positions == "shuffled" else seen_PP.reshape(-1)
        )
        image = _coloured(box.cut(square, side), rng)
        queries.append(image[:, ::-1] if mirrored else image)
    return _Crops(_coloured(reference.cut(square, size), rng), tuple(queries), tuple(cells))


def _coloured(image: Image, rng: np.random.Generator) -> Image:
    from methods.jitter import ColourJitter, jittered

    jitter, is_jittered, is_grey = ColourJitter(*JITTER).draw(rng), rng.random() < JITTERED, rng.random() < GREY
    if is_jittered:
        image = jittered(image, jitter)
    if is_grey:
        image = np.repeat(image.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    return image


def _control(seen_P: Cells, grids: Grids, rng: np.random.Generator) -> Cells:
    """As many positions with a target as before, each with a cell at random."""
    return np.where(seen_P >= 0, rng.integers(grids.large**2, size=len(seen_P)), seen_P)


def _prepare(student: LocaNet, teacher: Teacher, fixed_norms: bool) -> None:
    """The teacher as in inference; so are the student's batch norms, where they keep their statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    teacher.eval()
    if fixed_norms:
        for module in student.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _statistics(net: LocaNet) -> tuple[torch.Tensor, ...]:
    """The running means and variances of batch norms; counters are no averages."""
    return tuple(buffer for buffer in net.buffers() if buffer.is_floating_point())


def _losses(
    student: LocaNet,
    teacher: Teacher,
    crops: Sequence[_Crops],
    kept_share: float,
    run: int,
    surroundings: Surroundings,
    items: int,
) -> dict[str, torch.Tensor]:
    """The three terms over all queries of all photos; `run` is where the run of kept positions begins."""
    import torch

    from methods.networks.loca import OUTSIDE, STUDENT_TEMPERATURE, loca_loss, sinkhorn
    from methods.networks.loca_net import as_positions

    share = surroundings.share

    def features(net: LocaNet, images: Sequence[Image]) -> torch.Tensor:
        squares_BCHW = net.backbone.to_input(np.stack(images)).to(surroundings.device)
        return as_positions(net.backbone(squares_BCHW)[-1])

    with torch.no_grad():
        reference_BQC = features(teacher.net, [crop.reference for crop in crops])
        logits_BQK = share.gathered(teacher.net.clusters(reference_BQC), items)
        clusters_BQK = share.of(sinkhorn(logits_BQK.flatten(0, 1)).reshape(logits_BQK.shape))
    positions = reference_BQC.shape[1]
    kept = (run + torch.arange(max(1, round(kept_share * positions)), device=surroundings.device)) % positions
    found_position, found_cluster, cells, targets = [], [], [], []
    # The large queries at once, then the small ones at once: query by query, photo by photo in each.
    queries = len(crops[0].queries)
    for wanted in (range(1), range(1, queries)):
        if not wanted:
            continue
        images = [crop.queries[index] for index in wanted for crop in crops]
        reference_NQC = reference_BQC[:, kept].repeat(len(wanted), 1, 1)
        located = student(features(student, images), reference_NQC, kept)
        cells_NP = torch.from_numpy(np.stack([crop.cells[index] for index in wanted for crop in crops]))
        cells_NP = cells_NP.to(surroundings.device)
        clusters_NQK = clusters_BQK.repeat(len(wanted), 1, 1)
        at = cells_NP.clamp(min=0)[:, :, None].expand(-1, -1, clusters_NQK.shape[2])
        found_position.append(located.position_BPC.flatten(0, 1))
        found_cluster.append(located.cluster_BPK.flatten(0, 1))
        cells.append(cells_NP.flatten())
        targets.append(clusters_NQK.gather(1, at).flatten(0, 1))
    cluster_NK, cells_N = torch.cat(found_cluster), torch.cat(cells)
    mean_1K = (cluster_NK / STUDENT_TEMPERATURE).softmax(dim=1).mean(dim=0, keepdim=True)
    mean_K = share.gathered(mean_1K * share.weight(items), share.size).sum(dim=0)
    known = share.even((cells_N != OUTSIDE).sum(), items)
    loss = loca_loss(torch.cat(found_position), cluster_NK, cells_N, torch.cat(targets), mean_K, known)
    return {"position": loss.position, "cluster": loss.cluster, "me_max": loss.me_max}


def _side(backbone: Backbone, pixels: int) -> int:
    """Positions a side that the last level has of a square of so many pixels."""
    import torch

    with torch.inference_mode():
        return int(backbone.eval()(torch.zeros(1, 3, pixels, pixels))[-1].shape[2])
