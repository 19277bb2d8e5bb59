"""Where everything lies in a store, and what its files are called: no other module spells a path or a name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, overload

__all__ = [
    "DEFAULT_STORE",
    "ChoiceFiles",
    "CountFiles",
    "FeatureFiles",
    "FilterFiles",
    "FitFiles",
    "GalleryFiles",
    "MapFiles",
    "MaskFiles",
    "MeasureFiles",
    "Named",
    "ProbabilityFiles",
    "Ref",
    "RowFiles",
    "StageFiles",
    "WeakSetFiles",
]

DEFAULT_STORE = "runs"
"""The folder, below the working directory, of a store that nobody named."""


class Ref(NamedTuple):
    """Where an artefact is found: the name of its kind of stage, and its key (sha256 in hexadecimal)."""

    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.key[:12]}"


class Named:
    """A file with a fixed name; read on the files of an artefact, it is the file's path."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, files: None, owner: type[StageFiles]) -> Named: ...
    @overload
    def __get__(self, files: StageFiles, owner: type[StageFiles]) -> Path: ...
    def __get__(self, files: StageFiles | None, owner: type[StageFiles]) -> Named | Path:
        return self if files is None else files.folder / self.name


class StageFiles:
    """The files that one kind of stage writes into its folder; each kind of stage names its own subclass."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


class WeakSetFiles(StageFiles):
    """What methods may see under a setting."""

    photos = Named("photos.json")


class ProbabilityFiles(StageFiles):
    """Class probabilities of extra photos."""

    probabilities = Named("probabilities.safetensors")


class FilterFiles(StageFiles):
    """Which extra photos a filter keeps."""

    kept = Named("kept.json")


class FeatureFiles(StageFiles):
    """Features of a shard's photos at one scale, level and mirroring."""

    features = Named("features.safetensors")


class FitFiles(StageFiles):
    """What training gave: the weights, and one row of losses an epoch."""

    weights = Named("weights.safetensors")
    log = Named("log.json")


class MapFiles(StageFiles):
    """Localization maps of a shard, as a localizer or a refiner made them."""

    maps = Named("maps.safetensors")


class MaskFiles(StageFiles):
    """One PNG a photo, named by its id: pseudo labels, true masks, predictions or saliency maps."""

    SUFFIX = ".png"

    def of(self, photo_id: str) -> Path:
        """Where the photo's PNG lies."""
        return self.folder / f"{photo_id}{self.SUFFIX}"

    def by_photo(self) -> dict[str, Path]:
        """Every PNG that is there, by photo id."""
        return {path.name.removesuffix(self.SUFFIX): path for path in self.folder.glob(f"*{self.SUFFIX}")}


class CountFiles(StageFiles):
    """Per-image counts, the digests of the true masks they were counted against, and how much was covered."""

    counts = Named("counts.parquet")
    truth = Named("truth.json")
    coverage = Named("coverage.json")


class ChoiceFiles(StageFiles):
    """The threshold that a policy chose."""

    choice = Named("choice.json")


class RowFiles(StageFiles):
    """One row of a leaderboard, its per-image counts, and the hashes of the sources that made it."""

    rows = Named("rows.parquet")
    counts = Named("counts.parquet")
    sources = Named("sources.json")


class GalleryFiles(StageFiles):
    """Sheets of pictures: `gallery` may be given away, `photos` is for the user's own eyes."""

    gallery = Named("gallery.png")
    photos = Named("photos.png")


class MeasureFiles(StageFiles):
    """What a diagnostic measured; of a classifier also the scores that its measure was made of."""

    measures = Named("measures.json")
    scores = Named("scores.npz")
