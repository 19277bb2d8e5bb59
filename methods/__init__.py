"""What is compared: localizers, cues, refiners, labelers, segmenters and classifiers; a new method is one new file.

A component imports what it needs from `base`. Beside it stand helpers for their functions: `inputs` and `training` (the
loop), `features`, `localization` (the files of maps), `refining`, `segmenting`, `outside` (files of other programs).
"""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

__all__ = ["base", "features", "inputs", "localization", "outside", "refining", "segmenting", "training"]

for _name in ("harness", "methods", "settings", "results"):
    _spec = _find_spec(_name)
    _origin = _Path(_spec.origin if _spec and _spec.origin else _name)
    if _origin.parent.parent != _Path(__file__).parent.parent:
        raise ImportError(f"{_origin} hides Seedbed's package '{_name}': rename it, or start Python elsewhere")
