"""The graph while it grows, and what all lines of a leaderboard share: data set, sources of photos, backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypedDict, TypeVar, get_args

from harness.stages.graph import Stage
from harness.stages.kind import Identity, Place, Runtime, StageKind
from harness.stages.numerics import numerics_of
from harness.stages.planned import short
from harness.stages.plausible import check_plausible
from harness.stages.plugins import pinned
from harness.stages.source import Memo, Source, check_every_class_is_taught, once
from harness.store.layout import Ref
from harness.suites.data import Data, dataset_of, seen_of
from harness.suites.suite import LastStage, Suite
from methods.backbone_names import check_backbone, first_stride, patch_of
from methods.base import NAMED_WEIGHTS, BackboneOptions
from methods.initial_weights import weight_files
from results.selection import FIXED, chooser, is_held_out, is_ranked
from settings.components import ComponentSpec, normalised
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.errors import UserError, counted, unknown_name
from settings.hashing import content_of
from settings.records import fingerprint
from settings.revealing import revealed_ids
from settings.supervision import Purpose

__all__ = ["Blueprint", "Reported", "TrueMasks"]

SomeIdentity = TypeVar("SomeIdentity", bound=Identity)
SomeRuntime = TypeVar("SomeRuntime", bound=Runtime)


class Reported(NamedTuple):
    """The splits whose masks are scored, and why they are read."""

    maps: str
    """Of localization maps and pseudo labels."""
    segmentation: str
    purpose: Purpose


REPORTED: Mapping[str, Reported] = {
    "official": Reported("train", "val", "score"),
    "dev": Reported("dev", "dev", "choose"),
}
"""What a suite's `report` stands for."""


class TrueMasks(TypedDict):
    """The entries of an identity that name true masks: which they are, and why they are read."""

    dataset: Mapping[str, object]
    masks: str
    """sha256 over ids and mask contents."""
    purpose: Purpose


class Blueprint:
    """The graph while it grows; `add` puts a stage into it, the families' planning functions say which."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        # As it was meant here: a stage may run where relative paths and `~` lead elsewhere.
        dataset = normalised(DATASETS, suite.dataset, "dataset")
        self.dataset = dataset_of(dataset)
        self._data = Data(self.dataset)
        self.place = Place(dataset, suite.backbone, dataset_seen=self._data.seen)
        """Where stages find the data set, whatever the setting."""
        self.graph: dict[Ref, Stage] = {}
        self.reported = REPORTED[suite.report]
        self.policies = _policies(suite, self.dataset)
        """Those of the suite, by name, with the last stage that is scored under each; see `_policies`."""
        self.main_policy = min(filter(is_ranked, self.policies), key=lambda name: name != FIXED, default=FIXED)
        """The one whose pseudo labels and predictions are shown where a line has one of each."""
        for split in ("train", self.reported.maps, self.reported.segmentation):
            # Found at planning: hours of training would end in a table without a row.
            if not self.dataset.splits[split]:
                raise UserError(f"{self.dataset.name}/{split}", "no photo", "at least one that shows a class")
        _check_all_or_none_have_masks(self.dataset, self.reported.segmentation)
        check_plausible(self.dataset, self._data.target.photos, (self.reported.maps, self.reported.segmentation))
        _check_declared_on(suite.declared_on, suite, "declared_on", self.dataset)
        for name, recipe in suite.recipes.items():
            _check_declared_on(recipe.declared_on or {}, suite, f"recipes.{name}.declared_on", self.dataset)
        unlabelled = self.dataset.eval_set(self.reported.segmentation)
        self.val = Source(self.reported.segmentation, unlabelled.photos, self.place)
        """The photos whose segmentation is reported, without labels."""
        self.backbone = _backbone_identity(suite.backbone)
        self.memo: Memo = {}
        self._sources: dict[str, Source] = {}

    def source(self, label: str, setting: ComponentSpec) -> Source:
        """The photos of a setting, under the name that the suite gives it.

        Raises UserError for a class that none of them shows.
        """
        # By label, since a setting may stand twice with other options, which makes other photos of it.
        if label not in self._sources:
            meant = normalised(SETTINGS, setting, f"settings.{setting.name}")
            offer = self._data.offer(meant)
            check_every_class_is_taught(offer.weak, f"{self.dataset.name}, setting {label}")
            place = replace(self.place, setting=meant, setting_label=label, setting_seen=seen_of(offer))
            self._sources[label] = Source(label, offer.weak.photos, place, offer)
        return self._sources[label]

    @once
    def revealed(self, count: int | Literal["dev", "all"], rng_seed: int) -> frozenset[str]:
        """The photos that show their true masks; see `settings.revealing`."""
        return frozenset(revealed_ids(self.dataset, count, rng_seed))

    def notes(self) -> tuple[str, ...]:
        """A line for each setting with extra photos: how many, what the audit dropped, whom they do not help."""
        found = []
        for source in self._sources.values():
            if source.offer and source.offer.extra:
                found.append(f"setting {source.name}: {source.offer.describe()}")
        return tuple(found)

    def add(
        self,
        kind: StageKind[SomeIdentity, SomeRuntime],
        identity: SomeIdentity,
        runtime: SomeRuntime,
        *,
        inputs: Mapping[str, tuple[Ref, ...]] | None = None,
        label: str,
        group: str,
        photos: int = 0,
        threads: int | None = None,
        processes: int = 1,
        bundle: str = "",
        bfloat16_pays: bool = False,
    ) -> Ref:
        """Put a stage into the graph, once: what has the same key is the same stage, whoever asks for it.

        `threads` are given for stages that compute with torch: their keys then name the arithmetic.
        """
        if threads is not None:
            identity = replace(identity, numerics=numerics_of(self.suite.compute, threads, processes, bfloat16_pays))
        stage = Stage(
            kind,
            identity,
            runtime,
            inputs or {},
            label,
            group,
            photos,
            threads or 1,
            processes,
            bundle,
            self.suite.demand_of(kind.name, computes=threads is not None),
        )
        stage = pinned(stage)
        # The first one stays: its label names the line that a shared stage is told as.
        self.graph.setdefault(stage.ref, stage)
        return stage.ref

    def true_masks(self, ids: tuple[str, ...], purpose: Purpose) -> TrueMasks:
        """The true masks of some photos as an identity names them, so that mended masks are other stages."""
        return {"dataset": self.dataset.identity(), "masks": self.mask_contents(ids), "purpose": purpose}

    @once
    def mask_contents(self, ids: tuple[str, ...]) -> str:
        """What identifies the true masks of some photos (sha256 over ids and mask contents)."""
        return fingerprint([(photo_id, self._mask_content(photo_id)) for photo_id in ids])

    @once
    def short_masks(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """The beginnings of the true masks' contents of some photos, for a stage that reads them."""
        return short(map(self._mask_content, ids))

    @once
    def _mask_content(self, photo_id: str) -> str:
        return self.dataset.mask_content(photo_id)


