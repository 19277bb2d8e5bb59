"""Co-attention between pairs of photos: MCIS (Sun, Wang, Dai, Van Gool, ECCV 2020, arXiv 2007.01947)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from methods.base import (
    PLAIN,
    Cost,
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localizer,
    MapRecords,
    Photos,
    Surroundings,
    TrainingOptions,
)
from methods.pairs import PartnerRule
from methods.photo_inputs import ColourJitterOptions, PhotoInputs
from settings.records import Image, Photo, WeakSet

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from methods.crop_inputs import CropInputs
    from methods.inputs import SquareInputs
    from methods.jitter import Jitter
    from methods.networks.pair_classifier import PairClassifier, Structure, Terms
    from methods.networks.pair_inference import PairInference
    from methods.pairs import Partners, References
    from methods.sharing import Share


APPLIED_TOGETHER = 16
"""Photos whose own features and references are computed before their maps are made."""


class CoAttentionOptions(PhotoInputs):
    """The network, its pairs, its loss, and which maps are read; the defaults of the switches are the paper's."""

    hidden: int = Field(256, ge=0, le=4096, description="channels of the 3×3 layers before the head; 0: none")
    hidden_layers: int = Field(1, ge=1, le=8)
    norm: Literal["batch", "none"] = Field("batch", description="of the hidden layers")
    common: bool = Field(True, description="common co-attention; without it this is CAM on pairs")
    affinity: Literal["learned", "identity"] = "learned"
    contrastive: bool = True
    contrastive_from: int = Field(2, ge=0, description="epoch index at which the contrastive terms begin")
    mirrored_pair: bool = Field(True, description="pair each photo with its mirror image")
    scaled_pairs: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (0.75, 2.0), max_length=4, description="pair each photo with copies at these scales"
    )
    heads: Literal["two", "one"] = Field("two", description="one: the basic maps come from common_head too")
    partners: PartnerRule = Field(
        "any", description="sources of a training pair: any; with_target: at least one target photo; same_source"
    )
    partner_mirrored: bool = Field(True, description="mirror partners at random in training")
    jitter: ColourJitterOptions = Field(ColourJitterOptions(), description="of squares, fine-tuned only")
    references: int = Field(3, ge=0, le=100, description="photos of the same class at inference, for each class")
    inference: Literal["common", "references", "basic", "own", "mixture", "affinity", "common_affinity"] = Field(
        "common",
        description="references: common maps beside references alone; own: common_head on the photo's own features; "
        "mixture (ours): common × basic; affinity (ours): log-sum-exp of the affinities to the references; "
        "common_affinity (ours): common × affinity",
    )
    fusion: Literal["mean", "max"] = "mean"
    training: TrainingOptions = TrainingOptions()

    @model_validator(mode="before")
    @classmethod
    def _reads_what_there_is(cls, given: Any) -> Any:
        """Without the common branch the maps are the basic ones, also for a fit, which is not told the inference."""
        if isinstance(given, dict) and given.get("common") is False:
            return {"inference": "basic", **given}
        return given

    @model_validator(mode="after")
    def _jitters_once(self) -> CoAttentionOptions:
        if self.inputs is not None and self.jitter != ColourJitterOptions():
            raise ValueError("inputs.jitter in place of jitter, where inputs are crops")
        return self

    @property
    def pixels_seen(self) -> float:
        """The photo plain and mirrored and its scaled copies, and its references plain."""
        return 2 + sum(scale**2 for scale in self.scaled_pairs) + self.references

    @model_validator(mode="after")
    def _has_maps(self) -> CoAttentionOptions:
        has_common = self.common and (self.mirrored_pair or self.scaled_pairs or self.references)
        if self.inference in ("common", "mixture") and not has_common:
            raise ValueError(f"common maps (a pair or references) for inference: {self.inference}")
        reads_references = self.inference in ("references", "affinity", "common_affinity")
        if reads_references and not (self.common and self.references):
            raise ValueError(f"the common branch, and references: 1 or more, for inference: {self.inference}")
        return self


