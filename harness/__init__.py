"""Who runs what, where: suites are planned into stages, and each stage runs once.

What other code may rely on is `harness.run`, `harness.plan` and `harness.UserError`; all else may change.
"""

import sys as _sys
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from harness.api import UserError as UserError
    from harness.api import plan as plan
    from harness.api import run as run

__all__ = ["UserError", "plan", "run"]


def _make_way() -> None:
    """Have `methods`, `settings` and `results` be Seedbed's, whatever a folder before them on the path holds.

    These are generic names: a `settings.py` in somebody's folder would fail much later, without a hint. Raises
    ImportError where such a module is imported already.
    """
    home = _Path(__file__).parent.parent
    for name in ("methods", "settings", "results"):
        loaded = _sys.modules.get(name)
        if loaded is None:
            spec = _find_spec(name)
            origin = spec.origin if spec else None
        else:
            origin = loaded.__file__
        if origin is not None and _Path(origin).parent.parent == home:
            continue
        if loaded is not None:
            found = f"{origin or name} hides Seedbed's package '{name}'"
            raise ImportError(f"{found}: rename it, or import seedbed before it")
        # On the path itself: processes that are started from here inherit it.
        _sys.path.insert(0, str(home))


_make_way()


def __getattr__(name: str) -> object:
    # What a suite needs is imported when it is asked for, not with the package.
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
