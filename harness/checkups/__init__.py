"""What `seedbed doctor` looks at: this machine, the files that Seedbed needs, and the nodes of a cluster."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "State"]

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and how to mend it."""

    name: str
    state: State
    found: str
    mend: str = ""
