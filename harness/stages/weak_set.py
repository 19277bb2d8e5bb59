"""The record of what a setting offers: the `weak_set` artefact, written once, read by all that trains on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from harness.store.store import Artefact
from results.rows import CEILING
from settings.effort import label_seconds
from settings.errors import UserError
from settings.records import WeakSet
from settings.setting import Offer

NAME = "photos.json"


def to_json(offer: Offer, kept: Collection[str] | None = None) -> dict[str, Any]:
    """What methods see under a setting: photos, sources, labels, fingerprint; and what was dropped before, and why.

    `kept` are the ids that a filter kept, None where there is none. Raises UserError for a class without any photo.
    """
    weak = filtered(offer.weak, kept)
    check_every_class_is_taught(weak, "the filter" if kept is not None else "the setting")
    photos = [{"id": p.id, "source": p.source, "labels": p.labels, "content": p.content} for p in weak.photos]
    drops = offer.audit.to_json() if offer.audit else None
    gone = sorted({photo.id for photo in offer.weak.photos} - {photo.id for photo in weak.photos})
    return {
        "classes": weak.label_space.names,
        "fingerprint": weak.fingerprint,
        "photos": photos,
        "audit": drops,
        "filtered": gone,
    }


def check_every_class_is_taught(weak: WeakSet, where: str) -> None:
    """A class that no photo shows can be neither learned nor scored fairly: better told than found in a table."""
    taught = {class_id for photo in weak.photos for class_id in photo.labels}
    missing = [name for class_id, name in enumerate(weak.label_space.names) if class_id not in taught]
    if missing:
        found = f"no photo to train on labelled {', '.join(missing)}"
        raise UserError(where, found, "one for each class", "add photos, or leave the class out")


def filtered(weak: WeakSet, kept: Collection[str] | None) -> WeakSet:
    """The weak set with the extra photos that a filter kept; all of them where there is none."""
    if kept is None:
        return weak
    ids = frozenset(kept)
    return replace(weak, photos=tuple(p for p in weak.photos if p.source == "target" or p.id in ids))


def kept_of(weak: WeakSet, artefact: Artefact) -> WeakSet:
    """The photos of a weak set that its artefact has."""
    ids = {photo["id"] for photo in read(artefact)["photos"]}
    return replace(weak, photos=tuple(photo for photo in weak.photos if photo.id in ids))


def read(artefact: Artefact) -> Mapping[str, Any]:
    """What `to_json` made."""
    content: Mapping[str, Any] = json.loads(artefact.path(NAME).read_text(encoding="utf-8"))
    return content


def row_fields(content: Mapping[str, Any], offer: Offer, supervision: str, masks: int) -> dict[str, Any]:
    """The part of a row that tells of its setting; `masks` were drawn by hand for it.

    A control that uses no supervision costs no labels, and a ceiling its masks alone.
    """
    sources = Counter(photo["source"] for photo in content["photos"])
    extra = sources.total() - sources["target"]
    classes = offer.weak.label_space.foreground
    labels = sum(label_seconds(source, count, classes) for source, count in sources.items())
    seconds = (0 if supervision in ("", CEILING) else labels) + label_seconds("mask", masks, 1)
    return {
        "training_fingerprint": content["fingerprint"],
        "label_hours": round(seconds / 3600, 3),
        "extra_photos": extra,
        "extra_dropped": len(offer.audit.drops) if offer.audit else 0,
        "extra_filtered": len(offer.extra) - extra,
        "filter": offer.filtering.filter.name if offer.filtering else "",
        "noise_rate": offer.noise_rate,
        "without_extra": list(offer.classes_without_extra),
    }
