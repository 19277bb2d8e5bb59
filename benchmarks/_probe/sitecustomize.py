"""Writes the CPU seconds of each job that a process of Seedbed runs, whatever build it is and whatever started it.

Python imports a module of this name when it starts; it lies on PYTHONPATH only where a benchmark puts it there. Once
the build's event log is imported, its `write` is wrapped: a worker tells of its jobs' beginnings and ends by it.
Nothing of Seedbed's own packages is imported here, since the builds' differ.
"""

import atexit
import importlib.abc
import importlib.machinery
import json
import os
import resource
import sys
import time
from pathlib import Path

LOGS = ("harness.store.events", "harness.events")
"""Where the class of event logs lies, from build to build."""
PLACE = os.environ.get("SEEDBED_PROBE")
"""The folder to write to: a file a process."""


def tell(**content):
    """Append one line to this process's file."""
    with (Path(PLACE) / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(content) + "\n")


def wrap(module):
    """Have the module's event log tell what each job took."""
    write = module.EventLog.write
    begun = {}

    def told(self, event, **content):
        stages = content.get("stages", ())
        if event == "started":
            begun[tuple(stages)] = time.process_time()
        elif event == "finished":
            for keys, start in list(begun.items()):
                if set(keys) & set(stages):
                    del begun[keys]
                    tell(stages=list(stages), cpu=time.process_time() - start)
        write(self, event, **content)

    module.EventLog.write = told


class Finder(importlib.abc.MetaPathFinder):
    """Finds a build's event log as Python would, and wraps it after it was loaded."""

    def find_spec(self, name, path, target=None):
        """The module's own place, with a loader that wraps it; None for any other module."""
        if name not in LOGS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_wrap(module):
            execute(module)
            wrap(module)

        spec.loader.exec_module = execute_and_wrap
        return spec


def tell_whole():
    """At the end of a process that is not killed: what all of it took, and its most resident memory."""
    if Path(PLACE).is_dir():
        tell(whole=time.process_time(), peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if PLACE:
    atexit.register(tell_whole)
    sys.meta_path.insert(0, Finder())
