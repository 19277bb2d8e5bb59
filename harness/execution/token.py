"""Ray's token, which must be known before Ray is imported: it reads the variables then, and never again."""

from __future__ import annotations

import os
from pathlib import Path

TOKEN = Path("~/.ray/auth_token")


def show_token() -> None:
    """Where this user has Ray's token, show it to clusters: without, an address fails after 20 s and many warnings."""
    if TOKEN.expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
