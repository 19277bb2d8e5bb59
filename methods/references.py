"""Floors and ceilings, as ordinary recipes that a suite names under `references:`."""

import re
from typing import Any

REFERENCES: dict[str, dict[str, Any]] = {
    "all-background": {"labeler": "all_background", "segmenter": "all_background"},
    "centre-prior": {"localizer": "centre_prior", "labeler": {"name": "threshold", "threshold": 0.5}},
    "untrained-cam": {"localizer": "untrained", "labeler": {"name": "threshold", "threshold": 0.5}},
    "few-shot(16)": {"reveal": 16},
    "few_shot_matching(16)": {"reveal": 16, "segmenter": "few_shot_matching", "training_mode": "frozen"},
    "unsupervised(12)": {
        "reveal": "dev",
        "segmenter": {"name": "superpixel_clusters", "clusters": 12},
        "training_mode": "frozen",
    },
    "full-supervision": {"reveal": "all"},
}


def reference(name: str) -> dict[str, Any] | None:
    """The recipe of that name; None where there is none.

    `few-shot(n)` and `few_shot_matching(n)` are there for any n ≥ 1, `unsupervised(k)` for any k ≥ 2 clusters.
    """
    if few := re.fullmatch(r"(few-shot|few_shot_matching)\(([1-9]\d{0,6})\)", name):
        return {**REFERENCES[f"{few[1]}(16)"], "reveal": int(few[2])}
    if clusters := re.fullmatch(r"unsupervised\(([2-9]|[1-9]\d{1,2})\)", name):
        found = REFERENCES["unsupervised(12)"]
        return {**found, "segmenter": {**found["segmenter"], "clusters": int(clusters[1])}}
    return REFERENCES.get(name)
