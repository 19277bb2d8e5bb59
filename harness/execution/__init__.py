"""Who runs which stage next, and where: in this process, on this machine's cores, or on a cluster.

The way of a run: `running` (what of a plan is missing) → `driver` (which stage next) → an executor (`executor`, `ray`)
→ `worker` (one job: lease, run, publish). What is begun again after it ended badly is decided in `retries`.
"""

from typing import Literal

__all__ = ["ExecutorName", "Packages"]

# Here and not beside the executors: the command line names them, and must import none.
ExecutorName = Literal["serial", "ray"]
Packages = Literal["installed", "pinned"]
"""What other nodes run on: what is installed there, or this machine's versions, which Ray installs there first."""
