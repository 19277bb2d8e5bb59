"""What `seedbed doctor` looks at, one function a question; none of them imports torch or Ray, or writes anything."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and how to mend it."""

    name: str
    state: State
    found: str
    mend: str = ""
