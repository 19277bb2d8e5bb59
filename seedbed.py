"""Seedbed from Python: `seedbed.run`, `seedbed.plan`, `seedbed.load`, and `seedbed.UserError`, which they raise.

Seedbed's packages are called `harness`, `methods`, `results` and `settings`: names that a folder of anybody's work may
have too, for a module `settings.py` or a folder `results/`. Imported first, this module gets Seedbed its own ones.
`python -m seedbed` is the command `seedbed`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import UserError as UserError
    from harness.api import plan as plan
    from harness.api import run as run
    from results.loading import load as load

__all__ = ["UserError", "load", "plan", "run"]

_HOME = Path(__file__).parent
_spec = find_spec("harness")
if _spec is None or _spec.origin is None or Path(_spec.origin).parent.parent != _HOME:
    sys.path.insert(0, str(_HOME))
# It makes way for the other three.
import harness  # noqa: E402 - from here on it is ours


def __getattr__(name: str) -> Any:
    # What a suite needs is imported when it is asked for, not with this module.
    if name == "load":
        import results

        return results.load
    if name in __all__:
        return getattr(harness, name)
    raise AttributeError(f"module 'seedbed' has no attribute {name!r}")


if __name__ == "__main__":
    from harness.commands.main import main

    main()
