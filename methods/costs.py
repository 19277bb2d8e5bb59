"""What a component's work costs, guessed: for plans against stores that have measured nothing like it yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["USUAL_SIZE", "Cost"]

USUAL_SIZE = 224
"""The backbone size (pixels) at which costs are told."""


@dataclass(frozen=True)
class Cost:
    """Core-seconds that one photo costs at a backbone size of 224, in a fit those of one epoch; measured on one core.

    They grow with the number of positions of a feature map, to some power, and with the channels that an option names.
    What a photo costs once, however many epochs there are and whatever the size, comes on top.
    """

    seconds: float
    power: float = 1.0
    """1 for layers; 2 where every position meets every other one, 3 where such matrices are multiplied."""
    channels: str = ""
    """The option that says how many channels most of the work is done in; empty for none."""
    usual_channels: int = 1
    """Its value where `seconds` was measured."""
    once: float = 0.0
    """Seconds a photo before the first epoch: labels that are made of maps, files that are read."""

    def of(self, photos: float, size: int, options: Mapping[str, object], epochs: int = 1) -> float:
        """Core-seconds for so many photos at a backbone's input side in pixels, with these options."""
        channels = options.get(self.channels, self.usual_channels)
        factor = 1.0
        if self.channels and isinstance(channels, int):
            factor = channels / self.usual_channels
        # Positions grow as the square of the side.
        growth: float = (size / USUAL_SIZE) ** (2 * self.power)
        return photos * (self.once + epochs * self.seconds * growth * factor)
