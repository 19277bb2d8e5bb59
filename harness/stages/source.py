"""The photos of one setting, or of an evaluated split, cut into shards that nothing else can shift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import groupby
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from settings.records import Photo, fingerprint
from settings.setting import Offer

SHARD = 64
"""Photos a shard, in id order; part of every key below it."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _Remembering(Protocol):
    @property
    def memo(self) -> dict[Any, Any]: ...


Owner = TypeVar("Owner", bound=_Remembering)


def once(method: Callable[Concatenate[Owner, Arguments], Result]) -> Callable[Concatenate[Owner, Arguments], Result]:
    """A method whose result is kept in its object's `memo`, by its (hashable) arguments."""

    @wraps(method)
    def remembered(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (method.__name__, *args, *kwargs.items())
        if key not in self.memo:
            self.memo[key] = method(self, *args, **kwargs)
        result: Result = self.memo[key]
        return result

    return remembered


@dataclass(frozen=True, eq=False)
class Source:
    """The photos of one setting, or of val, cut into shards; compared by identity."""

    name: str
    photos: tuple[Photo, ...]
    runtime: Mapping[str, Any]
    offer: Offer | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def shards(self) -> tuple[tuple[Photo, ...], ...]:
        """At most SHARD photos each, all of one source.

        They are cut along all that a source declares, whatever was dropped of it, and never across sources: other
        extra photos, or fewer of them, move no photo from shard to shard.
        """
        wanted = {photo.id for photo in self.photos}
        by_source = groupby(self.offer.declared if self.offer else self.photos, key=attrgetter("source"))
        cut = (part for _, photos in by_source for part in _cut(tuple(photos)))
        found = (tuple(photo for photo in part if photo.id in wanted) for part in cut)
        return tuple(shard for shard in found if shard)

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
        """Whether there are extra photos that enter stage 2."""
        return bool(self.offer and self.offer.extra and self.offer.extra_in_stage_2)

    @cached_property
    def stage_2(self) -> tuple[int, ...]:
        """The shards whose photos stage 2 trains on."""
        every = enumerate(self.shards)
        return tuple(shard for shard, photos in every if self.trusts_extra or photos[0].source == "target")

    @once
    def content(self, shard: int) -> str:
        """What identifies the pixels of a shard."""
        return contents(self.shards[shard])

    def of(self, photos: Sequence[Photo]) -> dict[str, Any]:
        """What a stage needs to find these photos again."""
        return {**self.runtime, "ids": [photo.id for photo in photos]}


def _cut(photos: tuple[Photo, ...]) -> Iterator[tuple[Photo, ...]]:
    return (photos[start : start + SHARD] for start in range(0, len(photos), SHARD))


def contents(photos: Sequence[Photo]) -> str:
    """What identifies the pixels of some photos."""
    return fingerprint([(photo.id, photo.content) for photo in photos])
