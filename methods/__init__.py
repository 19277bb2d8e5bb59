"""What is compared: localizers, refiners, labelers and segmenters; a new method is one new file."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

for _name in ("harness", "methods", "settings", "results"):
    _spec = _find_spec(_name)
    _origin = _Path(_spec.origin if _spec and _spec.origin else _name)
    if _origin.parent.parent != _Path(__file__).parent.parent:
        raise ImportError(f"{_origin} hides Seedbed's package '{_name}': rename it, or start Python elsewhere")
