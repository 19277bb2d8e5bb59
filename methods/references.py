"""Floors and ceilings, as ordinary recipes that a suite names under `references:`."""

from typing import Any

REFERENCES: dict[str, dict[str, Any]] = {
    "all-background": {"labeler": "all_background", "segmenter": "all_background"},
}
