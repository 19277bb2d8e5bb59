"""Pixel grids and the noise and colour tools that all textures share."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from settings.rendering.catalogue import Colour

__all__ = ["Canvas", "Picture", "Plane", "paint", "soft_step"]

Plane: TypeAlias = NDArray[np.float32]
"""One value a pixel, (H, W)."""
Picture: TypeAlias = NDArray[np.float32]
"""RGB, 0..1, as planes, (3, H, W): arithmetic with planes is several times faster than on (H, W, 3)."""


@dataclass(frozen=True)
class Canvas:
    """A square of `size` pixels and the stream that its pixels are drawn from."""

    size: int
    rng: np.random.Generator

    @property
    def grid(self) -> tuple[Plane, Plane]:
        """x_HW and y_HW of the pixel centres, in sides."""
        return _grid(self.size)

    def noise(self, wave: float, slope: float = 1.5, stretch: tuple[float, float] = (1.0, 1.0)) -> Plane:
        """Periodic Gaussian noise, mean 0 and deviation 1.

        The amplitude falls with frequency^-slope beyond `wave` cycles a side; features are `stretch` times longer
        along x and y.
        """
        gain = _gain(self.size, wave, slope, stretch)
        # Evenly spread parts cost a fifth of normal ones; the sum over all frequencies is normal all the same.
        parts = (self.rng.random((*gain.shape, 2), np.float32) - 0.5) * np.float32(12**0.5)
        spectrum = parts.view(np.complex64)[..., 0] * gain
        return np.asarray(np.fft.irfft2(spectrum, s=(self.size, self.size)), np.float32)

    def uniform(self, low: float, high: float) -> float:
        """One number between `low` and `high`."""
        return low + (high - low) * float(self.rng.random())


@cache
def _grid(size: int) -> tuple[Plane, Plane]:
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x_HW, y_HW = np.meshgrid(axis, axis)
    x_HW.flags.writeable = y_HW.flags.writeable = False
    return x_HW, y_HW


@lru_cache(maxsize=64)
def _gain(size: int, wave: float, slope: float, stretch: tuple[float, float]) -> Plane:
    """What the white spectrum is multiplied by, (H, W // 2 + 1)."""
    x = np.fft.rfftfreq(size, 1 / size) * stretch[0]
    y = np.fft.fftfreq(size, 1 / size)[:, None] * stretch[1]
    gain = (1 + (x**2 + y**2) / wave**2) ** (-slope / 2)
    gain[0, 0] = 0
    # Columns between the first and the last stand for two frequencies each.
    power = 2 * (gain**2).sum() * 2 - 2 * (gain[:, 0] ** 2).sum()
    return np.asarray(gain * size**2 / np.sqrt(power), np.float32)


def paint(values: Plane, colours: tuple[Colour, ...], gain: float = 1.0) -> Picture:
    """Colour a plane of values: 0 gives the first colour, 1 the last, all times `gain`; (3, H, W)."""
    index = np.clip(values * np.float32(255), 0, 255).astype(np.uint8)
    picture: Picture = np.take(_ramp(colours), index, axis=1)
    picture *= np.float32(gain)
    return picture


@cache
def _ramp(colours: tuple[Colour, ...]) -> NDArray[np.float32]:
    """256 colours that run through `colours`, (3, 256)."""
    stops = np.linspace(0, 255, len(colours))
    channels = [np.interp(np.arange(256), stops, [colour[c] for colour in colours]) for c in range(3)]
    return np.asarray(channels, np.float32)


def soft_step(values: Plane, width: float) -> Plane:
    """0 below -width/2, 1 above width/2, linear between."""
    step: Plane = values * np.float32(1 / width)
    step += np.float32(0.5)
    return np.clip(step, 0, 1, out=step)
