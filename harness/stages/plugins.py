"""Plug-in files on their way: from the suite that names them, with the stages that need them, into any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from typing import TypeVar

from harness.stages.graph import Stage
from harness.stages.kind import DataRuntime
from harness.stages.provenance import modules_imported_by
from harness.suites.recipes import ComponentIdentity
from harness.suites.suite import Suite
from settings.discovery import REGISTRIES, Registry, registry_of
from settings.errors import UserError
from settings.plugins import Plugin, plugged_in

__all__ = ["pinned", "plugins_of", "read_plugins", "source_modules", "with_plugins"]

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
    needed: dict[str, Plugin] = {}
    for role, (registry, name) in _named_components(stage).items():
        if plugin := registry.plugin(name):
            needed[role] = plugin
    if not needed:
        return stage
    hashes = {}
    for role, plugin in needed.items():
        # A setting and its source decide the weak set alone; what comes of that has its fingerprint in the key.
        if role not in (_SETTING, _SOURCE) or _names_setting(stage):
            hashes[plugin.name] = plugin.sha256
    identity = replace(stage.identity, plugins=hashes) if hashes else stage.identity
    runtime = replace(stage.runtime, plugins=tuple(dict.fromkeys(needed.values())))
    return replace(stage, identity=identity, runtime=runtime)


def plugins_of(stages: Iterable[Stage]) -> tuple[Plugin, ...]:
    """The plug-ins that travelled with some stages; raises UserError for a text that is not the one in the key."""
    found: dict[Plugin, None] = {}
    for stage in stages:
        hashes = stage.identity.plugins or {}
        for plugin in stage.runtime.plugins:
            if hashes.get(plugin.name, plugin.sha256) != plugin.sha256:
                raise UserError(plugin.path, "another text", f"the one that {stage.label} was planned with")
            found[plugin] = None
    return tuple(found)


def source_modules(stage: Stage) -> list[str]:
    """The modules whose sources make a stage's artefact: its component's, or the one that computes its kind.

    A plug-in's own text is in the key; here stand the modules of ours that it imports.
    """
    if stage.kind.sources is not None:
        return [stage.kind.sources]
    named = _named_components(stage)
    makers = [named[_COMPONENT]] if _COMPONENT in named else [named[_SETTING], named[_DATASET]]
    modules: set[str] = set()
    with plugged_in(plugins_of([stage])):
        for registry, name in makers:
            modules |= set(_modules(registry, name))
    return sorted(modules)


_COMPONENT, _SETTING, _SOURCE, _DATASET = "component", "setting", "source", "dataset"


def _named_components(stage: Stage) -> dict[str, tuple[Registry, str]]:
    """What a stage loads by name, by what it is for the stage: the registry and the name."""
    found: dict[str, tuple[Registry, str]] = {}
    if isinstance(stage.runtime, DataRuntime):
        place = stage.runtime.place
        found[_DATASET] = registry_of(_DATASET), place.dataset.name
        if place.setting is not None:
            found[_SETTING] = registry_of(_SETTING), place.setting.name
            source = place.setting.options.get("source")
            # Planning wrote components out; anything else is some plug-in's own option of that name.
            if isinstance(source, Mapping) and "name" in source:
                found[_SOURCE] = registry_of(_SOURCE), source["name"]
    component = getattr(stage.identity, "component", None)
    if isinstance(component, ComponentIdentity):
        found[_COMPONENT] = registry_of(component.role), component.name
    return found


def _names_setting(stage: Stage) -> bool:
    return "setting" in {field.name for field in fields(stage.identity)}


def _modules(registry: Registry, name: str) -> Sequence[str]:
    plugin = registry.plugin(name)
    return modules_imported_by(plugin.tree) if plugin else [registry.module_of(name)]


def _check(plugin: Plugin) -> None:
    offering = [registry for registry in REGISTRIES.values() if registry.offered_by(plugin)]
    if not offering:
        bases = ", ".join(registry.base for registry in REGISTRIES.values())
        raise UserError(plugin.path, "no component", f"a class on one of {bases}")
    for registry in offering:
        if plugin.name in registry.installed():
            what = registry.kind.removesuffix("s")
            raise UserError(plugin.path, f"the name of the {what} '{plugin.name}'", "a new name", "rename the file")
