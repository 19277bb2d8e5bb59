"""After ECGAN (Tang et al., ICLR 2023; arXiv 2003.13898): photos are drawn from pseudo labels, and added with these to
segmentation training.

The branches, their gates and the losses' weights are the released ones (`methods/networks/ecgan.py`); the generator
under them is small, features of the suite's backbone take the place of VGG's, edges are Sobel's instead of Canny's, and
the style of another photo makes a drawn one differ from the one that its label is of (docs/neighbours.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cost, DrawnPair, Fit, Localized, Options, PairPretraining, Surroundings, TrainingOptions
from settings.images import resize
from settings.masks import resize_mask
from settings.records import Image, Mask

if TYPE_CHECKING:
    import torch

    from methods.networks.backbones import Backbone
    from methods.networks.synthesis import Discriminator, Generator

LEVELS = (1, 2)
"""Of the backbone: the first gives the style, both the perceptual loss, the second the distance."""
HELD_OUT = 8
"""One photo in so many is not learnt from: the distance is measured on them."""
LEAST = 4
"""Photos with a pseudo label, of which one is held out."""
WEIGHTS = {"image": 1.0, "edge": 1.0, "refined": 2.0}
"""What the three things drawn count in the losses, as released."""
MATCHING = 10.0
"""The weight of the distances of the discriminator's features and of the backbone's, as released."""
WORSE = 1.5
"""How many times as far from held-out photos as before training: then the generator has diverged."""
BATCH = 16
"""Photos drawn at once."""


class SynthesisOptions(Options):
    """The generator, its training and its control."""

    pairs: int = Field(128, ge=1, le=100_000, description="drawn photos that are added to segmentation training")
    side: int = Field(64, ge=32, le=512, multiple_of=32, description="of a drawn photo (pixels)")
    width: int = Field(16, ge=4, le=256, multiple_of=4, description="channels of the generator's last layers")
    edges: Literal["photo", "noise"] = Field("photo", description="noise: the control, the edge branch learns noise")
    training: TrainingOptions = TrainingOptions(
        epochs=8, batch=8, optimizer="adamw", learning_rate=2e-3, betas=(0.0, 0.9), weight_decay=0.0
    )


class Known(NamedTuple):
    """Photos at the side at which they are drawn."""

    photos_N3HW: torch.Tensor
    """In −1..1."""
    masks_NHW: torch.Tensor
    """Pseudo labels, uint8."""
    last_NChw: torch.Tensor
    """The backbone's features of the last of `LEVELS`."""
    styles_NS: torch.Tensor
    """Mean and deviation of each channel of the first."""


class Batch(NamedTuple):
    """What of the photos one step learns from."""

    rows: NDArray[np.int64]
    flips: NDArray[np.bool_]
    noise_seed: int


class Nets(NamedTuple):
    """What is trained, and the frozen backbone that judges beside the discriminator."""

    generator: Generator
    discriminator: Discriminator
    backbone: Backbone


