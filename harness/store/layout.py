"""Where everything lies in a store, and what its files are called: no other module of ours spells a path or a name.

Each kind of stage that comes with Seedbed has its files named here; a kind of somebody's own names them beside its
class.

In a folder `<kind>/<key>/<attempt>/…` holds an attempt's files, and `<kind>/<key>/done.json` names the attempt that
counts. Behind a URL the records have a folder of their own, so that one listing answers for a thousand keys:
`done/<kind>/<key>.json` and `files/<kind>/<key>/<attempt>/…`. What lies beside artefacts is at the same place in both.
All names are relative to the store, with slashes.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import NamedTuple, overload

from settings.photo_ids import file_of, files_below, id_of

DEFAULT_STORE = "runs"
"""The folder, below the working directory, of a store that nobody named."""
FORMAT = 1
"""Of a store in a folder, as its marker says; behind a URL it is another, so that neither opens as the other."""
MARKER = "seedbed-store.json"
COSTS = "costs.json"
EVENTS, STAGES, FAILURES, DAMAGED, LEADERBOARDS = "events", "stages", "failures", "damaged", "leaderboards"
SEARCHES = "searches"
URL_NOTE = ".url"
"""Tells people who look into a cache which store it stands in front of."""
LOG_SUFFIX, STOP_SUFFIX = ".jsonl", ".stop"
EVICTED = ".evicted."
"""How the name of a dead holder's lease begins while it is removed."""
BESIDE = (DAMAGED, EVENTS, FAILURES, LEADERBOARDS, SEARCHES, STAGES)
"""The folders that hold no artefacts: no kind of stage may be called so."""
ATTEMPT = "attempt-"
"""How the name of an attempt's folder begins."""
PARTIAL_FOLDER = ".partial-"
"""How the names of folders begin in which leaderboards are made."""
STAMP, STAMP_LENGTH = "%Y%m%d-%H%M%S", 15
"""How the name of a run begins: with the time at which it began."""
SINGLE_RUN = "single"
"""The run whose log takes the events of stages that are run alone."""
ARCHIVE_FORMAT = 1
ARCHIVE_INDEX = "seedbed-archive.json"
"""The first member of an archive; the others are named as the places of a folder, but for the attempt."""


class Ref(NamedTuple):
    """Where an artefact is found: the name of its kind of stage, and its key (sha256 in hexadecimal)."""

    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.key[:12]}"


def document_of(folder: str, key: str) -> str:
    """What `stages/` or `failures/` say of a stage."""
    return f"{folder}/{key}.json"


def key_of_document(name: str) -> str:
    """The key of the stage that a document in `stages/`, `failures/` or `done/<kind>/` is about."""
    return PurePosixPath(name).name.removesuffix(".json")


def search_folder(name: str) -> str:
    """Where the search of a suite is written: its trials, tables and plots."""
    return f"{SEARCHES}/{name}"


def run_log(run: str) -> str:
    """The events of a run in a folder; behind a URL each process has a log of its own, in `events/<run>/`."""
    return f"{EVENTS}/{run}{LOG_SUFFIX}"


def later_run(suite: str, newest: str) -> str:
    """The name of a run that begins now, after the one called `newest` (empty: there is none), in the order of names.

    It begins with the time, which is a second more than the newest one's where the clock has been set back.
    """
    stamp = time.strftime(STAMP)
    if is_stamped(newest) and stamp <= newest[:STAMP_LENGTH]:
        second = timedelta(seconds=1)
        # A log may be called anything: after the last second that there is comes none.
        following = min(datetime.strptime(newest[:STAMP_LENGTH], STAMP), datetime.max - second) + second
        stamp = following.strftime(STAMP)
    # The last six digits keep runs apart that begin in the same second.
    return f"{stamp}-{suite}-{time.time_ns() % 10**6:06d}"


def is_stamped(name: str) -> bool:
    """Whether the name of a run begins with a time, as `later_run` makes them."""
    try:
        datetime.strptime(name[:STAMP_LENGTH], STAMP)
    except ValueError:
        return False
    return True


def run_of(log: Path) -> str:
    """The name of the run whose log that is."""
    return log.name.removesuffix(LOG_SUFFIX)


