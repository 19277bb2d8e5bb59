"""What stages cost, before they run: measured seconds of this store where there are some, else a checked-in guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import median

from harness.stages.graph import Stage
from harness.store.layout import COSTS, Ref
from harness.store.store import Store
from methods.segmenting import Inference

SECONDS_A_PHOTO: Mapping[str, float] = {
    "features": 0.05,
    "localizer_fit": 0.06,
    "localizer_apply": 0.01,
    "refiner_fit": 0.2,
    "refiner_apply": 0.06,
    "cue_fit": 0.05,
    "cue": 0.02,
    "label": 0.01,
    "segmenter_fit": 0.12,
    "segment": 0.03,
    "sweep": 0.01,
    "score": 0.006,
    "gallery": 0.5,
    "classify": 0.005,
    "examine": 0.01,
    "diagnose": 0.1,
    "examine_cue": 0.006,
}
"""On one core of a laptop; what is not named here costs next to nothing."""
CRF_SECONDS_A_PHOTO = 1.0
"""Of a segmentation that ends in a CRF; measured on one core: 1.3 s at 500 × 375 with 21 classes, 0.6 s with 7."""
CHANNELS_OF_LEVEL = (16, 24, 40, 112, 320)
"""Those of the default backbone; other networks are wider, and their first run measures them."""
OTHER_BYTES_A_PHOTO = 20_000


class Costs:
    """Seconds and bytes of stages; `learn` keeps what a run measured."""

    def __init__(self, store: Store) -> None:
        self._measured = _read(store)

    def seconds(self, stage: Stage) -> float:
        """Estimated seconds of a stage."""
        a_photo = self._measured.get(stage.group, _guess(stage))
        return a_photo * stage.photos + 0.02

    def bytes(self, stage: Stage) -> int:
        """Estimated bytes of a stage's artefact."""
        if stage.kind != "features":
            return OTHER_BYTES_A_PHOTO * stage.photos if stage.kind in ("localizer_apply", "label", "segment") else 0
        level, scale = stage.identity["level"], stage.identity["scale"]
        backbone = stage.identity["backbone"]
        side: int = round(backbone["size"] * scale) // min(2 ** (level + 1), backbone["output_stride"])
        return 2 * CHANNELS_OF_LEVEL[level] * side * side * stage.photos

    def learn(self, store: Store, stages: Mapping[Ref, Stage]) -> None:
        """Keep the median seconds a photo of each group of stages that are published now."""
        seen: dict[str, list[float]] = {}
        for ref, record in store.records(ref for ref in stages if store.has(ref)).items():
            stage = stages[ref]
            if stage.photos:
                seen.setdefault(stage.group, []).append(record.seconds / stage.photos)
        if seen:
            self._measured |= {group: median(values) for group, values in seen.items()}
            text = json.dumps(self._measured, indent=1, sort_keys=True)
            store.write_documents({COSTS: text.encode()})


def _guess(stage: Stage) -> float:
    """Seconds a photo where nothing is measured yet; a segmentation's by its passes and CRF."""
    a_photo = SECONDS_A_PHOTO.get(stage.kind, 0.0)
    if stage.kind != "segment" or "inference" not in (options := stage.identity["component"]["options"]):
        return a_photo
    inference = Inference.model_validate(options["inference"])
    return a_photo * len(inference.passes) + CRF_SECONDS_A_PHOTO * inference.crf


def _read(store: Store) -> dict[str, float]:
    try:
        content = json.loads(store.read_document(COSTS))
        return {str(group): float(seconds) for group, seconds in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
