"""The package that a search needs beside those of a run."""

from importlib.util import find_spec

from settings.errors import UserError

__all__ = ["check_optuna"]


def check_optuna() -> None:
    """Raise UserError where optuna is not installed; asked before anything that imports it."""
    if find_spec("optuna") is None:
        raise UserError("seedbed search", "no package optuna", "it", "pip install 'seedbed[search]'")
