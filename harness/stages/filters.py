"""Web filters: probabilities of photos by a classifier that did not train on them, and the list of those that stay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.stages.blueprint import Blueprint
from harness.stages.features import plan_features
from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.source import Source, once
from harness.stages.work import Work
from harness.store.layout import FilterFiles, ProbabilityFiles, Ref
from harness.suites.recipes import ComponentIdentity, identity_of
from methods.base import Classifier
from settings.components import build_component
from settings.filter import Filter
from settings.records import Photo, WeakSet, fingerprint

__all__ = ["Classify", "FilterKind", "plan_filter", "read_kept"]


@dataclass(frozen=True, kw_only=True)
class JudgingIdentity(Identity):
    """The component, and the labels that the photos come with."""

    component: ComponentIdentity
    labels: str
    """sha256 over ids and labels."""


class Classify(StageKind[JudgingIdentity, DataRuntime]):
    """Frozen features of all photos of a setting → class probabilities of the extra ones, in id order."""

    name = "classify"
    identity = JudgingIdentity
    runtime = DataRuntime
    writes = ProbabilityFiles
    seconds_a_photo = 0.005

    def run(self, work: Work[JudgingIdentity, DataRuntime]) -> None:
        """Have the classifier judge each extra photo by a fit that left it out."""
        from safetensors.numpy import save_file

        weak, extra = work.offer.weak, work.offer.extra
        target = [photo for photo in weak.photos if photo.source == "target"]
        classifier: Classifier = work.component(work.identity.component)
        surroundings = work.surroundings(weak.label_space, bank=work.bank())
        probabilities_NK = classifier.out_of_fold(target, extra, surroundings)
        content = {"probabilities_NK": np.ascontiguousarray(probabilities_NK)}
        save_file(content, work.files(ProbabilityFiles).probabilities)


class FilterKind(StageKind[JudgingIdentity, DataRuntime]):
    """Probabilities and query labels → the keep-list, and how many of each class it keeps and drops."""

    name = "filter"
    identity = JudgingIdentity
    runtime = DataRuntime
    writes = FilterFiles

    def run(self, work: Work[JudgingIdentity, DataRuntime]) -> None:
        """Have the filter judge, and count by class what it keeps."""
        from safetensors.numpy import load_file

        extra, space = work.offer.extra, work.offer.weak.label_space
        filter_: Filter = work.component(work.identity.component)
        probabilities_NK = None
        for files in work.read("probabilities", ProbabilityFiles):
            probabilities_NK = load_file(files.probabilities)["probabilities_NK"]
        keep_N = filter_.keep(probabilities_NK, WeakSet(extra, space).labels_NK()).tolist()
        kept = [photo.id for photo, keep in zip(extra, keep_N, strict=True) if keep]
        counts = {name: _counts(extra, keep_N, class_id) for class_id, name in enumerate(space.names)}
        content = {"kept": kept, "per_class": counts}
        work.files(FilterFiles).kept.write_text(json.dumps(content), encoding="utf-8")


@once
def plan_filter(blueprint: Blueprint, source: Source) -> Ref | None:
    """Which extra photos stay; None where the setting has no filter."""
    assert source.offer is not None
    if source.offer.filtering is None:
        return None
    named = source.offer.filtering.filter
    filter_: Filter = build_component("filter", named, f"settings.{source.name}.filter")
    inputs: dict[str, tuple[Ref, ...]] = {}
    if filter_.needs_probabilities:
        inputs["probabilities"] = (_plan_classify(blueprint, source),)
    return blueprint.add(
        FilterKind(),
        JudgingIdentity(
            component=identity_of("filter", named.name, filter_),
            labels=_labels(source.offer.extra),
        ),
        DataRuntime(place=source.place),
        inputs=inputs,
        label=f"{source.name} · filter",
        group="web filters",
        photos=len(source.offer.extra),
    )


@once
def _plan_classify(blueprint: Blueprint, source: Source) -> Ref:
    """What a classifier says of extra photos that it was not trained on, from frozen features."""
    assert source.offer is not None
    assert source.offer.filtering is not None
    named = source.offer.filtering.classifier
    classifier: Classifier = build_component("classifier", named, f"settings.{source.name}.classifier")
    return blueprint.add(
        Classify(),
        JudgingIdentity(
            component=identity_of("classifier", named.name, classifier),
            labels=_labels(source.photos),
        ),
        DataRuntime(place=source.place),
        threads=blueprint.suite.compute.threads,
        inputs={"features": plan_features(blueprint, source, classifier.fit_features(), source.every_shard)},
        label=f"{source.name} · classifier",
        group="web filters",
        photos=len(source.photos),
    )


def read_kept(files: FilterFiles) -> frozenset[str]:
    """The ids of the photos that a filter keeps."""
    return frozenset(json.loads(files.kept.read_text(encoding="utf-8"))["kept"])


def _labels(photos: Iterable[Photo]) -> str:
    return fingerprint([(photo.id, photo.labels) for photo in photos])


def _counts(photos: Sequence[Photo], keep: Sequence[bool], class_id: int) -> dict[str, int]:
    own = [kept for photo, kept in zip(photos, keep, strict=True) if class_id in photo.labels]
    return {"kept": sum(own), "dropped": len(own) - sum(own)}
