"""After InMARS (arXiv 2107.00691): superpixels are clustered by mutual information, and then named by classes.

Of InMARS an abstract is public. The loss is IMSAT's (Hu et al., ICML 2017), as released (`methods/networks/imsat.py`);
superpixels are SLIC's (Achanta et al., TPAMI 2012), described by features of the frozen backbone (docs/neighbours.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

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
from settings.errors import Impossible
from settings.images import resize
from settings.masks import resize_mask
from settings.records import UNKNOWN, Mask, WeakSet

if TYPE_CHECKING:
    import torch
    from torch import nn

COMPACTNESS = 10.0
"""SLIC's weight of place beside colour, its usual one."""
MARGINAL = 4.0
"""IMSAT's μ: how much the entropy of the mean answer counts beside that of each answer, as released."""
INFORMATION = 0.1
"""IMSAT's λ: the weight of the information loss beside that of the perturbation, as released."""


class SuperpixelClustersOptions(Options):
    """Superpixels, clusters and their names."""

    clusters: int = Field(12, ge=2, le=999, description="how many; those beyond the classes are background")
    clusters_by: Literal["information", "k_means", "random"] = Field(
        "information", description="the floors: k-means on the same features, or a cluster drawn for each superpixel"
    )
    name_by: Literal["dev_masks", "image_labels"] = Field(
        "dev_masks",
        description="the masks that `reveal` shows, or image-level labels: then no mask is read",
    )
    superpixels: int = Field(100, ge=2, le=2048, description="asked of SLIC a photo; how many came is in the log")
    side: int = Field(112, ge=16, le=1024, description="of the square in which they are found (pixels)")
    level: int = Field(4, ge=1, le=4, description="of the backbone's features")
    learnt_from: int = Field(4096, ge=16, le=65536, description="superpixels of all photos, drawn at random")
    width: int = Field(256, ge=8, le=4096, description="of the two hidden layers")
    radius: float = Field(0.25, gt=0, le=10, description="of a perturbation, in distances to the 11th neighbour")
    training: TrainingOptions = TrainingOptions(
        epochs=20, batch=256, optimizer="adamw", learning_rate=2e-3, weight_decay=0.0
    )


class Regions(NamedTuple):
    """The superpixels of one photo."""

    place_HW: NDArray[np.int64]
    """Which of them a pixel of the square belongs to."""
    features_RC: torch.Tensor
    """The mean features of each."""


