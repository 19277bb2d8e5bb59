"""The decoder of DeepLabV3+ (Chen et al., ECCV 2018), from segmentation-models-pytorch, on two feature levels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from torch import nn


class DeepLabHead(nn.Module):
    """Class scores at stride 4 from features at stride 4 and at the backbone's output stride (8, 16 or 32)."""

    def __init__(
        self, low: int, high: int, classes: int, width: int, rates: tuple[int, ...], output_stride: int
    ) -> None:
        super().__init__()
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=(0, 0, low, 0, 0, high),
            encoder_depth=5,
            out_channels=width,
            atrous_rates=rates,
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.1,
        )
        # The library knows strides 8 and 16 only, and by them nothing but this factor.
        self.decoder.up = nn.UpsamplingBilinear2d(scale_factor=output_stride // 4)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> torch.Tensor:
        """→ logits (B, classes, H/4, W/4)."""
        # The decoder reads entry 2 (stride 4) and the last one of the encoder's list.
        logits_BCHW: torch.Tensor = self.classifier(self.decoder([None, None, low_BCHW, None, None, high_BCHW]))
        return logits_BCHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], rates: tuple[int, ...], output_stride: int) -> DeepLabHead:
        """The network whose state this is; its widths are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        low = state["decoder.block1.0.weight"].shape[1]
        high = state["decoder.aspp.0.convs.0.0.weight"].shape[1]
        head = cls(low, high, classes, width, rates, output_stride)
        head.load_state_dict(dict(state))
        return head
