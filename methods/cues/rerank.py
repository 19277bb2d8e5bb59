"""After RISOD (Ma et al., 2008.05397): objects of several cues are ranked across photos, and the winners kept.

Only the idea is public. Here objects are the connected regions of the cues' maps, a small network on stored features
of an object's box and of a larger one learns to order objects of different photos as the cues' mean does, each object
is held against those of the photos most alike, and the mean of the cues counts inside the winners' boxes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cost, FeatureRequest, Fit, Photo, Photos, Saliency, Surroundings, TrainingOptions
from methods.fusing import FusingCue, FusingOptions, mean_map

if TYPE_CHECKING:
    import torch

    from methods.objects import SalientObject

SAME = 1 - 1e-5
"""The cosine above which a stored photo is the photo itself, which has no vote on its own objects."""


class RerankOptions(FusingOptions):
    """What an object is, how objects are ordered, and which of them win."""

    level: int = Field(4, ge=0, le=4, description="of the backbone's features")
    least: float = Field(0.01, ge=0, lt=1, description="share of the photo that an object covers at least")
    context: float = Field(2.0, ge=1, le=10, description="sides of the box around an object, in its own sides")
    hidden: int = Field(64, ge=1, le=4096)
    gap: float = Field(0.05, gt=0, lt=1, description="mean saliency by which objects differ at least to be in an order")
    margin: float = Field(0.5, gt=0, le=100, description="by how much scores of an ordered pair shall differ")
    training: TrainingOptions = TrainingOptions(epochs=20, batch=64, learning_rate=0.01)
    neighbours: int = Field(10, ge=1, le=1000, description="photos most alike, whose objects vote")
    winners: Literal["best", "winning"] = Field(
        "winning", description="of a photo: the object with most votes, or all that win more often than they lose too"
    )


class _Found(NamedTuple):
    """The objects of some photos: whose they are, the cues' mean score, and what the network sees of them."""

    photo_M: NDArray[np.int64]
    score_M: NDArray[np.float32]
    seen_MC: torch.Tensor


