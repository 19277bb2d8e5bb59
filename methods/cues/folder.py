"""Saliency maps that another program made: a folder of grey PNGs named by photo id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from methods.base import Cue, Photos, Saliency, Surroundings
from methods.outside import SUPERVISION, OutsideOptions, place_of
from settings.errors import UserError
from settings.options import AbsolutePath
from settings.records import Photo
from settings.saliency import read_saliency


class FolderOptions(OutsideOptions):
    """Where the maps lie, `<root>/<photo id>.png`, 8-bit grey at photo size, and what they were made with."""

    sources: dict[str, AbsolutePath] = Field(
        default_factory=dict, description="another root for the photos of a source"
    )
    supervision: str = Field("S", pattern=r"^[A-Z](\+[A-Z])*$", description=SUPERVISION)


class Folder(Cue):
    """Reads the map of each photo; a missing one ends the plan, one of another size the stage."""

    options_model = FolderOptions
    place_options = frozenset({"root", "sources"})
    computes = False
    options: FolderOptions

    @property
    def supervision(self) -> str:
        """What the user says that the maps were made with."""
        return self.options.supervision

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The photo's map, `<root>/<photo id>.png`; photos of a source may have another root."""
        return (place_of(self.options.sources.get(photo.source, self.options.root), photo, ".png"),)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """The maps as they are; raises UserError for one of another size than its photo."""
        for photo in photos:
            (path,) = self.files(photo)
            saliency_HW = read_saliency(path)
            if saliency_HW.shape != (size := photo.image().shape[:2]):
                found = f"{saliency_HW.shape[1]}×{saliency_HW.shape[0]} pixels"
                raise UserError(path, found, f"{size[1]}×{size[0]}, the size of its photo")
            yield saliency_HW