class FolderPlaces:
    """The places of an artefact in a folder: all that is about one key lies in one folder, the lease too."""

    RECORD, LEASE, CHECKPOINT = "done.json", "lease.json", "checkpoint"

    def __init__(self, ref: Ref) -> None:
        self.folder = f"{ref.kind}/{ref.key}"
        self.record = f"{self.folder}/{self.RECORD}"
        self.lease = f"{self.folder}/{self.LEASE}"
        self.checkpoint = f"{self.folder}/{self.CHECKPOINT}"

    def attempt(self, name: str) -> str:
        """The folder with the files of one attempt at the artefact."""
        return f"{self.folder}/{name}"


class RemotePlaces:
    """The places of an artefact behind a URL: its record, its files and its leases lie in three folders."""

    FORMAT = "remote-1"
    RECORDS, FILES, LEASES = "done", "files", "leases"
    STOPS, CLOCK = "stops", "clock"

    def __init__(self, ref: Ref) -> None:
        self.record = f"{self.RECORDS}/{ref.kind}/{ref.key}.json"
        self.files = f"{self.FILES}/{ref.kind}/{ref.key}"
        self.claims = f"{self.LEASES}/{ref.kind}/{ref.key}"

    def attempt(self, name: str) -> str:
        """The folder with the files of one attempt at the artefact."""
        return f"{self.files}/{name}"

    @staticmethod
    def claim(folder: str, number: int) -> str:
        """One claim of a lease's chain; they sort by their numbers."""
        return f"{folder}/{number:06d}.json"

    @staticmethod
    def records(kind: str) -> str:
        """The folder that holds the records of all artefacts of a kind, and nothing else."""
        return f"{RemotePlaces.RECORDS}/{kind}"

    @staticmethod
    def stop(run: str) -> str:
        """The object whose existence asks every process of a run to stop."""
        return f"{RemotePlaces.STOPS}/{run}"

    @staticmethod
    def log(run: str, process: str, part: int) -> str:
        """One part of what a process wrote into a run's log."""
        return f"{EVENTS}/{run}/{process}-{part:04d}{LOG_SUFFIX}"

    @staticmethod
    def probe(name: str) -> str:
        """An object that is written to learn of the other side's clock, or whether it takes any, and then removed."""
        return f"{RemotePlaces.CLOCK}/{name}"


class Named:
    """A file with a fixed name; read on the files of an artefact, it is the file's path."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, files: None, owner: type[StageFiles]) -> Named: ...
    @overload
    def __get__(self, files: StageFiles, owner: type[StageFiles]) -> Path: ...
    def __get__(self, files: StageFiles | None, owner: type[StageFiles]) -> Named | Path:
        if files is None:
            return self
        return files.folder / self.name


class StageFiles:
    """The files that one kind of stage writes into its folder; each kind of stage names its own subclass."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


class WeakSetFiles(StageFiles):
    """What methods may see under a setting."""

    photos = Named("photos.json")


class ProbabilityFiles(StageFiles):
    """Class probabilities of extra photos, by which a filter judges them."""

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
        """The path of a photo's PNG, whether it is there or yet to be written."""
        return file_of(self.folder, photo_id, self.SUFFIX)

    def by_photo(self) -> dict[str, Path]:
        """Every PNG that is there, by photo id."""
        pngs = [path for path in files_below(self.folder) if path.suffix == self.SUFFIX]
        return {id_of(path): self.folder / path for path in pngs}


class PairFiles(StageFiles):
    """Photos that were drawn, and the pseudo label of each, by number from 0: two folders of PNGs, and a sheet."""

    sheet = Named("pairs.png")

    @property
    def photos(self) -> Path:
        """The folder of the photos."""
        return self.folder / "photos"

    @property
    def masks(self) -> MaskFiles:
        """The pseudo labels, by the names of their photos."""
        return MaskFiles(self.folder / "masks")

    @staticmethod
    def name(number: int) -> str:
        """What the files of a pair are called, without suffix."""
        return f"{number:05d}"

    def photo(self, number: int) -> Path:
        """The path of a photo's PNG, whether it is there or yet to be written."""
        return self.photos / f"{self.name(number)}.png"


class CountFiles(StageFiles):
    """Per-image counts, and the digests of the true masks they were counted against."""

    counts = Named("counts.parquet")
    truth = Named("truth.json")


class ChoiceFiles(StageFiles):
    """The threshold that a policy chose on its split, and the curve from which it chose."""

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
