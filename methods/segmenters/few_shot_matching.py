"""SCCNet (Wang et al., SIGSPATIAL 2023) as a segmenter: n masks are not a lesson but examples, held beside each photo.

The network is the released one; what it learns from is not: here pairs of the n masks themselves, on features of the
frozen backbone, and some of its queries do not show the class, since nobody says which classes a photo of val shows.
Formulas in docs/methods.md §10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import (
    Cost,
    FeatureRequest,
    Fit,
    Options,
    Photo,
    Photos,
    PseudoLabelled,
    Segmenter,
    Surroundings,
    TrainingOptions,
    Weights,
)
from settings.masks import resize_mask
from settings.records import UNKNOWN, Mask

if TYPE_CHECKING:
    import torch

    from methods.networks.matching import MatchingNetwork

LEVELS = (2, 3, 4)
"""timm's feature levels whose positions are held against each other, one map each."""
PAIRS = 32
"""Pairs of a photo and an example a pass."""
LEAST_PIXELS = 4
"""Of a class at the masks' size, below which a photo is no example of it."""

Width = Annotated[int, Field(ge=4, le=256, multiple_of=4)]
Side = Annotated[int, Field(ge=2, le=32)]


class FewShotMatchingOptions(Options):
    """The network, the examples, and the training. Released: widths 16, 64, 128, grids 32, 16, 8 at 256 pixels."""

    self_mask: Literal["one_sided", "both_sides"] = Field(
        "both_sides",
        description="what is held against the part of a photo that its first mask covers: all of it, or that part",
    )
    examples: int = Field(5, ge=1, le=50, description="masks of each class, at most, that a photo is held beside")
    widths: tuple[Width, Width, Width] = (8, 16, 16)
    grids: tuple[Side, Side, Side] = Field((16, 8, 4), description="sides to which levels 2, 3 and 4 are resized")
    negatives: float = Field(0.3, ge=0, lt=1, description="the share of pairs whose query does not show the class")
    training: TrainingOptions = TrainingOptions(
        epochs=4, batch=8, optimizer="adamw", learning_rate=0.002, weight_decay=0.01
    )


@dataclass(frozen=True)
class Examples:
    """Photos with masks, on the network's grids: what pairs are drawn from."""

    features: Sequence[torch.Tensor]
    """(2, photos, 1, C, side, side) a level: plain, then mirrored."""
    masks_NHW: NDArray[np.uint8]
    has_class_NK: NDArray[np.bool_]


