"""Plug-in files on their way: from the suite that names them, with the stages that need them, into any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TypeVar

from harness.stages.graph import Stage
from harness.suites.suite import Suite
from settings.discovery import REGISTRIES, Registry, registry_of
from settings.errors import UserError
from settings.plugins import Plugin, plugged_in

DATA = ("setting", "dataset")
Result = TypeVar("Result")


def with_plugins(function: Callable[[Suite], Result]) -> Callable[[Suite], Result]:
    """A function of a suite that finds the components of the suite's plug-in files."""

    @wraps(function)
    def plugged(suite: Suite) -> Result:
        with plugged_in(read_plugins(suite.plugins)):
            return function(suite)

    return plugged


def read_plugins(paths: Iterable[str]) -> tuple[Plugin, ...]:
    """The plug-in files of a suite.

    Raises UserError for a file that is missing, no Python or without a component, and for a name that is taken.
    """
    plugins: dict[str, Plugin] = {}
    for path in dict.fromkeys(paths):
        plugin = Plugin.read(Path(path))
        if other := plugins.get(plugin.name):
            raise UserError(path, f"the name of {other.path} again", "a name for each plug-in", "rename one of them")
        _check(plugin)
        plugins[plugin.name] = plugin
    return tuple(plugins.values())


def pinned(stage: Stage) -> Stage:
    """The stage with the plug-ins that it needs: their hashes in its key, their texts at its side."""
    named = named_components(stage).items()
    needed = {role: plugin for role, (registry, name) in named if (plugin := registry.plugin(name))}
    if not needed:
        return stage
    # A setting and its source decide the weak set alone; what comes of that has its fingerprint in the key.
    data = ("setting", "source")
    deciding = [plugin for role, plugin in needed.items() if role not in data or "setting" in stage.identity]
    hashes = {plugin.name: plugin.sha256 for plugin in deciding}
    texts = [{"path": plugin.path, "text": plugin.text} for plugin in dict.fromkeys(needed.values())]
    identity = {**stage.identity, "plugins": hashes} if hashes else stage.identity
    return replace(stage, identity=identity, runtime={**stage.runtime, "plugins": texts})


def plugins_of(stages: Iterable[Stage]) -> tuple[Plugin, ...]:
    """The plug-ins that travelled with some stages; raises UserError for a text that is not the one in the key."""
    found: dict[Plugin, None] = {}
    for stage in stages:
        hashes = stage.identity.get("plugins", {})
        for content in stage.runtime.get("plugins", ()):
            plugin = Plugin(**content)
            if hashes.get(plugin.name, plugin.sha256) != plugin.sha256:
                raise UserError(plugin.path, "another text", f"the one that {stage.label} was planned with")
            found[plugin] = None
    return tuple(found)


def named_components(stage: Stage) -> dict[str, tuple[Registry, str]]:
    """What a stage loads by name, of `component`, `setting` and `dataset`: the registry and the name."""
    found = {role: (registry_of(role), stage.runtime[role]["name"]) for role in DATA if role in stage.runtime}
    source = stage.runtime.get("setting", {}).get("options", {}).get("source")
    # Planning wrote components out; anything else is some plug-in's own option of that name.
    if isinstance(source, Mapping) and "name" in source:
        found["source"] = (registry_of("source"), source["name"])
    if component := stage.identity.get("component"):
        found["component"] = (registry_of(component["role"]), component["name"])
    return found


def _check(plugin: Plugin) -> None:
    offering = [registry for registry in REGISTRIES.values() if registry.offered_by(plugin)]
    if not offering:
        bases = ", ".join(registry.base for registry in REGISTRIES.values())
        raise UserError(plugin.path, "no component", f"a class on one of {bases}")
    for registry in offering:
        if plugin.name in registry.installed():
            what = registry.kind.removesuffix("s")
            raise UserError(plugin.path, f"the name of the {what} '{plugin.name}'", "a new name", "rename the file")
