"""DeepLab-LargeFOV on pseudo labels, trained on crops: the co-attention paper's segmenter (Sun et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from methods.backbone_names import check_backbone
from methods.base import (
    NAMED_WEIGHTS,
    BackboneOptions,
    Fit,
    Photos,
    PseudoLabelled,
    Segmenter,
    Surroundings,
    TrainingOptions,
)
from methods.initial_weights import weight_files
from methods.photo_inputs import ColourJitterOptions, Scale, Side
from methods.segmenting import Pass, SegmenterOptions, check_usable, mask_of
from settings.images import resize
from settings.options import Options, absolute
from settings.records import Image, Mask

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from methods.networks.backbones import Backbone
    from methods.networks.largefov import LargeFovHead

OUTPUT_STRIDE: Literal[8] = 8


class Encoder(Options):
    """The segmentation network's backbone, where it is not the suite's."""

    name: str = "resnet101"
    weights: str = Field("pretrained", description="pretrained | random | a .safetensors or .pth file")

    @field_validator("weights")
    @classmethod
    def _leads_somewhere(cls, weights: str) -> str:
        # Kept as it was written, since it stands in keys; what can be wrong with it is told where options are read.
        absolute(Path(weights))
        return weights

    @property
    def file(self) -> Path | None:
        """The file of the weights, absolute; None where they are downloaded, packaged or random."""
        return None if self.weights in NAMED_WEIGHTS else absolute(Path(self.weights))


class DeepLabLargeFovOptions(SegmenterOptions):
    """Network, crops and training; the defaults are the paper's but for the encoder, which was ResNet-101.

    `training.learning_rate` is the head's: ten times the backbone's, and twice for the bias of its scores.
    """

    encoder: Encoder | None = Field(None, description="null: the suite's backbone")
    width: int = Field(1024, ge=8, le=4096, description="channels of the head")
    later_options = frozenset({"longer_side", "jitter"})
    crop: int = Field(321, ge=33, le=2049, description="side of the training crops in pixels")
    scales: tuple[Scale, Scale] = Field((0.7, 1.3), description="training photos are resized by a factor in this range")
    longer_side: tuple[Side, Side] | None = Field(
        None, description="instead of scales: they are resized to a longer side in this range (pixels)"
    )
    jitter: ColourJitterOptions = Field(ColourJitterOptions(), description="of the training photos' colours")
    iterations: PositiveInt | None = Field(None, description="instead of training.epochs; rounded to whole epochs")
    training: TrainingOptions = TrainingOptions(
        epochs=15,
        batch=10,
        learning_rate=1e-2,
        nesterov=False,
        weight_decay=5e-4,
        backbone_factor=0.1,
        bias_factor=2.0,
    )


class DeepLabLargeFov(Segmenter):
    """Cross-entropy on random crops, batch norms fixed; inference on whole photos."""

    options_model = DeepLabLargeFovOptions
    version = 2
    apply_options = frozenset({"inference"})
    modes = ("fine_tuned",)
    options: DeepLabLargeFovOptions

    @property
    def seen(self) -> str:
        """Crops in training, and photos of their own size."""
        return f"crops {self.options.crop}"

    def check_backbone(self, backbone: BackboneOptions, where: str) -> None:
        """Refuse a suite's backbone, or an encoder in its place, that cannot have output stride 8."""
        check_backbone(self._encoder(backbone), f"{where}.encoder" if self.options.encoder else "backbone")

    def weight_files(self) -> tuple[Path, ...]:
        """The encoder's, where it is not the suite's backbone and not random."""
        encoder = self.options.encoder
        if encoder is None:
            return ()
        options = BackboneOptions(name=encoder.name, weights=encoder.weights)
        return weight_files(options, "segmenter.encoder.weights")

    def places(self) -> dict[str, Any]:
        """The encoder with its weights as an absolute path, where they are a file; nothing else lies anywhere."""
        encoder = self.options.encoder
        if encoder is None or encoder.file is None:
            return {}
        return {"encoder": {"name": encoder.name, "weights": str(encoder.file)}}

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train backbone and head; raises ValueError when no pixel has a usable pseudo label."""
        import torch

        from methods.crops import Crops
        from methods.jitter import jitter_of
        from methods.networks.backbones import build
        from methods.networks.cross_entropy import mean_of_photos
        from methods.networks.largefov import FixedBatchNorm, LargeFovHead, enlarged
        from methods.training import groups_of, named_tensors, train

        check_usable(data)
        torch.manual_seed(surroundings.rng_seed)
        device = surroundings.device
        network = build(self._encoder(surroundings.backbone), (4,))
        head = LargeFovHead(network.channels[-1], data.label_space.foreground + 1, self.options.width)
        modules = torch.nn.ModuleDict({"head": head, "backbone": FixedBatchNorm(network)}).to(device)
        red, green, blue = (round(255 * mean) for mean in network.mean_C)
        o, share = self.options, surroundings.share
        crops, jitter = Crops(o.crop, o.scales, (red, green, blue), o.longer_side), jitter_of(o.jitter)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            masks = [data.pseudo_label(data.photos[row].id) for row in rows]
            places = [crops.place((mask_HW.shape[0], mask_HW.shape[1]), rng) for mask_HW in masks]
            jitters = [jitter.draw(rng) if jitter else () for _ in rows]
            drawn = zip(share.of(rows), share.of(masks), share.of(places), share.of(jitters), strict=True)
            cut = [
                crops.cut(data.photos[row].image(), mask_HW, place, changes) for row, mask_HW, place, changes in drawn
            ]
            images_BHWC, truth_BHW = (np.stack(parts) for parts in zip(*cut, strict=True))
            logits_BCHW = head(network(network.to_input(images_BHWC).to(device))[-1]).float()
            large_BCHW = enlarged(logits_BCHW, truth_BHW.shape[1:])
            return {"cross_entropy": mean_of_photos(large_BCHW, torch.from_numpy(truth_BHW).to(device).long())}

        training = self._training(len(data.photos))
        groups = groups_of(head, bias_factor=training.bias_factor)
        groups += groups_of(network, training.backbone_factor, training.bias_factor)
        log = train(modules, groups, len(data.photos), step, training, surroundings)
        return Fit(named_tensors(head=head, backbone=network.body), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """Scores of the photo at its own size, or of several copies: averaged as probabilities; argmax."""
        from methods.networks.backbones import build
        from methods.networks.largefov import LargeFovHead
        from methods.training import part_of

        weights, device = surroundings.weights, surroundings.device
        head = LargeFovHead.of_state(part_of(weights, "head")).to(device).eval()
        encoder = self._encoder(surroundings.backbone)
        network = build(encoder, (4,), part_of(weights, "backbone")).for_inference(device)
        inference = self.options.inference
        for photo in photos:
            image = photo.image()
            logits = [_logits_CHW(network, head, image, one, device) for one in inference.passes]
            yield mask_of(logits, (image.shape[0], image.shape[1]), inference, photo)

    def _encoder(self, backbone: BackboneOptions) -> BackboneOptions:
        own = self.options.encoder.model_dump() if self.options.encoder else {}
        return backbone.model_copy(update={**own, "output_stride": OUTPUT_STRIDE})

    def _training(self, photos: int) -> TrainingOptions:
        """The training options with the iterations, where they are given, as the nearest number of whole epochs."""
        training = self.options.training
        if self.options.iterations is None:
            return training
        steps = max(1, photos // training.batch)
        return training.model_copy(update={"epochs": max(1, round(self.options.iterations / steps))})


def _logits_CHW(network: Backbone, head: LargeFovHead, image: Image, one: Pass, device: str) -> torch.Tensor:
    """Scores of one pass, at its own size; of a mirrored one they are mirrored back."""
    import torch

    from methods.networks.largefov import enlarged

    if one.scale != 1:
        height, width = (max(1, round(length * one.scale)) for length in image.shape[:2])
        image = resize(image, height, width)
    image_BHWC = np.array((image[:, ::-1] if one.flip else image)[None])
    with torch.inference_mode():
        logits_BCHW = head(network(network.to_input(image_BHWC).to(device))[-1]).float()
        logits_CHW = enlarged(logits_BCHW, image.shape[:2])[0]
    return logits_CHW.flip(2) if one.flip else logits_CHW
