"""Who runs what, where: suites are planned into stages, and each stage runs once.

What other code may rely on is `harness.run`, `harness.plan` and `harness.UserError`; all else may change.
"""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from harness.api import UserError as UserError
    from harness.api import plan as plan
    from harness.api import run as run

__all__ = ["UserError", "plan", "run"]

for _name in ("harness", "methods", "settings", "results"):
    # Generic names: a `settings.py` in somebody's folder comes before ours, and would fail much later, without a hint.
    _spec = _find_spec(_name)
    _origin = _Path(_name)
    if _spec and _spec.origin:
        _origin = _Path(_spec.origin)
    if _origin.parent.parent != _Path(__file__).parent.parent:
        raise ImportError(f"{_origin} hides Seedbed's package '{_name}': rename it, or start Python elsewhere")


def __getattr__(name: str) -> object:
    # What a suite needs is imported when it is asked for, not with the package.
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
