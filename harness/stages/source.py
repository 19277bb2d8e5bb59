"""The photos of one setting, or of an evaluated split, cut into shards that nothing else can shift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import groupby
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from harness.stages.kind import PhotosRuntime, Place
from harness.suites.recipes import files_identity
from methods.base import Component
from settings.errors import UserError
from settings.records import Photo, WeakSet, fingerprint
from settings.setting import Offer

__all__ = ["SHARD", "Source", "check_every_class_is_taught", "contents", "once", "spread"]

SHARD = 64
"""Photos a shard, in id order; part of every key below it."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _Remembering(Protocol):
    @property
    def memo(self) -> dict[Any, Any]: ...


Owner = TypeVar("Owner", bound=_Remembering)


def once(planner: Callable[Concatenate[Owner, Arguments], Result]) -> Callable[Concatenate[Owner, Arguments], Result]:
    """A planning function whose result is kept in its first argument's `memo`, by the other (hashable) arguments.

    Every step of a line asks for the steps before it; without this, a stage would be planned once for each asker.
    """

    @wraps(planner)
    def remembered(owner: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (planner.__module__, planner.__qualname__, *args, *kwargs.items())
        if key not in owner.memo:
            owner.memo[key] = planner(owner, *args, **kwargs)
        result: Result = owner.memo[key]
        return result

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
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def shards(self) -> tuple[tuple[Photo, ...], ...]:
        """At most SHARD photos each, all of one source.

        They are cut along all that a source declares, whatever was dropped of it, and never across sources: other
        extra photos, or fewer of them, move no photo from shard to shard.
        """
        wanted = {photo.id for photo in self.photos}
        declared = self.offer.declared if self.offer else self.photos
        shards = []
        for _, of_one_source in groupby(declared, key=attrgetter("source")):
            for cut in _cut(tuple(of_one_source)):
                if shard := tuple(photo for photo in cut if photo.id in wanted):
                    shards.append(shard)
        return tuple(shards)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {photo.id: shard for shard, photos in enumerate(self.shards) for photo in photos}

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
        for shard, photos in enumerate(self.shards):
            if self.trusts_extra or photos[0].source == "target":
                found.append(shard)
        return tuple(found)

    @property
    def every_shard(self) -> range:
        """The numbers of all shards."""
        return range(len(self.shards))

    @once
    def content(self, shard: int) -> str:
        """What identifies the pixels of a shard (sha256 over ids and photo contents)."""
        return contents(self.shards[shard])

    @once
    def files(self, component: Component, shard: int) -> str | None:
        """What identifies the files of other programs that a component reads for a shard; None where it has none."""
        return files_identity(component, self.shards[shard])

    def runtime(self, photos: Sequence[Photo], places: Mapping[str, Any] | None = None) -> PhotosRuntime:
        """What a stage needs to find these photos again, and the files of its component."""
        return PhotosRuntime(place=self.place, ids=tuple(photo.id for photo in photos), places=places)


def check_every_class_is_taught(weak: WeakSet, where: str) -> None:
    """Raise UserError where a class has no photo: better told than found in a table, since it cannot be learned."""
    taught = {class_id for photo in weak.photos for class_id in photo.labels}
    missing = [name for class_id, name in enumerate(weak.label_space.names) if class_id not in taught]
    if missing:
        found = f"no photo to train on labelled {', '.join(missing)}"
        raise UserError(where, found, "one for each class", "add photos, or leave the class out")


def _cut(photos: tuple[Photo, ...]) -> Iterator[tuple[Photo, ...]]:
    return (photos[start : start + SHARD] for start in range(0, len(photos), SHARD))


def contents(photos: Sequence[Photo]) -> str:
    """What identifies the pixels of some photos (sha256 over ids and photo contents)."""
    return fingerprint([(photo.id, photo.content) for photo in photos])


def spread(ids: Sequence[str], count: int) -> list[str]:
    """`count` ids (all, where there are fewer) at even distances."""
    count = min(count, len(ids))
    return [ids[index * len(ids) // count] for index in range(count)]
