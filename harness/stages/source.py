"""The photos of one setting, or of an evaluated split, cut into shards that nothing else can shift."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import groupby
from operator import attrgetter
from typing import Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from harness.stages.kind import PhotosRuntime, Place
from harness.stages.planned import short
from harness.suites.recipes import file_contents, files_identity
from methods.base import Component
from settings.errors import UserError
from settings.records import Photo, WeakSet, fingerprint
from settings.setting import Offer

__all__ = [
    *("Memo", "Source", "check_every_class_is_taught", "contents", "labels_content", "once", "photo_ids", "spread"),
]

_SHARD = 64
"""Photos a shard, in id order; part of every key below it."""
RESERVED_ID = "__metadata__"
"""What a safetensors file calls its own entries, beside those of the photos."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Memo: TypeAlias = dict[Hashable, object]
"""What planning functions made, by function and arguments."""


class _Remembering(Protocol):
    @property
    def memo(self) -> Memo: ...


Owner = TypeVar("Owner", bound=_Remembering)


def once(planner: Callable[Concatenate[Owner, Arguments], Result]) -> Callable[Concatenate[Owner, Arguments], Result]:
    """A planning function whose result is kept in its first argument's `memo`, by the other (hashable) arguments.

    Every step of a line asks for the steps before it; without this, a stage would be planned once for each asker.
    """
    # In the first argument, where functools.cache would keep every plan of this process for ever.

    @wraps(planner)
    def remembered(owner: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (planner.__module__, planner.__qualname__, *args, *kwargs.items())
        if key not in owner.memo:
            owner.memo[key] = planner(owner, *args, **kwargs)
        return cast("Result", owner.memo[key])

    return remembered


@dataclass(frozen=True, eq=False)
class Source:
    """The photos of one setting, or of val, cut into shards; compared by identity."""

    name: str
    """What rows and labels call it: the setting's name in the suite, or `val`."""
    photos: tuple[Photo, ...]
    place: Place
    offer: Offer | None = None
    """What the setting offers; None for val."""
    memo: Memo = field(default_factory=dict, repr=False)
    """The hashes of shards that were asked for already."""

    def __post_init__(self) -> None:
        """Raises UserError for a photo whose maps could not be stored under its id."""
        for photo in self.photos:
            if photo.id == RESERVED_ID:
                raise UserError(photo.file or self.name, f"a photo called '{photo.id}'", "another id", "rename it")

    @cached_property
    def shards(self) -> tuple[tuple[Photo, ...], ...]:
        """At most 64 photos each, all of one source.

        They are cut along all that a source declares, whatever was dropped of it, and never across sources: other
        extra photos, or fewer of them, move no photo from shard to shard.
        """
        wanted = {photo.id for photo in self.photos}
        declared = self.photos
        if self.offer is not None:
            declared = self.offer.declared
        shards = []
        for _, of_one_source in groupby(declared, key=attrgetter("source")):
            for cut in _cut(tuple(of_one_source)):
                if shard := tuple(photo for photo in cut if photo.id in wanted):
                    shards.append(shard)
        return tuple(shards)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        places: dict[str, int] = {}
        for shard, photos in enumerate(self.shards):
            places |= dict.fromkeys(photo_ids(photos), shard)
        return places

    def shards_of(self, ids: Iterable[str]) -> list[int]:
        """The shards that hold these photos, ascending; KeyError for one that is not there."""
        return sorted({self._places[photo_id] for photo_id in ids})

    def __contains__(self, photo_id: str) -> bool:
        return photo_id in self._places

    @property
    def trusts_extra(self) -> bool:
        """Whether there are extra photos that segmentation is trained on too."""
        return bool(self.offer and self.offer.extra and self.offer.extra_in_stage_2)

    @cached_property
    def taught(self) -> tuple[int, ...]:
        """The shards whose photos segmentation is trained on: those of the target set, and trusted extra ones."""
        found = []
        # A shard is never mixed: its first photo tells where all of its photos come from.
        for shard, photos in enumerate(self.shards):
            if self.trusts_extra or photos[0].source == "target":
                found.append(shard)
        return tuple(found)

    @property
    def every_shard(self) -> range:
        """The numbers of all shards, for stages that read every photo of the setting."""
        return range(len(self.shards))

    @once
    def content(self, shard: int) -> str:
        """What identifies the pixels of a shard (sha256 over ids and photo contents)."""
        return contents(self.shards[shard])

    @once
    def labels(self, shard: int) -> str:
        """What identifies the labels that methods see of a shard's photos (sha256 over ids and labels)."""
        return labels_content(self.shards[shard])

    @once
    def files(self, component: Component, shard: int) -> str | None:
        """What identifies the files of other programs that a component reads for a shard; None where it has none."""
        return files_identity(component, self.shards[shard])

    @once
    def short_files(self, component: Component, shard: int) -> tuple[str, ...] | None:
        """The beginnings of the contents of the files that a component reads for each photo of a shard."""
        contents = file_contents(component, self.shards[shard])
        if contents is None:
            return None
        return short(contents)

    @cached_property
    def _short(self) -> Mapping[str, str]:
        # Once a photo: the stages of a plan have them by the thousand.
        photos = self.photos
        return dict(zip(photo_ids(photos), short(photo.content for photo in photos), strict=True))

    def short_contents(self, photos: Iterable[Photo]) -> tuple[str, ...]:
        """The beginnings of the contents of some of these photos, for a stage that reads them."""
        return tuple(self._short[photo.id] for photo in photos)

    def runtime(
        self,
        photos: Sequence[Photo],
        places: Mapping[str, object] | None = None,
        files: tuple[str, ...] | None = None,
        masks: tuple[str, ...] | None = None,
    ) -> PhotosRuntime:
        """What a stage needs to find these photos again, and the files of its component; and what planning saw of them.

        `files` are `short_files`, `masks` the blueprint's `short_masks`, for stages that read them.
        """
        return PhotosRuntime(
            place=self.place,
            places=places,
            ids=photo_ids(photos),
            photo_contents=self.short_contents(photos),
            mask_contents=masks,
            file_contents=files,
        )


def check_every_class_is_taught(weak: WeakSet, where: str) -> None:
    """Raise UserError where a class has no photo: better told than found in a table, since it cannot be learned."""
    taught: set[int] = set()
    for photo in weak.photos:
        taught.update(photo.labels)
    missing = [name for class_id, name in enumerate(weak.label_space.names) if class_id not in taught]
    if missing:
        found = f"no photo to train on labelled {', '.join(missing)}"
        raise UserError(where, found, "one for each class", "add photos, or leave the class out")


def _cut(photos: tuple[Photo, ...]) -> Iterator[tuple[Photo, ...]]:
    return (photos[start : start + _SHARD] for start in range(0, len(photos), _SHARD))


def photo_ids(photos: Iterable[Photo]) -> tuple[str, ...]:
    """The ids of some photos, in the photos' order, as stages carry photos to any process."""
    return tuple(photo.id for photo in photos)


def contents(photos: Iterable[Photo]) -> str:
    """What identifies the pixels of some photos (sha256 over ids and photo contents)."""
    return fingerprint([(photo.id, photo.content) for photo in photos])


def labels_content(photos: Iterable[Photo]) -> str:
    """What identifies the labels of some photos (sha256 over ids and labels): a setting may give others."""
    return fingerprint([(photo.id, photo.labels) for photo in photos])


def spread(ids: Sequence[str], count: int) -> list[str]:
    """`count` of the ids (all, where there are fewer) at even distances, so that no class is left out for its name."""
    count = min(count, len(ids))
    return [ids[index * len(ids) // count] for index in range(count)]
