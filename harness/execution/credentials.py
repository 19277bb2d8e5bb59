"""What opens a store behind a URL and is nobody else's business: it reaches workers with their work, and no other way.

Ray writes the environment that it makes for workers into logs which every user of a node may read, so these variables
are no part of it. Nodes import this module too, also those where nothing is installed that Seedbed depends on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["Credentials", "adopt", "credentials"]

Credentials = Mapping[str, str]
"""Environment variables and their values."""
SECRET = ("AWS_", "FSSPEC_")
"""How the names of those variables begin that file systems read."""


def credentials() -> Credentials:
    """The variables of this process by which file systems find a server and are let in."""
    return {name: value for name, value in os.environ.items() if name.startswith(SECRET)}


def adopt(handed: Credentials) -> None:
    """Open stores in this process with what another one has handed over, from now on."""
    os.environ.update(handed)
    # It reads the variables once, when it is imported, and Ray's own modules may have done that already.
    if "fsspec" in sys.modules:
        from fsspec.config import conf, set_conf_env

        set_conf_env(conf)
