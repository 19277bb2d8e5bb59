"""Executors: one interface, one process or many."""

from typing import Literal

ExecutorName = Literal["serial", "ray"]
Packages = Literal["installed", "pinned"]
"""What other nodes run on: what is installed there, or this machine's versions, which Ray installs there first."""
