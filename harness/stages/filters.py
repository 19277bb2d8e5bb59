"""The stages of a web filter: probabilities of photos by a classifier that did not train on them, and the keep-list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from safetensors.numpy import load_file, save_file

from harness.stages.work import Work
from harness.store.store import Artefact
from settings.components import build_component
from settings.filter import Filter
from settings.records import Photo, WeakSet

PROBABILITIES, KEPT = "probabilities.safetensors", "kept.json"


def classify(work: Work) -> None:
    """Frozen features of all photos of a setting → class probabilities of the extra ones, in id order."""
    weak, extra = work.offer.weak, work.offer.extra
    target = [photo for photo in weak.photos if photo.source == "target"]
    classifier = work.component("classifier")
    probabilities_NK = classifier.out_of_fold(target, extra, weak.label_space.foreground, work.bank(), work.context)
    save_file({"probabilities_NK": np.ascontiguousarray(probabilities_NK)}, work.attempt.path(PROBABILITIES))


def filter_(work: Work) -> None:
    """Probabilities and query labels → the keep-list, and how many of each class it keeps and drops."""
    extra, space = work.offer.extra, work.offer.weak.label_space
    part: Filter = build_component("filter", work.identity["component"], "filter")
    found = [load_file(artefact.path(PROBABILITIES)) for artefact in work.inputs.get("probabilities", ())]
    keep_N = part.keep(found[0]["probabilities_NK"] if found else None, WeakSet(extra, space).labels_NK())
    kept = [photo.id for photo, keep in zip(extra, keep_N, strict=True) if keep]
    counts = {name: _counts(extra, keep_N.tolist(), class_id) for class_id, name in enumerate(space.names)}
    work.attempt.path(KEPT).write_text(json.dumps({"kept": kept, "per_class": counts}), encoding="utf-8")


def _counts(photos: Sequence[Photo], keep: Sequence[bool], class_id: int) -> dict[str, int]:
    own = [kept for photo, kept in zip(photos, keep, strict=True) if class_id in photo.labels]
    return {"kept": sum(own), "dropped": len(own) - sum(own)}


def read_kept(artefact: Artefact) -> frozenset[str]:
    """The ids of a keep-list."""
    return frozenset(json.loads(artefact.path(KEPT).read_text(encoding="utf-8"))["kept"])


FILTER_STAGES: Mapping[str, Callable[[Work], None]] = {"classify": classify, "filter": filter_}
