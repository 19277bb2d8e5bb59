"""Which photos show their masks: n of dev for few-shot, all of dev to name clusters, train and dev for a ceiling."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from itertools import chain, zip_longest
from typing import Literal

from settings.dataset import Dataset
from settings.errors import UserError

__all__ = ["revealed_ids"]


def revealed_ids(dataset: Dataset, count: int | Literal["dev", "all"], rng_seed: int) -> tuple[str, ...]:
    """Ids of photos with masks; of dev they are drawn by the rng seed so that the classes come in turn.

    Those that show no class come last: a mask tells nothing of them that their label does not.
    Raises UserError where dev has fewer masks than are asked for.
    """
    if count == "all":
        return tuple(filter(dataset.has_mask, dataset.training_ids))
    dev = tuple(filter(dataset.has_mask, dataset.splits["dev"]))
    if count == "dev":
        if not dev:
            mend = "name clusters by image_labels, or leave unsupervised out of references"
            raise UserError("reveal", "the masks of dev", f"{dataset.name}/dev with at least one", mend)
        return dev
    if len(dev) < count:
        mend = "reveal fewer, or leave few-shot out of references"
        raise UserError("reveal", f"{count} masks", f"at most the {len(dev)} that {dataset.name}/dev has", mend)
    return tuple(_class_by_class(dataset, dev, rng_seed))[:count]


def _class_by_class(dataset: Dataset, ids: tuple[str, ...], rng_seed: int) -> dict[str, None]:
    """The ids in the order of their hashes, one of each class in turn, then those that show none."""
    by_class: dict[int, list[str]] = defaultdict(list)
    without: list[str] = []
    for photo_id in sorted(ids, key=lambda photo_id: sha256(f"{rng_seed}/{photo_id}".encode()).digest()):
        labels = dataset.photo(photo_id).labels
        for class_id in labels:
            by_class[class_id].append(photo_id)
        if not labels:
            without.append(photo_id)
    turns = zip_longest(*(by_class[class_id] for class_id in sorted(by_class)))
    return {photo_id: None for photo_id in (*chain.from_iterable(turns), *without) if photo_id is not None}
