"""`seedbed data audit`: what a suite's settings make of extra photos before anybody trains on them.

The audit itself is part of opening a setting; here it is told. A filter's keep-list is a stage: it is run where the
store does not hold it yet. The truth about noise is read here, after the filter has decided, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution.running import Display, run_plan
from harness.reports.gathering import reason_of
from harness.stages.blueprint import Blueprint
from harness.stages.filters import plan_filter, read_kept
from harness.stages.planning import Plan
from harness.stages.plugins import read_plugins
from harness.stages.source import Source
from harness.store.backends.urls import Location
from harness.store.layout import FilterFiles, Ref
from harness.store.store import Store
from harness.suites.suite import Suite
from results.metrics.filter_quality import FilterQuality, filter_quality
from settings.errors import UserError, unknown_name
from settings.extra import truth_of
from settings.plugins import plugged_in
from settings.records import Photo
from settings.setting import Offer

__all__ = ["Audited", "audit_suite"]


@dataclass(frozen=True)
class Audited:
    """One setting with extra photos: what it offers, what its filter kept (None: no filter), what they really show."""

    setting: str
    offer: Offer
    kept: frozenset[str] | None
    truth: Mapping[str, tuple[int, ...]] | None
    evaluation: tuple[Photo, ...]

    def lines(self, limit: int) -> Iterator[str]:
        """Counts, drops (at most `limit` of a reason), class balance, and the filter's quality."""
        yield f"{self.setting}: {self.offer.describe()}"
        yield from self._drops(limit)
        yield from self._balance()
        yield from self._quality()

    def quality(self, photos: Sequence[Photo]) -> FilterQuality:
        """How well the filter does on some photos; without a filter all are kept."""
        assert self.truth is not None
        pairs = []
        for photo in photos:
            is_kept = self.kept is None or photo.id in self.kept
            # A photo with several labels is no noise while it shows one of them.
            is_right = bool(set(photo.labels) & set(self.truth[photo.id]))
            pairs.append((is_kept, is_right))
        return filter_quality(pairs)

    def _drops(self, limit: int) -> Iterator[str]:
        assert self.offer.audit is not None
        by_reason: Counter[str] = Counter()
        for drop in self.offer.audit.drops:
            by_reason[drop.reason] += 1
            if by_reason[drop.reason] <= limit:
                yield f"  {drop.describe()}"
        for reason, count in by_reason.items():
            if count > limit:
                yield f"  … {count - limit} more {reason}"

    def _balance(self) -> Iterator[str]:
        declared = [photo for photo in self.offer.declared if photo.source != "target"]
        audited = {photo.id for photo in self.offer.extra}
        for class_id, name in enumerate(self.offer.weak.label_space.names):
            own = [photo.id for photo in declared if class_id in photo.labels]
            left = audited.intersection(own)
            line = f"  {name}: {len(own)} declared, {len(left)} after the audit"
            if self.kept is not None:
                line += f", {len(left & self.kept)} kept by the filter"
            yield line

    def _quality(self) -> Iterator[str]:
        if self.truth is None:
            return
        yield f"  all classes: {self._quality_of(self.offer.extra)}"
        for class_id, name in enumerate(self.offer.weak.label_space.names):
            if own := [photo for photo in self.offer.extra if class_id in photo.labels]:
                yield f"  {name}: {self._quality_of(own)}"

    def _quality_of(self, photos: Sequence[Photo]) -> str:
        found = self.quality(photos)
        shares = {
            "precision": found.precision,
            "recall": found.recall,
            "noise found": found.noise_recall,
            "noise among the dropped": found.noise_precision,
        }
        shown = []
        for name, share in shares.items():
            # Without a photo that was dropped, say, nothing can be said of the dropped.
            value = "–"
            if share is not None:
                value = f"{share:.3f}"
            shown.append(f"{name} {value}")
        noise = found.kept_noise + found.dropped_noise
        return f"{noise} of {len(photos)} photos are noise; {', '.join(shown)}"


def audit_suite(
    suite: Suite,
    store: Location,
    settings: Sequence[str] = (),
    truth: Path | None = None,
    with_truth: bool = False,
    display: Display | None = None,
) -> list[Audited]:
    """The suite's settings with extra photos (all, or those that are named), at least one.

    `with_truth`: what they really show, from the CSV file `truth`, else from the source itself. Raises UserError for
    unknown settings, for settings without extra photos, and where nobody knows the truth.
    """
    for name in settings:
        if name not in suite.settings:
            raise unknown_name("--setting", "setting", name, suite.settings)
    with plugged_in(read_plugins(suite.plugins)):
        blueprint = Blueprint(suite)
        offers: dict[Source, Offer] = {}
        for name in settings or suite.settings:
            source = blueprint.source(name, suite.settings[name])
            if source.offer and source.offer.audit:
                offers[source] = source.offer
        if not offers:
            raise UserError(suite.name, "no setting with extra photos", "single_label or web among the settings")
        kept = _keep_lists(blueprint, list(offers), store, display)
        audits = []
        for source, offer in offers.items():
            shown = None
            if with_truth:
                shown = _truth(blueprint, source, truth)
            audits.append(Audited(source.name, offer, kept.get(source.name), shown, blueprint.val.photos))
        return audits


def _keep_lists(
    blueprint: Blueprint, sources: Sequence[Source], store: Location, display: Display | None
) -> dict[str, frozenset[str]]:
    """What each setting's filter keeps; runs the stages for it that are missing."""
    filters: dict[str, Ref] = {}
    for source in sources:
        if ref := plan_filter(blueprint, source):
            filters[source.name] = ref
    if not filters:
        return {}
    # Keys are those of a run of the suite: what is made here that run finds done.
    plan = Plan(blueprint.suite, blueprint.graph, tuple(filters.values()))
    with run_plan(plan, store, "serial", display) as run:
        opened = Store.at(run.location)
        for name, ref in filters.items():
            if not opened.has(ref):
                reason = reason_of(run, plan.graph[ref])
                raise UserError(f"settings.{name}.filter", f"no keep-list ({reason})", "a filter that runs")
        kept: dict[str, frozenset[str]] = {}
        for name, ref in filters.items():
            kept[name] = read_kept(FilterFiles(opened.open(ref).folder))
        return kept


def _truth(blueprint: Blueprint, source: Source, csv: Path | None) -> Mapping[str, tuple[int, ...]]:
    setting = blueprint.suite.settings[source.name]
    found = truth_of(setting, blueprint.dataset.label_space, csv)
    if found is None:
        mend = "give --truth FILE, a CSV with file,query_class,true_class,kind"
        raise UserError(f"settings.{source.name}", "a source that does not know what its photos show", "one", mend)
    return found