class Synthesis(PairPretraining):
    """Each drawn photo has the layout of one photo's pseudo label and the style of another photo."""

    options_model = SynthesisOptions
    apply_options = frozenset({"pairs"})
    fit_cost = Cost(0.05, power=0, channels="width", usual_channels=16)
    options: SynthesisOptions

    @property
    def pairs(self) -> int:
        """As the option says."""
        return self.options.pairs

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train generator and discriminator; `frechet` in the log is how far drawn photos are from held-out ones.

        Raises TrainingDiverged for a loss that is no number, ValueError where drawn photos end up far further from
        held-out ones than they began, and for fewer than four photos.
        """
        import torch
        from torch import nn

        from methods.networks.backbones import build
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        device, training, share = surroundings.device, self.options.training, surroundings.share
        if len(data.weak.photos) < LEAST:
            raise ValueError(f"{len(data.weak.photos)} photos with a pseudo label: {LEAST} at least, to draw others by")
        known = self._known(data, surroundings)
        held_out = np.arange(0, len(known.masks_NHW), HELD_OUT)
        learnt = np.setdiff1d(np.arange(len(known.masks_NHW)), held_out)
        mean_S, deviation_S = known.styles_NS[learnt].mean(0), known.styles_NS[learnt].std(0).clamp_min(1e-6)
        known = known._replace(styles_NS=(known.styles_NS - mean_S) / deviation_S)
        backbone = build(surroundings.backbone, LEVELS).requires_grad_(False).eval().to(device)
        nets = Nets(*self._networks(data.weak.label_space.foreground + 1, len(mean_S)), backbone)
        trained = nn.ModuleDict({"generator": nets.generator, "discriminator": nets.discriminator}).to(device)
        distance = Distance(nets, known, held_out)
        steps_an_epoch = max(1, len(learnt) // training.batch)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            flips, noise_seed = rng.random(len(rows)) < 0.5, int(rng.integers(2**62))
            frechet = distance.once_in(steps_an_epoch)
            batch = Batch(share.of(learnt[rows]), share.of(flips), noise_seed)
            return {**self._losses(nets, known, batch), "frechet": torch.tensor(frechet, device=device)}

        groups = [*groups_of(nets.generator), *groups_of(nets.discriminator)]
        # The distance is in the log, and never trained on.
        log = train(trained, groups, len(learnt), step, training, surroundings, begins={"frechet": training.epochs})
        before, after = log[0]["frechet"], distance.measured()
        if not after < WORSE * before:
            told = f"drawn photos are {after:.3g} from held-out ones after training, {before:.3g} before"
            raise ValueError(f"the generator diverged: {told}; try a lower learning_rate")
        reached = [*(row["frechet"] for row in log[1:]), after]
        told_rows = tuple({**row, "frechet": at_end} for row, at_end in zip(log, reached, strict=True))
        scale = {"mean_S": mean_S, "deviation_S": deviation_S}
        return Fit({**named_tensors(generator=nets.generator), **scale}, told_rows)

    def draw(self, data: Localized, surroundings: Surroundings) -> Iterator[DrawnPair]:
        """Layouts in random order, mirrored at random, each in the style of a photo that shows one of its classes."""
        import torch

        from methods.features import batches
        from methods.training import part_of

        weights, device = surroundings.weights, surroundings.device
        rng = np.random.default_rng(surroundings.rng_seed)
        known = self._known(data, surroundings)
        styles_NS = (known.styles_NS - weights["mean_S"]) / weights["deviation_S"]
        generator, _ = self._networks(data.weak.label_space.foreground + 1, styles_NS.shape[1])
        generator.load_state_dict(part_of(weights, "generator"))
        generator.eval().to(device)
        layouts = np.resize(rng.permutation(len(styles_NS)), self.options.pairs)
        classes_NV = shown(known.masks_NHW.numpy(), generator.values)
        styles = np.array([other_photo(classes_NV, int(row), rng) for row in layouts])
        flips = rng.random(len(layouts)) < 0.5
        for some in batches(range(len(layouts)), surroundings.batch(BATCH)):
            at = list(some)
            masks_BHW = turned(known.masks_NHW[layouts[at]], flips[at])
            with torch.inference_mode():
                drawn = generator(masks_BHW.to(device), styles_NS[styles[at]].to(device))
                images_BHW3 = ((drawn.refined + 1) * 127.5).round().byte().movedim(1, -1).cpu()
            for image_HW3, mask_HW in zip(images_BHW3, masks_BHW, strict=True):
                image: Image = image_HW3.numpy()
                mask: Mask = mask_HW.numpy()
                yield DrawnPair(image, mask)

    def _networks(self, values: int, style: int) -> tuple[Generator, Discriminator]:
        from methods.networks.synthesis import Discriminator, Generator

        return Generator(values, style, self.options.width), Discriminator(values, self.options.width)

    def _known(self, data: Localized, surroundings: Surroundings) -> Known:
        """All photos, with their pseudo labels and what the frozen backbone says of them."""
        import torch

        from methods.features import batches
        from methods.networks.backbones import build

        assert data.pseudo_label is not None
        side, photos = self.options.side, data.weak.photos
        squares = [resize(photo.image(), side, side) for photo in photos]
        masks = [resize_mask(data.pseudo_label(photo.id), side, side) for photo in photos]
        backbone = build(surroundings.backbone, LEVELS).for_inference(surroundings.device)
        styles, last = [], []
        for some in batches(squares, BATCH):
            with torch.no_grad():
                levels = backbone(backbone.to_input(np.stack(some)).to(surroundings.device))
            styles.append(torch.cat([levels[0].mean((2, 3)), levels[0].std((2, 3))], dim=1).cpu())
            last.append(levels[-1].cpu())
        photos_N3HW = torch.from_numpy(np.stack(squares)).movedim(-1, 1) / 127.5 - 1
        return Known(photos_N3HW, torch.from_numpy(np.stack(masks)), torch.cat(last), torch.cat(styles))

    def _losses(self, nets: Nets, known: Known, batch: Batch) -> dict[str, torch.Tensor]:
        """The generator's three terms and the discriminator's, summed over what is drawn, each with its weight."""
        import torch

        from methods.networks.ecgan import hinge_of_fake, hinge_of_generator, hinge_of_real
        from methods.networks.synthesis import below_scores, edges_of_photos, matched, scores, semantics

        generator, discriminator, backbone = nets
        styles_BS = known.styles_NS[batch.rows].to(next(generator.parameters()).device)
        photos_B3HW = turned(known.photos_N3HW[batch.rows], batch.flips).to(styles_BS.device)
        masks_BHW = turned(known.masks_NHW[batch.rows], batch.flips).to(styles_BS.device)
        edges_B3HW = edges_of_photos(photos_B3HW)
        if self.options.edges == "noise":
            noise_B1HW = np.random.default_rng(batch.noise_seed).uniform(
                -1, 1, (len(edges_B3HW), 1, *masks_BHW.shape[1:])
            )
            edges_B3HW = torch.from_numpy(noise_B1HW).to(edges_B3HW).expand_as(edges_B3HW)
        semantics_BKHW = semantics(masks_BHW, generator.values)
        drawn = generator(masks_BHW, styles_BS)
        losses = dict.fromkeys(("adversarial", "matching", "perceptual", "discriminator"), photos_B3HW.new_zeros(()))
        for true_B3HW, names in ((photos_B3HW, ("image", "refined")), (edges_B3HW, ("edge",))):
            true = discriminator(semantics_BKHW, true_B3HW)
            for name in names:
                image_B3HW, weight = getattr(drawn, name), WEIGHTS[name]
                judged = discriminator.unmoved(semantics_BKHW, image_B3HW)
                apart = discriminator(semantics_BKHW, image_B3HW.detach())
                losses["adversarial"] = losses["adversarial"] + weight * hinge_of_generator(scores(judged))
                losses["matching"] = losses["matching"] + weight * MATCHING * matched(
                    below_scores(judged), below_scores(true)
                )
                told_apart = hinge_of_real(scores(true)) + hinge_of_fake(scores(apart))
                losses["discriminator"] = losses["discriminator"] + weight * told_apart
        # A backbone knows photos, and nothing of edges.
        with torch.no_grad():
            looks = backbone(normalised(photos_B3HW, backbone))
        for name in ("image", "refined"):
            found = backbone(normalised(getattr(drawn, name), backbone))
            losses["perceptual"] = losses["perceptual"] + WEIGHTS[name] * MATCHING * matched(found, looks)
        return losses


class Distance:
    """How far photos drawn of held-out labels, each in the style of the next, are from the held-out photos.

    Fréchet's, of features at all positions.
    """

    def __init__(self, nets: Nets, known: Known, held_out: NDArray[np.int64]) -> None:
        self._nets, self._held_out = nets, held_out
        self._masks_BHW = known.masks_NHW[held_out]
        self._styles_BS = known.styles_NS[np.roll(held_out, 1)]
        self._true_NC = positions(known.last_NChw[held_out])
        self._asked, self._last = 0, 0.0

    def once_in(self, steps: int) -> float:
        """The distance, measured anew whenever it was asked for so many times."""
        if self._asked % steps == 0:
            self._last = self.measured()
        self._asked += 1
        return self._last

    def measured(self) -> float:
        """The distance as it is now; the generator is as in inference meanwhile."""
        import torch

        from methods.features import batches
        from methods.networks.synthesis import frechet_distance

        generator, _, backbone = self._nets
        device, was_training = next(generator.parameters()).device, generator.training
        generator.eval()
        found = []
        for rows in batches(range(len(self._held_out)), BATCH):
            at = list(rows)
            with torch.no_grad():
                drawn = generator(self._masks_BHW[at].to(device), self._styles_BS[at].to(device))
                found.append(backbone(normalised(drawn.refined, backbone))[-1].cpu())
        generator.train(was_training)
        return frechet_distance(positions(torch.cat(found)), self._true_NC)


def positions(features_BCHW: torch.Tensor) -> NDArray[np.float64]:
    """The features of every position, (B · H · W, C)."""
    vectors_NC: NDArray[np.float64] = features_BCHW.movedim(1, -1).flatten(0, 2).double().numpy()
    return vectors_NC


def normalised(images_B3HW: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """Drawn photos, in −1..1, as the backbone takes them."""
    mean, deviation = (images_B3HW.new_tensor(each)[:, None, None] for each in (backbone.mean_C, backbone.std_C))
    return ((images_B3HW + 1) / 2 - mean) / deviation


def turned(values_BXW: torch.Tensor, flips: NDArray[np.bool_]) -> torch.Tensor:
    """A copy, mirrored where `flips` says."""
    copy_BXW = values_BXW.clone()
    copy_BXW[flips] = values_BXW[flips].flip(-1)
    return copy_BXW


def shown(masks_NHW: NDArray[np.uint8], values: int) -> NDArray[np.bool_]:
    """Which classes each pseudo label shows, (N, `values` − 1): neither background nor unknown pixels are any."""
    return np.stack([(masks_NHW == value).any((1, 2)) for value in range(1, values)], axis=1)


def other_photo(classes_NV: NDArray[np.bool_], row: int, rng: np.random.Generator) -> int:
    """Another photo that shows a class of this one; any other where none does, itself where it is alone."""
    others_N = np.arange(len(classes_NV)) != row
    alike_N = others_N & (classes_NV & classes_NV[row]).any(1)
    for candidates_N in (alike_N, others_N):
        if candidates_N.any():
            return int(rng.choice(np.flatnonzero(candidates_N)))
    return row
