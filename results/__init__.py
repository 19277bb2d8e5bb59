"""What came out: counts, rows, tables and plots."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from results.loading import load as load

__all__ = ["load"]

for _name in ("harness", "methods", "settings", "results"):
    _spec = _find_spec(_name)
    _origin = _Path(_spec.origin if _spec and _spec.origin else _name)
    if _origin.parent.parent != _Path(__file__).parent.parent:
        raise ImportError(f"{_origin} hides Seedbed's package '{_name}': rename it, or start Python elsewhere")


def __getattr__(name: str) -> _Any:
    # pandas and pyarrow take a second to import: only who asks for rows pays.
    if name == "load":
        from results.loading import load

        return load
    raise AttributeError(f"module 'results' has no attribute {name!r}")