class Rerank(FusingCue):
    """The mean of the cues inside the boxes of winning objects, 0 elsewhere; a photo without objects keeps the mean."""

    options_model = RerankOptions
    options: RerankOptions
    apply_options = frozenset({"neighbours", "winners"})
    fit_cost = Cost(0.001, once=0.03, power=0)
    apply_cost = Cost(0.02, power=0)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """One level of the backbone of the plain photo."""
        return (FeatureRequest(level=self.options.level),)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """One level of the backbone of the plain photo."""
        return self.fit_features()

    def fit(self, photos: Photos, surroundings: Surroundings) -> Fit:
        """Order pairs of objects of different photos; without objects in two photos, none is ordered."""
        import torch

        from methods.networks.ranking import ObjectRanker, order_loss
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        found, photos_NC = self._all_objects(photos, surroundings)
        ranker = ObjectRanker(2 * photos_NC.shape[1], self.options.hidden).to(surroundings.device)
        share, seen_MC = surroundings.share, found.seen_MC.to(surroundings.device)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            others = rng.integers(0, len(found.photo_M), len(rows))
            is_pair = found.photo_M[rows] != found.photo_M[others]
            apart = found.score_M[rows] - found.score_M[others]
            order = np.sign(apart) * is_pair * (np.abs(apart) >= self.options.gap)
            own, other = share.of(rows), share.of(others)
            differences = ranker(seen_MC[own]) - ranker(seen_MC[other])
            order_N = torch.from_numpy(share.of(order)).to(differences)
            return {"order": order_loss(differences, order_N, self.options.margin)}

        log: tuple[Mapping[str, float], ...] = ()
        is_ordered = len(np.unique(found.photo_M)) > 1
        if is_ordered:
            log = train(ranker, groups_of(ranker), len(found.photo_M), step, self.options.training, surroundings)
        else:
            # Then all objects are equal, and all of them win.
            torch.nn.init.zeros_(ranker.score.weight)
        with torch.no_grad():
            scores_M = ranker(seen_MC).float().cpu()
        reference = {"photos_NC": photos_NC, "photo_M": torch.from_numpy(found.photo_M), "score_M": scores_M}
        return Fit({**named_tensors(ranker=ranker), **reference}, log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        from methods.networks.ranking import ObjectRanker
        from methods.objects import inside, objects_of
        from methods.training import part_of

        ranker = ObjectRanker.of_state(part_of(surroundings.weights, "ranker"))
        for photo in photos:
            maps, size = surroundings.cues(photo.id), surroundings.image_size(photo)
            mean_HW = mean_map(f"photo '{photo.id}'", maps, size)
            if objects := objects_of(maps, self.options.least):
                votes = self._votes(ranker, objects, photo, surroundings)
                mean_HW *= inside([objects[index].box for index in self._winners(votes)], size)
            saliency_HW: Saliency = mean_HW.round().astype(np.uint8)
            yield saliency_HW

    def _winners(self, votes_N: NDArray[np.float32]) -> NDArray[np.int64]:
        """The objects with most votes, several where they are equal, and by option all with more than half."""
        is_winner = votes_N == votes_N.max()
        if self.options.winners == "winning":
            is_winner |= votes_N > 0
        return np.flatnonzero(is_winner)

    def _votes(
        self, ranker: torch.nn.Module, objects: Sequence[SalientObject], photo: Photo, surroundings: Surroundings
    ) -> NDArray[np.float32]:
        """The votes for each of a photo's objects by all objects of the photos most alike, and by those beside it."""
        import torch

        from methods.networks.ranking import votes

        features_CHW = surroundings.features_CHW(photo, *self.apply_features())
        stored = surroundings.weights
        alike_N = torch.nn.functional.cosine_similarity(features_CHW.mean((1, 2))[None], stored["photos_NC"])
        alike_N[alike_N > SAME] = -2
        nearest = alike_N.topk(min(self.options.neighbours, len(alike_N))).indices
        others_M = stored["score_M"][torch.isin(stored["photo_M"], nearest[alike_N[nearest] > -2])]
        with torch.inference_mode():
            scores_N = ranker(self._seen_NC(objects, features_CHW, surroundings.image_size(photo)))
        found_N: NDArray[np.float32] = votes(scores_N, torch.cat([others_M, scores_N])).numpy()
        return found_N

    def _all_objects(self, photos: Photos, surroundings: Surroundings) -> tuple[_Found, torch.Tensor]:
        """The objects of all photos, and each photo's mean feature (N, C)."""
        import torch

        from methods.objects import objects_of

        numbers, scores, seen, means = [], [], [], []
        for number, photo in enumerate(photos):
            features_CHW = surroundings.features_CHW(photo, *self.fit_features())
            means.append(features_CHW.mean((1, 2)))
            objects = objects_of(surroundings.cues(photo.id), self.options.least)
            numbers += [number] * len(objects)
            scores += [one.score for one in objects]
            seen.append(self._seen_NC(objects, features_CHW, surroundings.image_size(photo)))
        found = _Found(np.array(numbers, np.int64), np.array(scores, np.float32), torch.cat(seen))
        return found, torch.stack(means)

    def _seen_NC(
        self, objects: Sequence[SalientObject], features_CHW: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """What the network sees of objects: features of the box and of that around it, (N, 2C)."""
        from methods.objects import enlarged, pooled_C

        seen_NC = features_CHW.new_zeros((len(objects), 2 * len(features_CHW)))
        for row, one in zip(seen_NC, objects, strict=True):
            around = enlarged(one.box, self.options.context, size)
            for half, box in zip(row.chunk(2), (one.box, around), strict=True):
                half.copy_(pooled_C(features_CHW, box, size))
        return seen_NC
