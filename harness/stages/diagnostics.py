"""What is measured beside the rows: the classifier inside a localizer, the flatness of its maps, a cue's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.stages.gallery import spread
from harness.stages.lines import Line
from harness.stages.source import Source
from harness.store.layout import Ref
from harness.suites.suite import Diagnostic
from methods.base import Localizer
from settings.records import Photo, fingerprint

MAX_PHOTOS = 128
"""So many photos tell the flatness of maps well enough, and views of them are quickly made."""
VERSION = 1
"""Raised when a measure changes: it is part of every key here."""


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """The stages that measure a line's localizer and cue; recipes with the same ones have the same stages."""

    line: Line

    def stages(self) -> list[Ref]:
        """One for each of the suite's `diagnostics` that this recipe and this data set allow."""
        plan: Mapping[Diagnostic, Callable[[], Ref | None]] = {
            "classifier": self._classify,
            "maps": self._diagnose,
            "cue": self._examine_cue,
        }
        return [ref for name in self.line.blueprint.suite.diagnostics if (ref := plan[name]())]

    def _classify(self) -> Ref | None:
        """The classifier of the fit that left the held-out photos out, on these photos."""
        line, localizer, photos = self.line, self.line.components.localizer, self.line.held_out()
        if localizer is None or not localizer.trained or type(localizer).scores_NK is Localizer.scores_NK or not photos:
            return None
        fit = line.localizer_fit(held_out=True)
        # What only `apply` reads changes no score.
        identity = {"component": line.components.identity("localizer", fit=True), "rng_seed": line.rng_seed}
        inputs = {"weights": (fit,), "features": self._features(fit, photos)}
        return self._add("examine", "classifier", identity, inputs, photos)

    def _features(self, fit: Ref, photos: Sequence[Photo]) -> tuple[Ref, ...]:
        line, source = self.line, self.line.source
        assert line.components.localizer is not None
        requests = line.components.localizer.fit_features()
        if line.mode == "frozen":
            return line.blueprint.features(source, requests, None, source.shards_of(p.id for p in photos))
        # Nobody else asks for features of this backbone: those of the held-out photos are enough.
        alone = Source(f"{source.name}, held out", tuple(photos), source.runtime)
        return line.blueprint.features(alone, requests, fit, range(len(alone.shards)))

    def _diagnose(self) -> Ref | None:
        """The stored maps and the views of photos with masks, from what the maps were made of."""
        line, localizer, photos = self.line, self.line.components.localizer, self._photos_with_masks()
        if localizer is None or not photos:
            return None
        maps = tuple(line.maps(shard) for shard in line.source.shards_of(p.id for p in photos))
        stages = [line.blueprint.graph[ref] for ref in maps]
        inputs = {
            role: tuple(dict.fromkeys(ref for stage in stages for ref in stage.inputs.get(role, ())))
            for role in ("weights", "features", "weak_set")
        }
        dataset = line.blueprint.dataset
        identity = {
            "component": line.components.identity("localizer"),
            "dataset": dataset.identity(),
            "masks": self.line.blueprint.mask_contents(tuple(photo.id for photo in photos)),
            "purpose": "score",
            **({"rng_seed": line.rng_seed} if localizer.trained else {}),
        }
        given = {role: refs for role, refs in inputs.items() if refs}
        return self._add("diagnose", "maps", identity, {"maps": maps, **given}, photos)

    def _examine_cue(self) -> Ref | None:
        """The cue of the photos of dev and train against their masks."""
        line, cue, dataset = self.line, self.line.components.cue, self.line.blueprint.dataset
        masked = {p for split in ("dev", "train") for p in dataset.splits[split] if dataset.has_mask(p)}
        photos = tuple(photo for photo in line.source.photos if photo.id in masked)
        if cue is None or not photos:
            return None
        identity = {
            "dataset": dataset.identity(),
            "masks": line.blueprint.mask_contents(tuple(photo.id for photo in photos)),
            "purpose": "score",
        }
        shards = line.source.shards_of(photo.id for photo in photos)
        return self._add("examine_cue", "cue", identity, {"cue": tuple(map(line.cue, shards))}, photos)

    def _photos_with_masks(self) -> tuple[Photo, ...]:
        line = self.line
        dev = set(filter(line.blueprint.dataset.has_mask, line.blueprint.dataset.splits["dev"]))
        chosen = set(spread([p.id for p in line.source.photos if p.id in dev and p.labels], MAX_PHOTOS))
        return tuple(photo for photo in line.source.photos if photo.id in chosen)

    def _add(
        self,
        kind: str,
        diagnostic: Diagnostic,
        identity: Mapping[str, Any],
        inputs: Mapping[str, tuple[Ref, ...]],
        photos: Sequence[Photo],
    ) -> Ref:
        line = self.line
        shown = {
            "recipe": line.recipe,
            "setting": line.source.name,
            "training_mode": line.mode,
            "rng_seed": line.rng_seed,
            "diagnostic": diagnostic,
        }
        labels = fingerprint([(photo.id, photo.labels) for photo in photos])
        places = {"places": line.components.places("localizer")} if "component" in identity else {}
        return line.blueprint.add(
            kind,
            {**identity, "labels": labels, "version": VERSION},
            threads=line.blueprint.suite.compute.threads,
            inputs=inputs,
            runtime={**line.source.of(photos), **places, "shown": shown},
            label=line.label_of(f"diagnostics of the {diagnostic}"),
            group=line.group("diagnostics"),
            photos=len(photos),
        )
