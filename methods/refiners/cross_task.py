"""AuxSegNet (Xu et al., ICCV 2021) as a refiner: segmentation and saliency learn from the maps and a cue, and the
affinity that both dense tasks learn carries the maps along. On features of the frozen backbone; docs/methods.md §4.

`unary: true` is after AuxSegNet+ (Xu et al., TNNLS 2025), of which the abstract alone could be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from methods.base import (
    BackboneOptions,
    Cost,
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localized,
    MapRecords,
    Photos,
    Refiner,
    Surroundings,
    TrainingOptions,
)
from methods.labelers.agreement import AgreementOptions, agreement
from methods.refining import maps_at
from settings.errors import UserError
from settings.images import resize
from settings.options import Options
from settings.records import UNKNOWN, Photo

if TYPE_CHECKING:
    import torch

    from methods.inputs import FrozenInputs
    from methods.networks.cross_task import Alike, CrossTaskNetwork, Predictions

MAX_POSITIONS = 64 * 64
"""A photo has at most so many positions: each is held against every other one."""
FUSION_FACTOR = 0.1
"""Learning rate of the fusion relative to the branches, as released."""
HALF = 0.5
"""Saliency from which a pixel is an object's, for the network's own saliency to learn."""


class CrossTaskOptions(Options):
    """The network, what its affinity is made of, the label rule between rounds, and the training of each round.

    Released at stride 8: width 128, dilations 6, 12, 18, plain SGD at 0.007 in batches of 4, 15 epochs, 4 rounds.
    """

    levels: tuple[Annotated[int, Field(ge=0, le=4)], ...] = Field(
        (4,), min_length=1, description="of the backbone; the affinity is on the grid of the first"
    )
    width: int = Field(64, ge=8, le=1024, multiple_of=8, description="channels of both dense tasks")
    dilations: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 6, 9), description="of the three convolutions of a dense task; released 6, 12, 18 at stride 8"
    )
    affinity: Literal["cross", "segmentation", "saliency", "identity"] = Field(
        "cross", description="of both tasks, of one alone, or none at all: floors of the first"
    )
    unary: bool = Field(False, description="after AuxSegNet+: what all positions of a photo take alike, too")
    maps: Literal["given", "own"] = Field(
        "given",
        description="what the affinity carries along: the maps that come in, or the network's own (as released)",
    )
    rounds: int = Field(2, ge=1, le=10, description="each from the weights before, on labels of the one before")
    map_threshold: float = Field(0.2, ge=0, le=1, description="a map above shows its class, for the labels of a round")
    saliency_threshold: float = Field(0.06, ge=0, le=1, description="saliency above shows an object, for the same")
    dropout: float = Field(0.5, ge=0, lt=1, description="of whole channels before the classifier")
    training: TrainingOptions = TrainingOptions(
        epochs=4, batch=8, optimizer="adamw", learning_rate=0.001, weight_decay=0.01
    )


class CrossTask(Refiner):
    """Maps spread by the affinity, cut at 1, and beside them what the refined saliency leaves as the background.

    Labeler `agreement` makes the method's pseudo labels of these and of the cue.
    """

    options_model = CrossTaskOptions
    options: CrossTaskOptions
    gives_background = True
    needs_cue = True
    # Of the usual two rounds together.
    fit_cost = Cost(0.036, power=1.5, channels="width", usual_channels=64)
    apply_cost = Cost(0.011, power=1.5, channels="width", usual_channels=64)

    def check_backbone(self, backbone: BackboneOptions, where: str) -> None:
        """Raise UserError, naming `where`, where the first level of photos of this size has too many positions."""
        side = backbone.size // min(2 ** (self._levels[0] + 1), backbone.output_stride)
        _check_grid((side, side), where)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The levels that the options name, of each photo plain and mirrored, plain ones first."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in self._levels)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The same levels of each photo, plain."""
        return tuple(FeatureRequest(level=level) for level in self._levels)

    @property
    def _levels(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.options.levels)))

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train in rounds on photos mirrored at random; what a round learned makes the labels of the next.

        Raises ValueError without a cue or where no pixel has a label, UserError for too large a grid.
        """
        import torch

        from methods.inputs import FrozenInputs
        from methods.networks.cross_task import CrossTaskNetwork
        from methods.training import named_tensors

        torch.manual_seed(surroundings.rng_seed)
        o, device = self.options, surroundings.device
        inputs = FrozenInputs(data.weak.photos, self._levels, surroundings.stored, device)
        classes = data.weak.label_space.foreground
        channels = sum(inputs.channels)
        network = CrossTaskNetwork(channels, classes, o.width, o.dilations, o.affinity, o.unary, o.dropout)
        network = network.to(device)
        targets = self._first_targets(data, surroundings)
        log: list[Mapping[str, float]] = []
        for number in range(o.rounds):
            if number:
                targets = self._next_targets(targets, network.eval(), data, surroundings)
            _check_labels(targets)
            log += self._round(number, network, targets, inputs, data, surroundings)
        return Fit(named_tensors(network=network), tuple(log))

    def _round(
        self,
        number: int,
        network: CrossTaskNetwork,
        targets: Targets,
        inputs: FrozenInputs,
        data: Localized,
        surroundings: Surroundings,
    ) -> list[Mapping[str, float]]:
        """Train the network in place on some targets; one row an epoch, counted over all rounds."""
        import torch

        from methods.networks.cross_task import losses
        from methods.networks.grids import joined
        from methods.training import Group, groups_of, train

        share, device, training = surroundings.share, surroundings.device, self.options.training
        labels_NK = torch.from_numpy(data.weak.labels_NK()).to(device)
        saliency_NHW, segmentation_NHW = (
            torch.from_numpy(values).to(device) for values in (targets.is_salient_NHW, targets.labels_NHW)
        )

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            flips, items = rng.random(len(rows)) < 0.5, len(rows)
            rows, flips = share.of(rows), share.of(flips)
            saliency_BHW, segmentation_BHW = saliency_NHW[rows], segmentation_NHW[rows]
            for truth_BHW in (saliency_BHW, segmentation_BHW):
                truth_BHW[flips] = truth_BHW[flips].flip(2)
            predictions = network(joined(inputs(rows, flips)))
            return losses(
                predictions, labels_NK[rows], saliency_BHW, segmentation_BHW, lambda known: share.even(known, items)
            )

        fusion = list(network.fusion.parameters())
        ids = set(map(id, fusion))
        groups = groups_of(network, bias_factor=training.bias_factor)
        groups = [Group([p for p in group.parameters if id(p) not in ids], group.factor) for group in groups]
        groups.append(Group(fusion, FUSION_FACTOR))
        folder = surroundings.checkpoint_folder
        if folder is not None:
            # Every round has a checkpoint of its own: a fit that was killed goes on in the round that it was in.
            folder.mkdir(parents=True, exist_ok=True)
            folder = folder / f"round{number + 1}"
        within = replace(surroundings, checkpoint_folder=folder)
        rows = train(network, groups, len(data.weak.photos), step, training, within)
        return [{**row, "epoch": number * training.epochs + row["epoch"], "round": number + 1} for row in rows]

    def _first_targets(self, data: Localized, surroundings: Surroundings) -> Targets:
        """From the maps and the cue as they are, at a quarter of the backbone's side."""
        import torch

        from methods.networks.cross_task import peaked

        side = surroundings.backbone.size // 4
        original_NHW = np.stack([_cue_at(data, photo, side) for photo in data.weak.photos])
        labels = []
        for photo, saliency_HW in zip(data.weak.photos, original_NHW, strict=True):
            record = data.maps(photo.id)
            maps_1CHW = torch.from_numpy(maps_at(record, (side, side)))[None]
            labels.append(self._label(record, peaked(maps_1CHW)[0].numpy(), saliency_HW))
        return Targets(original_NHW, _binary(original_NHW), np.stack(labels))

    def _next_targets(
        self, targets: Targets, network: CrossTaskNetwork, data: Localized, surroundings: Surroundings
    ) -> Targets:
        """From the affinity and the saliency that a round has learned."""
        import torch

        from methods.networks.cross_task import refined_saliency
        from methods.networks.grids import resized

        saliency, labels = [], []
        for photo, original_HW in zip(data.weak.photos, targets.original_NHW, strict=True):
            predictions, alike = self._predict(network, photo, surroundings)
            original_1HW = torch.from_numpy(original_HW)[None].to(surroundings.device)
            saliency_1HW = refined_saliency(predictions.refined_saliency_B1HW, original_1HW)
            record = data.maps(photo.id)
            maps_CHW = self._refined(record, predictions, alike)
            maps_1CHW = resized(maps_CHW[None], original_HW.shape)
            saliency.append(saliency_1HW[0].cpu().numpy())
            labels.append(self._label(record, maps_1CHW[0].cpu().numpy(), saliency[-1]))
        return Targets(targets.original_NHW, _binary(np.stack(saliency)), np.stack(labels))

    def _label(
        self, record: LocalizationMaps, maps_CHW: NDArray[np.float32], saliency_HW: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        if not record.class_ids:
            return np.zeros(saliency_HW.shape, np.uint8)
        o = self.options
        rule = AgreementOptions(map_threshold=o.map_threshold, saliency_threshold=o.saliency_threshold)
        return agreement(maps_CHW, record.class_ids, saliency_HW, rule)

    def _refined(self, record: LocalizationMaps, predictions: Predictions, alike: Alike | None) -> torch.Tensor:
        """The maps of a record's classes after the affinity, (C, h, w), up to 2."""
        import torch

        from methods.networks.cross_task import refined_maps

        maps_1CHW = predictions.class_maps_BKHW[:, list(record.class_ids)]
        if self.options.maps == "given":
            grid = (maps_1CHW.shape[2], maps_1CHW.shape[3])
            maps_1CHW = torch.from_numpy(maps_at(record, grid))[None].to(maps_1CHW.device)
        with torch.inference_mode():
            return refined_maps(maps_1CHW, alike)[0]

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Maps of each photo after the affinity, and 1 − the refined saliency as their background."""
        network = self._network(surroundings)
        for photo in photos:
            record = maps(photo.id)
            if not record.class_ids:
                yield record
                continue
            predictions, alike = self._predict(network, photo, surroundings)
            maps_CHW = self._refined(record, predictions, alike).clamp(max=1).cpu().numpy()
            background_HW = 1 - predictions.refined_saliency_B1HW.sigmoid()[0, 0].cpu().numpy()
            yield replace(record, maps_CHW=maps_CHW, background_HW=background_HW, upsampling="bilinear")

    def views(self, photo: Photo, maps: LocalizationMaps, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """Each dense task before and after the affinity: the probability of the photo's classes, and of any object."""
        predictions, _ = self._predict(self._network(surroundings), photo, surroundings)
        rows = [class_id + 1 for class_id in maps.class_ids]
        found = {}
        for name, logits_1SHW in (
            ("segmentation, first", predictions.segmentation_BSHW),
            ("segmentation, refined", predictions.refined_segmentation_BSHW),
        ):
            found[name] = logits_1SHW.softmax(1)[0, rows]
        for name, logits_1SHW in (
            ("saliency, first", predictions.saliency_B1HW),
            ("saliency, refined", predictions.refined_saliency_B1HW),
        ):
            # Every class has the same: saliency knows none.
            found[name] = logits_1SHW.sigmoid()[0].expand(len(rows), -1, -1)
        return {
            name: replace(maps, maps_CHW=values_CHW.cpu().numpy(), background_HW=None, upsampling="bilinear")
            for name, values_CHW in found.items()
        }

    def _network(self, surroundings: Surroundings) -> CrossTaskNetwork:
        from methods.networks.cross_task import CrossTaskNetwork
        from methods.training import part_of

        o, state = self.options, part_of(surroundings.weights, "network")
        return CrossTaskNetwork.of_state(state, o.dilations, o.affinity).to(surroundings.device).eval()

    def _predict(
        self, network: CrossTaskNetwork, photo: Photo, surroundings: Surroundings
    ) -> tuple[Predictions, Alike | None]:
        """Of one photo, without gradients."""
        import torch

        from methods.networks.grids import joined

        device = surroundings.device
        levels = [surroundings.features_CHW(photo, one)[None].to(device) for one in self.apply_features()]
        _check_grid(levels[0].shape[2:], "refiner cross_task")
        with torch.inference_mode():
            return network.predict(joined(levels))


@dataclass(frozen=True)
class Targets:
    """What a round learns from, one of each photo at one size."""

    original_NHW: NDArray[np.float32]
    """The cue's saliency in [0, 1]."""
    is_salient_NHW: NDArray[np.uint8]
    """1 where the saliency of this round is at least a half."""
    labels_NHW: NDArray[np.uint8]
    """0 background, class id + 1, 255 where maps and saliency disagree."""


def _cue_at(data: Localized, photo: Photo, side: int) -> NDArray[np.float32]:
    """The cue of a photo at (side, side), in [0, 1]; ValueError where the data have no cue."""
    if data.saliency is None:
        raise ValueError("no saliency: this refiner learns from a cue")
    return resize(data.saliency(photo.id), side, side).astype(np.float32) / np.float32(255)


def _binary(saliency_NHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (saliency_NHW >= HALF).astype(np.uint8)


def _check_labels(targets: Targets) -> None:
    if (targets.labels_NHW == UNKNOWN).all():
        raise ValueError(f"maps and saliency of {len(targets.labels_NHW)} photos agree on no pixel: all are {UNKNOWN}")


def _check_grid(grid: Sequence[int], where: str) -> None:
    """Raise UserError where every position of a grid cannot be held against every other one."""
    height, width = grid
    if height * width > MAX_POSITIONS:
        found = f"a grid of {height}×{width} positions, and {height * width:,} times as many affinities"
        mend = "deeper levels, a greater backbone.output_stride or a smaller backbone.size"
        raise UserError(where, found, f"at most {MAX_POSITIONS:,} positions", mend)