class FewShotMatching(Segmenter):
    """Every class is looked for by itself, by examples that vote; where several are found, the likeliest counts."""

    options_model = FewShotMatchingOptions
    options: FewShotMatchingOptions
    modes = ("frozen",)
    fit_cost = Cost(0.04)
    # Beside thirty examples.
    apply_cost = Cost(0.24)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """Three levels of each photo, plain and mirrored."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Three levels of each photo, plain."""
        return tuple(FeatureRequest(level=level) for level in LEVELS)

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train on pairs of photos that show a class; the weights hold the examples too.

        Raises ValueError where no mask shows a class.
        """
        import torch

        from methods.networks.matching import MatchingNetwork
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        o, share, device = self.options, surroundings.share, surroundings.device
        # A budget of steps repeats few masks: each is one example.
        photos = tuple({photo.id: photo for photo in data.photos}.values())
        known = self._examples(photos, data, surroundings)
        network = MatchingNetwork((1, 1, 1), o.widths, o.self_mask).to(device)
        levels = [level.to(device) for level in known.features]
        masks_NHW = torch.from_numpy(known.masks_NHW).to(device)
        queries = np.flatnonzero(known.has_class_NK.any(1))

        def features(rows: NDArray[np.int64], flips: NDArray[np.bool_]) -> list[torch.Tensor]:
            return [level[flips.astype(np.int64), rows] for level in levels]

        def truths_BHW(rows: NDArray[np.int64], flips: NDArray[np.bool_], classes: NDArray[np.int64]) -> torch.Tensor:
            truth_BHW = one_class(masks_NHW[rows], torch.from_numpy(classes).to(device))
            truth_BHW[flips] = truth_BHW[flips].flip(2)
            return truth_BHW

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            items = len(rows)
            pairs = [self._pair(queries[row % len(queries)], known.has_class_NK, rng) for row in rows]
            flips = rng.random((2, items)) < 0.5
            query, support, classes = (share.of(values) for values in np.array(pairs).T)
            of_query, of_support = (share.of(flip) for flip in flips)
            truth_BHW = truths_BHW(query, of_query, classes)
            # An example's unknown pixels do not show the class.
            support_BHW = truths_BHW(support, of_support, classes) == 1
            decided = share.even((truth_BHW != UNKNOWN).sum(), items)
            return network.losses(
                features(query, of_query), features(support, of_support), support_BHW.byte(), truth_BHW, decided
            )

        groups = groups_of(network, bias_factor=o.training.bias_factor)
        log = train(network, groups, len(data.photos), step, o.training, surroundings)
        return Fit({**named_tensors(network=network), **self._kept(known)}, log)

    def _examples(self, photos: Sequence[Photo], data: PseudoLabelled, surroundings: Surroundings) -> Examples:
        """The features and masks of all photos; ValueError where no mask shows a class."""
        import torch

        side, classes = surroundings.backbone.size // 4, data.label_space.foreground
        masks_NHW = np.stack([resize_mask(data.pseudo_label(photo.id), side, side) for photo in photos])
        pixels_NK = np.stack([(masks_NHW == value).sum((1, 2)) for value in range(1, classes + 1)], 1)
        has_class_NK = pixels_NK >= LEAST_PIXELS
        if not has_class_NK.any():
            raise ValueError(f"none of the {len(photos)} masks shows {LEAST_PIXELS} pixels of a class")
        ids = [photo.id for photo in photos]
        features = []
        for index, level in enumerate(LEVELS):
            requests = [FeatureRequest(flip=flip, level=level) for flip in (False, True)]
            both = [self._on_grid(ids, request, index, surroundings) for request in requests]
            features.append(torch.stack(both))
        return Examples(features, masks_NHW, has_class_NK)

    def _on_grid(
        self, ids: Sequence[str], request: FeatureRequest, index: int, surroundings: Surroundings
    ) -> torch.Tensor:
        """The features of some photos at the grid of a level, (photos, 1, C, side, side)."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        side = self.options.grids[index]
        found = []
        for photo_id in ids:
            features_1CHW = surroundings.stored.features_BCHW([photo_id], [request])
            found.append(adaptive_avg_pool2d(features_1CHW, (side, side)))
        return torch.stack(found).contiguous()

    def _pair(self, query: int, has_class_NK: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int, int]:
        """(query, example, class): by chance one that the query shows, or one that it lacks."""
        shown_K = has_class_NK[query]
        absent_K = has_class_NK.any(0) & ~shown_K
        is_negative = rng.random() < self.options.negatives and absent_K.any()
        class_id = int(rng.choice(np.flatnonzero(absent_K if is_negative else shown_K)))
        showing = np.flatnonzero(has_class_NK[:, class_id])
        # A photo is no example for itself, but where there is no other.
        others = showing[showing != query]
        return int(query), int(rng.choice(others if len(others) else showing)), class_id

    def _kept(self, known: Examples) -> Weights:
        """The examples of each class that show most of it, as tensors beside the network's."""
        import torch

        rows, classes = [], []
        for class_id, has_N in enumerate(known.has_class_NK.T):
            pixels_N = (known.masks_NHW == class_id + 1).sum((1, 2)) * has_N
            largest = np.argsort(-pixels_N, kind="stable")[: self.options.examples]
            for row in largest[pixels_N[largest] > 0]:
                rows.append(int(row))
                classes.append(class_id)
        masks_NHW = torch.from_numpy(known.masks_NHW[rows] == np.array(classes)[:, None, None] + 1).byte()
        levels = {f"example.level{level}": known.features[index][0, rows] for index, level in enumerate(LEVELS)}
        return {**levels, "example.masks": masks_NHW, "example.classes": torch.tensor(classes)}

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """The likeliest of the classes that the votes find at a pixel; background where they find none."""
        import torch

        from methods.networks.matching import MatchingNetwork
        from methods.training import part_of

        device = surroundings.device
        state = part_of(surroundings.weights, "network")
        network = MatchingNetwork.of_state(state, self.options.self_mask).to(device).eval()
        kept = {name: tensor.to(device) for name, tensor in part_of(surroundings.weights, "example").items()}
        for photo in photos:
            plain = enumerate(self.apply_features())
            query = [self._on_grid([photo.id], request, index, surroundings).to(device) for index, request in plain]
            with torch.inference_mode():
                logits_M2HW = self._logits(network, query, kept, surroundings)
                mask = found_classes(logits_M2HW, kept["classes"], surroundings.image_size(photo))
            yield mask

    def _logits(
        self,
        network: MatchingNetwork,
        query: Sequence[torch.Tensor],
        kept: Weights,
        surroundings: Surroundings,
    ) -> torch.Tensor:
        """The merged logits of a photo beside every example, (examples, 2, h, w)."""
        import torch

        from methods.features import batches

        found = []
        for rows in batches(range(len(kept["masks"])), surroundings.batch(PAIRS)):
            examples = [kept[f"level{level}"][list(rows)] for level in LEVELS]
            repeated = [level.expand(len(rows), -1, -1, -1, -1) for level in query]
            found.append(network(repeated, examples, kept["masks"][list(rows)]).merged_B2HW)
        return torch.cat(found)


def one_class(masks_BHW: torch.Tensor, classes_B: torch.Tensor) -> torch.Tensor:
    """1 where a mask shows the class (0-based) that is asked of it, else 0, 255 where it is unknown; uint8."""
    truth_BHW = (masks_BHW == classes_B[:, None, None] + 1).byte()
    truth_BHW[masks_BHW == UNKNOWN] = UNKNOWN
    return truth_BHW


def found_classes(logits_M2HW: torch.Tensor, classes_M: torch.Tensor, size: tuple[int, int]) -> Mask:
    """The class of each pixel at `size` from the logits of all examples, whose classes are given; uint8."""
    import torch

    from methods.networks.grids import resized
    from methods.networks.matching import votes

    best_HW = torch.zeros(size, device=logits_M2HW.device)
    winner_HW = torch.zeros(size, dtype=torch.uint8, device=logits_M2HW.device)
    for class_id in sorted(set(classes_M.tolist())):
        logits_K2HW = resized(logits_M2HW[classes_M == class_id], size, align_corners=True)
        likely_HW = logits_K2HW.softmax(1)[:, 1].mean(0)
        is_found_HW = votes(logits_K2HW[:, None])[0].bool() & (likely_HW > best_HW)
        winner_HW[is_found_HW] = class_id + 1
        best_HW[is_found_HW] = likely_HW[is_found_HW]
    mask: Mask = winner_HW.cpu().numpy()
    return mask
