"""The decoder of DeepLabV3+ (Chen et al., ECCV 2018), from segmentation-models-pytorch, on two feature levels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from torch import nn
from torch.nn.functional import interpolate


class DeepLabHead(nn.Module):
    """Class scores at stride 4 from features at stride 4 and at the backbone's output stride, whatever that is."""

    def __init__(self, low: int, high: int, classes: int, width: int, rates: tuple[int, ...]) -> None:
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
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> torch.Tensor:
        """→ logits (B, classes, H/4, W/4)."""
        # The decoder's parts, and not its forward: that knows a whole factor between the levels alone, which copies of
        # a photo do not have when the output stride does not divide their sides.
        coarse_BCHW = self.decoder.aspp(high_BCHW)
        coarse_BCHW = interpolate(coarse_BCHW, size=low_BCHW.shape[2:], mode="bilinear", align_corners=True)
        fused_BCHW = self.decoder.block2(torch.cat([coarse_BCHW, self.decoder.block1(low_BCHW)], dim=1))
        logits_BCHW: torch.Tensor = self.classifier(fused_BCHW)
        return logits_BCHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], rates: tuple[int, ...]) -> DeepLabHead:
        """The network whose state this is; its widths are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        low = state["decoder.block1.0.weight"].shape[1]
        high = state["decoder.aspp.0.convs.0.0.weight"].shape[1]
        head = cls(low, high, classes, width, rates)
        head.load_state_dict(dict(state))
        return head
