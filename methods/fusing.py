"""What cues that fuse other cues have in common: which they are, what these need, and the mean of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cue, NamedCue, Options, Saliency
from settings.components import ComponentSpec, build_component
from settings.discovery import CUES
from settings.errors import UserError

__all__ = ["FusingCue", "FusingOptions", "mean_map"]


class FusingOptions(Options):
    """The cues that are fused."""

    cues: Annotated[tuple[ComponentSpec, ...], CUES] = Field(
        min_length=1, max_length=16, description="cues, each as a recipe names one"
    )


class FusingCue(Cue):
    """A cue that reads the maps of others; what it uses beside the photos is what all of them use."""

    # Their own stages are inputs, whose keys say which cues they are: a path among their options is in no key.
    place_options = frozenset({"cues"})
    options: FusingOptions

    @cached_property
    def _parts(self) -> tuple[NamedCue, ...]:
        return tuple(
            NamedCue(spec.name, build_component("cue", spec, f"cue.cues.{number}"))
            for number, spec in enumerate(self.options.cues)
        )

    @property
    def parts(self) -> tuple[NamedCue, ...]:
        """The cues of the option, built once; raises UserError for an unknown name or a wrong option."""
        return self._parts

    @property
    def supervision(self) -> str:
        """The letters of all parts."""
        letters: set[str] = set()
        for part in self.parts:
            letters.update(part.cue.supervision.split("+"))
        return "+".join(sorted(letters - {""}))

    def check_installed(self, where: str) -> None:
        """Raise Impossible, naming `where`, where a part needs a package that is not installed."""
        for number, part in enumerate(self.parts):
            part.cue.check_installed(f"{where}.cues.{number}")


def mean_map(who: str, maps: Sequence[Saliency], size: tuple[int, int]) -> NDArray[np.float32]:
    """The mean of a photo's saliency maps, float32 (H, W) in grey levels; raises UserError for one of another size.

    `who` is the photo, and `size` (height, width) its own.
    """
    for map_HW in maps:
        if map_HW.shape != size:
            found = f"saliency of {map_HW.shape[1]}×{map_HW.shape[0]} pixels"
            raise UserError(who, found, f"{size[1]}×{size[0]}, the size of its photo")
    mean_HW: NDArray[np.float32] = np.mean(np.stack(maps), 0, dtype=np.float32)
    return mean_HW