class SuperpixelClusters(Segmenter):
    """A pixel is of the class that its superpixel's cluster is called by."""

    options_model = SuperpixelClustersOptions
    options: SuperpixelClustersOptions
    modes = ("frozen",)
    fit_cost = Cost(0.001, power=0, once=0.04)
    apply_cost = Cost(0.04, power=0)

    @property
    def needs_pseudo_labels(self) -> bool:
        """Only where masks name the clusters."""
        return self.options.name_by == "dev_masks"

    @property
    def supervision(self) -> str:
        """`I` where image-level labels name the clusters; else the recipe's, which reveals masks."""
        return "I" if self.options.name_by == "image_labels" else ""

    def check_installed(self, where: str) -> None:
        """Raise Impossible without scikit-image, which finds the superpixels."""
        if find_spec("skimage") is None:
            raise Impossible(where, "no module skimage", "the package scikit-image", "pip install scikit-image")

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """One level of each photo."""
        return (FeatureRequest(level=self.options.level),)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The same level."""
        return self.fit_features()

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Cluster superpixels of the setting's own photos, then name the clusters.

        Raises ValueError for fewer superpixels than clusters, and without a photo that could name them.
        """
        import torch

        assert surroundings.weak is not None
        own = tuple(photo for photo in surroundings.weak.photos if photo.source == "target")
        weak = WeakSet(own, surroundings.weak.label_space)
        known = {photo.id: photo for photo in (*own, *data.photos)}
        regions: dict[str, Regions] = {}
        for done, photo in enumerate(known.values(), 1):
            regions[photo.id] = self._regions(photo, surroundings)
            surroundings.progress(done, len(known), "photos")
        features_NC = torch.cat([regions[photo.id].features_RC for photo in own])
        if len(features_NC) < self.options.clusters:
            raise ValueError(f"{len(features_NC)} superpixels for {self.options.clusters} clusters: ask for fewer")
        weights, log = self._clustered(features_NC, surroundings)
        weights["rng_seed"] = torch.tensor(surroundings.rng_seed)
        found = {name: self._clusters_of(photo, regions[name], weights) for name, photo in known.items()}
        if self.needs_pseudo_labels:
            names = self._named_by_masks(data, found)
        else:
            names = self._named_by_labels(weak, found)
        weights["names"] = torch.from_numpy(names)
        came = len(features_NC) / len(own)
        return Fit(weights, tuple({**row, "superpixels": came} for row in log))

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """The class of each pixel's superpixel, from the square to the photo's size by nearest neighbour."""
        names = surroundings.weights["names"].numpy().astype(np.uint8)
        for photo in photos:
            regions = self._regions(photo, surroundings)
            mask_HW = names[self._clusters_of(photo, regions, surroundings.weights)]
            yield resize_mask(mask_HW, *surroundings.image_size(photo))

    def _regions(self, photo: Photo, surroundings: Surroundings) -> Regions:
        """A photo's superpixels, and the mean of bilinearly enlarged features over each."""
        import torch
        from skimage.segmentation import slic

        from methods.networks.grids import resized

        options = self.options
        square = resize(photo.image(), options.side, options.side)
        place_HW = slic(square, n_segments=options.superpixels, compactness=COMPACTNESS, start_label=0)
        features_CHW = surroundings.features_CHW(photo, FeatureRequest(level=options.level))
        large_CHW = resized(features_CHW[None], (options.side, options.side))[0]
        place_P = torch.from_numpy(place_HW.reshape(-1))
        count = int(place_P.max()) + 1
        sums_CR = large_CHW.new_zeros(len(large_CHW), count).index_add_(1, place_P, large_CHW.flatten(1))
        return Regions(place_HW, (sums_CR / torch.bincount(place_P, minlength=count)).T.contiguous())

    def _clustered(
        self, features_NC: torch.Tensor, surroundings: Surroundings
    ) -> tuple[Weights, tuple[dict[str, float], ...]]:
        """What tells a superpixel's cluster, from superpixels drawn of all, and the log of what was learnt."""
        import torch

        rng = np.random.default_rng(surroundings.rng_seed)
        drawn = rng.permutation(len(features_NC))[: self.options.learnt_from]
        mean_C, deviation_C = features_NC.mean(0), features_NC.std(0).clamp_min(1e-6)
        scale: Weights = {"mean_C": mean_C, "deviation_C": deviation_C}
        learnt_NC = (features_NC[drawn] - mean_C) / deviation_C
        if self.options.clusters_by == "random":
            return scale, ({"epoch": 0},)
        if self.options.clusters_by == "k_means":
            from sklearn.cluster import KMeans

            means = KMeans(self.options.clusters, n_init=4, random_state=surroundings.rng_seed)
            centres_KC = means.fit(learnt_NC.double().numpy()).cluster_centers_
            return {**scale, "centres_KC": torch.from_numpy(centres_KC).float()}, ({"epoch": 0},)
        network, log = self._trained(learnt_NC, surroundings)
        return {**scale, **network}, log

    def _trained(
        self, vectors_NC: torch.Tensor, surroundings: Surroundings
    ) -> tuple[Weights, tuple[dict[str, float], ...]]:
        """IMSAT on these vectors: every process sees the whole batch, whose clusters' sizes are to be alike."""
        import torch

        from methods.networks.imsat import adversarial, information_loss, neighbour_distance
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        options, device = self.options, surroundings.device
        radius_N = (options.radius * neighbour_distance(vectors_NC)).to(device)
        vectors_NC = vectors_NC.to(device)
        network = self._network(vectors_NC.shape[1]).to(device)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            batch_NC = vectors_NC[rows]
            clean_NK = network(batch_NC)
            noise_NC = torch.from_numpy(rng.standard_normal(batch_NC.shape, np.float32)).to(device)
            with kept_statistics(network):
                moved = adversarial(network, batch_NC, clean_NK, noise_NC, radius_N[rows])
            return {
                "divergence": moved.loss,
                "information": INFORMATION * information_loss(clean_NK, MARGINAL).loss,
            }

        groups = groups_of(network, bias_factor=options.training.bias_factor)
        log = train(network, groups, len(vectors_NC), step, options.training, surroundings)
        return named_tensors(network=network), tuple(dict(row) for row in log)

    def _network(self, channels: int) -> nn.Module:
        from methods.networks.imsat import ClusterNet

        return ClusterNet(channels, (self.options.width, self.options.width), self.options.clusters)

    def _clusters_of(self, photo: Photo, regions: Regions, weights: Weights) -> NDArray[np.int64]:
        """The cluster of every pixel of a photo's square."""
        import torch

        from methods.training import part_of

        if self.options.clusters_by == "random":
            digest = sha256(f"{int(weights['rng_seed'])}/{photo.id}".encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8]))
            drawn: NDArray[np.int64] = rng.integers(self.options.clusters, size=len(regions.features_RC))
            return drawn[regions.place_HW]
        scaled_RC = (regions.features_RC - weights["mean_C"]) / weights["deviation_C"]
        if self.options.clusters_by == "k_means":
            nearest_R = torch.cdist(scaled_RC, weights["centres_KC"]).argmin(1)
        else:
            network = self._network(scaled_RC.shape[1]).eval()
            network.load_state_dict(part_of(weights, "network"))
            with torch.inference_mode():
                nearest_R = network(scaled_RC).argmax(1)
        clusters_HW: NDArray[np.int64] = nearest_R.numpy()[regions.place_HW]
        return clusters_HW

    def _named_by_masks(self, data: PseudoLabelled, found: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """One to one by the Hungarian method, so that as many pixels of the masks as can be are right."""
        side, values = self.options.side, data.label_space.foreground + 1
        counts_KV = np.zeros((self.options.clusters, values), np.int64)
        for photo_id in {photo.id for photo in data.photos}:
            mask_HW = resize_mask(data.pseudo_label(photo_id), side, side)
            known_HW = mask_HW != UNKNOWN
            np.add.at(counts_KV, (found[photo_id][known_HW], mask_HW[known_HW]), 1)
        if not counts_KV.any():
            raise ValueError("no mask with a known pixel, by which clusters could be named")
        return names_of(counts_KV)

    def _named_by_labels(self, weak: WeakSet, found: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """One to one by how a cluster's share of a photo goes with the photo's labels."""
        shares = [np.bincount(found[photo.id].ravel(), minlength=self.options.clusters) for photo in weak.photos]
        agreement_KL = correlations(np.stack(shares).astype(np.float64), weak.labels_NK().astype(np.float64))
        return names_of(np.pad(agreement_KL.clip(min=0), ((0, 0), (1, 0))))


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms keep their running statistics within: perturbed inputs shall not count, as released."""
    from torch.nn import BatchNorm1d

    norms = [module for module in network.modules() if isinstance(module, BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def names_of(agreement_KV: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
    """The mask value of each cluster, 0 (background) for one that goes with none.

    `agreement_KV` says how well clusters and mask values agree: the sum over pairs, one to one, is the largest.
    """
    from methods.networks.imsat import best_matching

    names_K = np.zeros(len(agreement_KV), np.int64)
    for cluster, value in best_matching(agreement_KV).items():
        if agreement_KV[cluster, value] > 0:
            names_K[cluster] = value
    return names_K


def correlations(shares_NK: NDArray[np.float64], labels_NL: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's of each column of the one with each of the other, (K, L); 0 for a column of one value."""
    sides = []
    for values in (shares_NK, labels_NL):
        centred = values - values.mean(0)
        length = np.linalg.norm(centred, axis=0)
        sides.append(centred / np.where(length > 0, length, 1))
    correlation_KL: NDArray[np.float64] = sides[0].T @ sides[1]
    return correlation_KL