def _backbone_identity(backbone: BackboneOptions) -> dict[str, object]:
    """What of a backbone belongs into keys: weights count by their files' contents.

    Raises UserError for an unknown network, and for weights that are absent.
    """
    check_backbone(backbone)
    identity = backbone.model_dump()
    if first_stride(backbone.name) != 2 or patch_of(backbone.name):
        # Earlier versions took timm's indices for levels, which were others.
        identity["levels"] = "by stride"
    # The name tells how a file is read; where it lies is nobody's business.
    if backbone.weights not in NAMED_WEIGHTS:
        identity["weights"] = "file"
    identity["weight_files"] = [content_of(path) for path in weight_files(backbone)]
    return identity


def _policies(suite: Suite, dataset: Dataset) -> dict[str, LastStage]:
    """The suite's policies; where dev has no mask to choose on, thresholds stay as they were declared.

    Raises UserError where dev is reported and was to be chosen on, too: that would be the oracle under another name;
    and where it has fewer masks than a policy is to choose on.
    """
    policies = dict(suite.policies)
    held_out = list(filter(is_held_out, policies))
    if not held_out:
        return policies
    where, masks = suite.place_of("policies"), sum(map(dataset.has_mask, dataset.splits["dev"]))
    if suite.report == "dev":
        where, mend = suite.place_of(f"policies.{held_out[0]}"), "policies={oracle: maps} shows what is best on dev"
        raise UserError(where, "a choice on dev, which `report: dev` reports", "another split to report", mend)
    if not masks:
        declared = [FIXED, *held_out]
        last = max((policies[name] for name in declared if name in policies), key=get_args(LastStage).index)
        return {FIXED: last, **{name: stage for name, stage in policies.items() if name not in declared}}
    for name in held_out:
        wanted = chooser(name).masks or 0
        if wanted > masks:
            raise UserError(where, name, f"at most the {counted(masks, 'mask')} that {dataset.name}/dev has")
    return policies


def _check_declared_on(declared_on: Mapping[str, int], suite: Suite, key: str, dataset: Dataset) -> None:
    """Raise UserError where options are said to be chosen on masks that the data set does not have."""
    for split, count in declared_on.items():
        if split not in dataset.splits:
            raise unknown_name(suite.place_of(key), "split", split, dataset.splits)
        masks = sum(map(dataset.has_mask, dataset.splits[split]))
        if count > masks:
            expected = f"at most the {masks} that {dataset.name}/{split} has"
            mend = "say on how many the options were chosen; declared_on={} where on none"
            raise UserError(suite.place_of(f"{key}.{split}"), counted(count, "mask"), expected, mend)


def _check_all_or_none_have_masks(dataset: Dataset, split: str) -> None:
    """Scores of fewer photos than the split has would compare with nobody's; without any mask nothing is scored."""
    ids: Sequence[str] = dataset.splits[split]
    lacking = [photo_id for photo_id in ids if not dataset.has_mask(photo_id)]
    if lacking and len(lacking) < len(ids):
        found = f"{len(lacking)} of {counted(len(ids), 'photo')} without a mask, such as '{lacking[0]}'"
        mend = f"add it, or take the photo from the list of {split}; without any masks a run ends with predictions"
        raise UserError(f"{dataset.name}/{split}", found, "a mask for each photo, or for none", mend)
