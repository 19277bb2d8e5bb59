"""What of one line of the leaderboard is scored: sweeps, counts, choices and rows, as stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.stages.lines import Line, of_variant
from harness.stages.source import once
from harness.store.layout import Ref
from methods.base import Segmenter
from methods.segmenting import variant_of

SWEEP_STEPS = 100
PROTOCOL = "voc/1"


@dataclass(frozen=True, eq=False)
class Scored:
    """The rows of a line."""

    line: Line
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def rows(self) -> list[Ref]:
        """A row for each stage that is scored, under each policy."""
        rows, threshold = [], self._declared_threshold
        for policy, last in self.line.blueprint.suite.policies.items():
            # Beside a rule without a threshold the best threshold would be another recipe's figure.
            if policy == "oracle" and threshold is None:
                continue
            if threshold is not None and self.reported_shards():
                rows.append(self._maps_row(policy, threshold))
            # The revealed masks of a ceiling are not scored against themselves.
            if self.line.components.labeler and last in ("pseudo_labels", "segmentation") and self.reported_shards():
                rows.append(self._row("pseudo_labels", policy, self.scores(policy)))
            if last == "segmentation" and self._val_shards():
                for one in self.line.components.variants:
                    rows.append(self._row("segmentation", policy, self._val_scores(policy, one), variant_of(one)))
        return rows

    @property
    def _declared_threshold(self) -> float | None:
        """What turns maps into masks that can be scored, where the recipe has it."""
        labeler = self.line.components.labeler
        return labeler.declared_threshold if labeler and self.line.components.localizer else None

    def unscored(self) -> dict[str, tuple[Ref, ...]]:
        """What a data set without true masks is run for instead: its pseudo labels, its predictions."""
        wanted: dict[str, tuple[Ref, ...]] = {}
        if self.line.components.labeler and not self.reported_shards():
            every = range(len(self.line.source.shards))
            wanted["pseudo_labels"] = tuple(self.line.pseudo_labels(shard, None) for shard in every)
        if self.line.components.segmenter and not self._val_shards():
            val = self.line.blueprint.val
            parts = enumerate(val.shards)
            wanted["predictions"] = tuple(self.line.segment(val, photos, [shard], None) for shard, photos in parts)
        return wanted

    def _scored(
        self,
        kind: str,
        split: str,
        ids: Sequence[str],
        inputs: dict[str, tuple[Ref, ...]],
        variant: str = "",
        **what: Any,
    ) -> Ref:
        purpose = self.line.blueprint.reported.purpose
        identity = {
            "dataset": self.line.blueprint.dataset.identity(),
            "masks": self.line.blueprint.mask_contents(tuple(ids)),
            "purpose": purpose,
            **what,
        }
        runtime = {"dataset": self.line.blueprint.runtime["dataset"], "split": split, "ids": list(ids)}
        return self.line.blueprint.add(
            kind,
            identity,
            inputs=inputs,
            runtime=runtime,
            label=self.line.label_of(f"{of_variant(kind, variant)} of {ids[0]}…"),
            group=self.line.group("scores"),
            photos=len(ids),
        )

    @once
    def reported_shards(self) -> list[tuple[int, list[str]]]:
        """The shards that hold photos whose maps are reported, with their ids."""
        dataset = self.line.blueprint.dataset
        scored = set(filter(dataset.has_mask, dataset.splits[self.line.blueprint.reported.maps]))
        reported = ([photo.id for photo in shard if photo.id in scored] for shard in self.line.source.shards)
        return [(shard, ids) for shard, ids in enumerate(reported) if ids]

    @once
    def _val_shards(self) -> list[tuple[int, list[str]]]:
        """The same of the photos whose segmentation is reported."""
        dataset = self.line.blueprint.dataset
        masked = ([p.id for p in shard if dataset.has_mask(p.id)] for shard in self.line.blueprint.val.shards)
        return [(shard, ids) for shard, ids in enumerate(masked) if ids]

    @once
    def _sweeps(self) -> tuple[Ref, ...]:
        return tuple(
            self._scored(
                "sweep",
                self.line.blueprint.reported.maps,
                ids,
                {"maps": (self.line.final_maps(shard),)},
                steps=SWEEP_STEPS,
            )
            for shard, ids in self.reported_shards()
        )

    def scores(self, policy: str) -> tuple[Ref, ...]:
        """The counts of the pseudo labels under a policy, one artefact a reported shard."""
        return tuple(
            self._scored(
                "score",
                self.line.blueprint.reported.maps,
                ids,
                {"masks": (self.line.pseudo_labels(shard, self._choice(policy)),)},
                protocol=PROTOCOL,
                void="background",
            )
            for shard, ids in self.reported_shards()
        )

    def _val_scores(self, policy: str, variant: Segmenter) -> tuple[Ref, ...]:
        val, choice = self.line.blueprint.val, self._choice(policy)
        return tuple(
            self._scored(
                "score",
                self.line.blueprint.reported.segmentation,
                ids,
                {"masks": (self.line.segment(val, val.shards[shard], [shard], choice, variant),)},
                variant_of(variant),
                protocol=PROTOCOL,
                void="error",
            )
            for shard, ids in self._val_shards()
        )

    def _choice(self, policy: str) -> Ref | None:
        """The stage that chooses the threshold, for a policy that does not take the declared one."""
        return None if policy == "fixed" else self._select(policy)

    @once
    def _select(self, policy: str) -> Ref:
        identity = {
            "policy": policy,
            "declared": self._declared_threshold,
            "steps": SWEEP_STEPS,
            "classes": self.line.blueprint.dataset.label_space.foreground + 1,
            "version": 2,
        }
        return self.line.blueprint.add(
            "select",
            identity,
            inputs={"sweeps": self._sweeps()},
            runtime={"split": self.line.blueprint.reported.maps},
            label=self.line.label_of(f"choice by {policy}"),
            group=self.line.group("scores"),
        )

    def _maps_row(self, policy: str, declared: float) -> Ref:
        if policy == "fixed":
            return self._row(self._scored_maps, policy, self._sweeps(), threshold=declared)
        return self._row(self._scored_maps, policy, self._sweeps(), select=self._select(policy))

    @property
    def _scored_maps(self) -> str:
        """The maps that are scored are those that the labeler reads; a recipe without refiners scores the others."""
        return "refined" if self.line.components.refiners else "maps"

    def _row(
        self,
        stage: str,
        policy: str,
        counts: tuple[Ref, ...],
        variant: str = "",
        threshold: float | None = None,
        select: Ref | None = None,
    ) -> Ref:
        dataset, source = self.line.blueprint.dataset, self.line.source
        row = {
            "dataset": dataset.name,
            "split": getattr(self.line.blueprint.reported, "segmentation" if stage == "segmentation" else "maps"),
            "recipe": self.line.recipe,
            "setting": source.name,
            "training_mode": self.line.mode if self.line.components.is_trained else "",
            "rng_seed": self.line.rng_seed,
            "stage": stage,
            "variant": variant,
            "policy": policy,
            "classes": list(dataset.label_space.mask_names),
            "supervision": self.line.components.supervision,
            "extra_in_stage_2": source.trusts_extra,
            "protocol": PROTOCOL,
        }
        return self.line.blueprint.add(
            "row",
            {"row": row, "threshold": threshold, "steps": SWEEP_STEPS, "version": 2},
            inputs={
                "counts": counts,
                "weak_set": (self.line.blueprint.weak_set(source),),
                **({"select": (select,)} if select else {}),
            },
            runtime=source.runtime,
            label=self.line.label_of(f"row {of_variant(stage, variant)} {policy}"),
            group="rows",
        )