class CoAttention(Localizer):
    """Common maps: what of a photo another photo with the same class explains, fused over copies and references."""

    options_model = CoAttentionOptions
    version = 2
    apply_options = frozenset({"references", "inference", "fusion", "aspect"})
    # Layers and, where positions of two photos meet, their pairs: in between.
    fit_cost = Cost(0.011, power=1.25, channels="hidden", usual_channels=256)
    apply_cost = Cost(0.011, power=1.25, channels="hidden", usual_channels=256)
    options: CoAttentionOptions

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The photo plain and mirrored, and its scaled copies."""
        return (PLAIN, FeatureRequest(flip=True), *self._scaled())

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """What is read of a photo; nothing that is stored where it keeps its aspect."""
        return () if self.options.keeps_aspect else self._of_photo()

    def reference_features(self) -> tuple[FeatureRequest, ...]:
        """References are read as they are; nothing that is stored where photos keep their aspect."""
        return (PLAIN,) if self.draws_references and not self.options.keeps_aspect else ()

    @property
    def draws_references(self) -> bool:
        """Whether the maps that `inference` names are made beside references."""
        return self.options.inference not in ("basic", "own") and self.options.references > 0

    def _of_photo(self) -> tuple[FeatureRequest, ...]:
        """The photo plain and mirrored, and its scaled copies where the inference reads common maps of copies."""
        return self.fit_features() if self._reads_copies else (PLAIN, FeatureRequest(flip=True))

    @property
    def _reads_copies(self) -> bool:
        return self.options.inference in ("common", "mixture", "common_affinity")

    def _scaled(self) -> tuple[FeatureRequest, ...]:
        return tuple(FeatureRequest(scale) for scale in self.options.scaled_pairs)

    def _structure(self) -> Structure:
        from methods.networks.pair_classifier import Structure

        o = self.options
        return Structure(o.hidden, o.hidden_layers, o.norm, o.affinity == "learned", o.heads == "two")

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Each photo is an anchor once an epoch, with one partner that shares a class and with copies of itself.

        Anchors and partners are squares or crops; copies are of what the anchor is.
        """
        import torch

        from methods.crop_inputs import CropInputs
        from methods.inputs import training_inputs
        from methods.networks.pair_classifier import PairClassifier, anchor_loss
        from methods.pairs import Partners
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        inputs: SquareInputs | CropInputs
        if self.options.inputs is not None:
            inputs = CropInputs(weak.photos, (4,), self.options.inputs, surroundings)
        else:
            inputs = training_inputs(weak.photos, (4,), surroundings)
        network = PairClassifier(inputs.channels[-1], weak.label_space.foreground, self._structure())
        network.to(surroundings.device)
        partners, labels_NK = Partners(weak, self.options.partners), torch.from_numpy(weak.labels_NK())
        labels_NK = labels_NK.to(surroundings.device)
        share = surroundings.share
        draw: _Draw | _CropDraw
        if isinstance(inputs, CropInputs):
            draw = _CropDraw(self.options, inputs, network, partners)
        else:
            draw = _Draw(self.options, inputs, network, partners, surroundings.bank is None, share)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            others, anchor, partner, copies = draw(rows, rng)
            labels = labels_NK[share.of(rows)], labels_NK[share.of(others)]
            return anchor_loss(network.head, anchor, partner, copies, *labels, self._terms(), share)

        training = self.options.training
        groups = [
            *groups_of(network, bias_factor=training.bias_factor),
            *inputs.groups(training.backbone_factor, training.bias_factor),
        ]
        modules = torch.nn.ModuleDict({"network": network, "inputs": inputs.module})
        begins = {"contrastive": self.options.contrastive_from}
        log = train(modules, groups, len(weak.photos), step, training, surroundings, begins, draw.ahead)
        return Fit(inputs.weights_with(network=network), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """Maps of each photo's own labels in [0, 1]; upsampled bicubically, as the released program does.

        Where photos keep their aspect they are maps at their own size, and references keep theirs too.
        """
        from methods.features import batches

        surroundings = self._looking_at(photos, surroundings)
        references, inference = self._references(surroundings), self._inference(surroundings)
        for batch in batches(photos, surroundings.batch(APPLIED_TOGETHER)):
            self._prepare(batch, inference, references)
            for photo in batch:
                yield self._record(photo, self._maps(photo, inference, references), surroundings)

    def views(self, photo: Photo, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """Basic and own maps, and the common maps by what the photo stood beside."""
        surroundings = self._looking_at((photo,), surroundings)
        inference, references = self._inference(surroundings), self._references(surroundings)
        raw = {"basic": inference.basic(photo.id), "own": inference.own(photo.id)}
        raw |= dict(zip(("mirrored pair", "mirror image"), inference.mirrored_pair(photo.id), strict=True))
        if self._reads_copies:
            raw |= {f"scale {scale:g}": inference.scaled_pair(photo.id, scale) for scale in self.options.scaled_pairs}
        shown = {name: _normalised(maps_KHW[list(photo.labels)]) for name, maps_KHW in raw.items()}
        if self.draws_references and photo.labels:
            shown["references"] = _normalised(_with_references(photo, inference, references))
        return {name: self._record(photo, maps_CHW, surroundings) for name, maps_CHW in shown.items()}

    def scores_NK(self, photos: Photos, surroundings: Surroundings) -> NDArray[np.float32]:
        """Logits of the basic branch."""
        import torch

        inference = self._inference(surroundings)
        scores_NK: NDArray[np.float32] = torch.stack([inference.scores(p.id) for p in photos]).cpu().numpy()
        return scores_NK

    def measures(self, photos: Photos, surroundings: Surroundings) -> Mapping[str, float]:
        """How widely photos attend to one reference each, beside the widest attention possible."""
        surroundings = self._looking_at(photos, surroundings)
        inference, references = self._inference(surroundings), self._references(surroundings, at_least=1)
        labelled = [photo for photo in photos if photo.labels]
        entropies = [inference.entropy(p.id, references.of(p.id, p.labels[0])[0]) for p in labelled]
        widest = [np.log(np.prod(inference.grid(p.id))) for p in labelled]
        return {"attention entropy (nats)": float(np.mean(entropies)), "uniform attention": float(np.mean(widest))}

    def _terms(self) -> Terms:
        from methods.networks.pair_classifier import Terms

        return Terms(self.options.common, self.options.common and self.options.contrastive)

    def _looking_at(self, photos: Photos, surroundings: Surroundings) -> Surroundings:
        """Surroundings whose bank has these photos and their references at their own size, where they keep it."""
        if not self.options.keeps_aspect:
            return surroundings
        from methods.whole_photos import WholeFeatures

        assert surroundings.weak is not None
        return replace(surroundings, bank=WholeFeatures((*surroundings.weak.photos, *photos), surroundings, 4))

    def _record(self, photo: Photo, maps_CHW: NDArray[np.float32], surroundings: Surroundings) -> LocalizationMaps:
        """Maps at the photo's grid: as they are, or at its own size where its grid has a padding."""
        from methods.whole_photos import WholeFeatures

        bank = surroundings.stored
        if isinstance(bank, WholeFeatures):
            return bank.record(photo, maps_CHW)
        return surroundings.record(photo, maps_CHW, "bicubic")

    def _inference(self, surroundings: Surroundings) -> PairInference:
        from methods.networks.pair_classifier import PairClassifier
        from methods.networks.pair_inference import PairInference
        from methods.training import part_of

        network = PairClassifier.of_state(part_of(surroundings.weights, "network"), self._structure())
        one_grid = not self.options.keeps_aspect
        return PairInference(network, surroundings.stored, surroundings.device, one_grid=one_grid)

    def _references(self, surroundings: Surroundings, at_least: int = 0) -> References:
        from methods.pairs import References

        assert surroundings.weak is not None
        return References(surroundings.weak, surroundings.rng_seed, max(at_least, self.options.references))

    def _prepare(self, photos: Photos, inference: PairInference, references: References) -> None:
        """Take what the maps of some photos are made of through the hidden layers, several photos a pass."""
        read = (PLAIN,) if self.options.inference in ("references", "affinity") else self._of_photo()
        inference.prepare([photo.id for photo in photos], read)
        if self.draws_references:
            drawn = [references.of(photo.id, class_id) for photo in photos for class_id in photo.labels]
            inference.prepare((other for ids in drawn for other in ids), [PLAIN])

    def _maps(self, photo: Photo, inference: PairInference, references: References) -> NDArray[np.float32]:
        """The maps that `inference` names, (C, h, w) in [0, 1]."""
        own = list(photo.labels)
        if not own:
            return np.zeros((0, *inference.grid(photo.id)), np.float32)
        if self.options.inference == "own":
            return _normalised(inference.own(photo.id)[own])
        if self.options.inference == "basic":
            return _normalised(inference.basic(photo.id)[own])
        if self.options.inference == "affinity":
            return _affinity(photo, inference, references)
        common_CHW = self._common(photo, inference, references)
        if self.options.inference == "mixture":
            return _normalised(common_CHW * _normalised(inference.basic(photo.id)[own]))
        if self.options.inference == "common_affinity":
            return _normalised(common_CHW * _affinity(photo, inference, references))
        return common_CHW

    def _common(self, photo: Photo, inference: PairInference, references: References) -> NDArray[np.float32]:
        """The fused common maps; with all switches at the paper's values, the five-map mean."""
        from methods.networks.coattention import five_map_mean

        own = list(photo.labels)
        parts = []
        if self.options.mirrored_pair and self._reads_copies:
            parts += [maps_KHW[own] for maps_KHW in inference.mirrored_pair(photo.id)]
        if self._reads_copies:
            parts += [inference.scaled_pair(photo.id, scale)[own] for scale in self.options.scaled_pairs]
        if self.options.references:
            parts.append(_with_references(photo, inference, references))
        maps_CMHW = np.stack([part.float().cpu().numpy() for part in parts], 1)
        fused_CHW = np.stack([five_map_mean(maps_MHW, self.options.fusion) for maps_MHW in maps_CMHW])
        return fused_CHW.astype(np.float32) / np.float32(255)


class _Drawn(NamedTuple):
    """A step's partners, by row, and the features (B, C, h, w) after the hidden layers of this process's share."""

    others: NDArray[np.int64]
    anchor: torch.Tensor
    partner: torch.Tensor
    copies: list[torch.Tensor]
    """Of each kind of copy."""


class _CropDraw:
    """Features of crops: of anchors, of their partners, and of copies of the anchors' crops."""

    def __init__(
        self, options: CoAttentionOptions, inputs: CropInputs, network: PairClassifier, partners: Partners
    ) -> None:
        self._options, self._inputs, self._network, self._partners = options, inputs, network, partners
        self._others: deque[NDArray[np.int64]] = deque()

    def ahead(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Draw the partners of a later step's anchors, and begin to cut the crops of both."""
        self._others.append(self._partners.of(rows, rng))
        self._inputs.ahead(rows, rng)
        self._inputs.ahead(self._others[-1], rng)

    def __call__(self, rows: NDArray[np.int64], rng: np.random.Generator) -> _Drawn:
        """What was drawn ahead for these anchors; drawn now where nothing was."""
        if not self._others:
            self.ahead(rows, rng)
        others = self._others.popleft()
        anchors, partners = self._inputs.draw(rows, rng), self._inputs.draw(others, rng)
        anchor, partner = self._network(anchors.levels()[-1]), self._network(partners.levels()[-1])
        copies = [self._network(anchors.levels(mirrored=True)[-1])] if self._options.mirrored_pair else []
        copies += [self._network(anchors.levels(scale)[-1]) for scale in self._options.scaled_pairs]
        return _Drawn(others, anchor, partner, copies)


class _Draw:
    """Features of squares: of anchors, partners and copies; photos of one size share a pass."""

    ahead = None

    def __init__(
        self,
        options: CoAttentionOptions,
        inputs: SquareInputs,
        network: PairClassifier,
        partners: Partners,
        augmented: bool,
        share: Share,
    ) -> None:
        from methods.jitter import jitter_of

        self._options, self._inputs, self._network, self._share = options, inputs, network, share
        self._partners = partners
        self._jitter = jitter_of(options.jitter) if augmented else None

    def __call__(self, rows: NDArray[np.int64], rng: np.random.Generator) -> _Drawn:
        """The partners are drawn, then what is mirrored, then colours: for the whole batch."""
        all_others = self._partners.of(rows, rng)
        turned = rng.random(len(rows)) < 0.5 if self._options.partner_mirrored else np.zeros(len(rows), np.bool_)
        jitters = [[self._jitter.draw(rng) for _ in rows] for _ in range(2)] if self._jitter else []
        rows, others, turned = self._share.of(rows), self._share.of(all_others), self._share.of(turned)
        jitters = [self._share.of(drawn) for drawn in jitters]
        no, yes = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
        batches = [(rows, no), (others, turned), *([(rows, yes)] if self._options.mirrored_pair else [])]
        if not jitters:
            anchor, partner, *copies = self._pass(batches)
        else:
            anchor, partner = self._pass(batches[:2], augmentation=_each_by_its_own(jitters))
            copies = self._pass(batches[2:]) if batches[2:] else []
        copies += [self._pass([(rows, no)], scale=scale)[0] for scale in self._options.scaled_pairs]
        return _Drawn(all_others, anchor, partner, copies)

    def _pass(self, batches: Sequence[tuple[Any, Any]], **how: Any) -> list[torch.Tensor]:
        rows, flips = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        features_BCHW: torch.Tensor = self._network(self._inputs(rows, flips, **how)[-1])
        return list(features_BCHW.chunk(len(batches)))


def _each_by_its_own(jitters: Sequence[Sequence[Jitter]]) -> Callable[[Image], Image]:
    """Gives photo after photo, in the order of the draws, the jitter that was drawn for it."""
    from methods.jitter import jittered

    drawn = (jitter for part in jitters for jitter in part)
    return lambda image: jittered(image, next(drawn))


def _with_references(photo: Photo, inference: PairInference, references: References) -> torch.Tensor:
    """For each label its common map, (C, h, w), averaged over the references that share it."""
    import torch

    by_label = zip(photo.labels, _by_label(photo, references, inference.with_references), strict=True)
    return torch.stack([part_RKHW[:, class_id].mean(0) for class_id, part_RKHW in by_label])


def _affinity(photo: Photo, inference: PairInference, references: References) -> NDArray[np.float32]:
    """For each label log Σ exp of the affinities to a reference's positions, averaged over its references, (C, h, w).

    Each map is stretched to [0, 1] from its minimum to its maximum, since affinities have no zero of their own.
    """
    import torch

    by_label = _by_label(photo, references, inference.affinities)
    sums_CHW: NDArray[np.float32] = torch.stack([part_RHW.mean(0) for part_RHW in by_label]).cpu().numpy()
    return _normalised(sums_CHW - sums_CHW.min((1, 2), keepdims=True))


def _by_label(
    photo: Photo, references: References, maps_of: Callable[[str, Sequence[str]], torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """For each label what `maps_of` gives of the photo beside the references that share it, (R, …)."""
    import torch

    drawn = [references.of(photo.id, class_id) for class_id in photo.labels]
    maps = maps_of(photo.id, [other for ids in drawn for other in ids])
    return torch.split(maps, [len(ids) for ids in drawn])


def _normalised(maps_CHW: Any) -> NDArray[np.float32]:
    """ReLU, each map divided by its maximum."""
    array_CHW = maps_CHW if isinstance(maps_CHW, np.ndarray) else maps_CHW.float().cpu().numpy()
    positive_CHW = np.maximum(array_CHW, np.float32(0))
    normalised: NDArray[np.float32] = positive_CHW / np.maximum(positive_CHW.max((1, 2), keepdims=True), 1e-8)
    return normalised
