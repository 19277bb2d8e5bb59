"""The registries: a component's name is the name of its file, of an entry point, or of a plug-in file.

Names are listed by reading file texts; only what is named is imported.
"""

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from settings.errors import UserError, unknown_name
from settings.plugins import SURROUNDINGS, Plugin, current_plugins, import_error

FORMS = "see 'Adding a component' in CONTRIBUTING.md"
"""The mend for a method that takes other arguments than its base class's."""

__all__ = [
    "CLASSIFIERS",
    "CUES",
    "DATASETS",
    "FILTERS",
    "LABELERS",
    "LOCALIZERS",
    "METRICS",
    "PRETRAININGS",
    "REFINERS",
    "REGISTRIES",
    "SEGMENTERS",
    "SETTINGS",
    "SOURCES",
    "TRACKERS",
    "Registry",
    "registry_of",
]


@dataclass(frozen=True)
class Registry:
    """Components of one kind: files of `package` with a subclass of `base`, entry points of `group`, plug-ins."""

    kind: str
    package: str
    base: str

    @property
    def group(self) -> str:
        """The entry-point group under which other distributions offer components."""
        return f"seedbed.{self.kind}"

    def names(self) -> tuple[str, ...]:
        """All known names, sorted; nothing is imported."""
        plugins = (plugin.name for plugin in current_plugins() if self.offered_by(plugin))
        return tuple(sorted({*self.installed(), *plugins}))

    def installed(self) -> frozenset[str]:
        """The names of our files and of what other distributions offer, whatever is plugged in."""
        return frozenset(self._files()) | frozenset(self.points())

    def load(self, name: str, where: object = None) -> Any:
        """The component class called `name`; raises UserError with the nearest name when there is none.

        So it does for a plug-in or entry point that cannot be imported, or that holds no complete component.
        """
        if name in self._files():
            return self._component(importlib.import_module(f"{self.package}.{name}"))
        if plugin := self.plugin(name):
            return self._component(plugin.module())
        if point := self.points().get(name):
            return self._loaded(point)
        raise unknown_name(where or self.kind, self.kind.removesuffix("s"), name, self.names())

    def plugin(self, name: str) -> Plugin | None:
        """The plug-in that offers the component of this name; None where none does."""
        return next((plugin for plugin in current_plugins() if plugin.name == name and self.offered_by(plugin)), None)

    def offered_by(self, plugin: Plugin) -> bool:
        """Whether a plug-in defines a component of this kind: a class on the base, or on a component in a file of ours.

        Its text tells; nothing is imported.
        """
        return _is_offered(plugin, self.base, frozenset(f"{self.package}.{name}" for name in self._files()))

    def module_of(self, name: str) -> str:
        """The module of an installed component: ours, or the one that its entry point names."""
        point = None if name in self._files() else self.points().get(name)
        return point.module if point else f"{self.package}.{name}"

    def _files(self) -> Collection[str]:
        return _names_of_files(self.package, self.base)

    def points(self) -> dict[str, EntryPoint]:
        """What other distributions offer, by name; nothing is imported."""
        return {point.name: point for point in entry_points(group=self.group)}

    def _component(self, module: ModuleType) -> Any:
        own = {value for value in vars(module).values() if self._is_component(value)}
        own = {kind for kind in own if kind.__module__ == module.__name__}
        last = [kind for kind in own if not any(kind in other.__mro__[1:] for other in own)]
        if len(last) != 1:
            raise UserError(module.__file__, f"{len(last)} classes on {self.base}", "one", "use a file for each")
        return self._complete(last[0], module.__file__)

    def _loaded(self, point: EntryPoint) -> Any:
        where = f"entry point {point.name} = {point.value}"
        try:
            kind = point.load()
        except Exception as error:  # whatever another distribution does when it is imported
            raise import_error(where, error) from error
        if not self._is_component(kind):
            raise UserError(where, repr(kind), f"a class on {self.base}")
        return self._complete(kind, where)

    def _is_component(self, value: object) -> bool:
        return isinstance(value, type) and self.base in (base.__name__ for base in value.__mro__[1:])

    def _complete(self, kind: Any, where: object) -> Any:
        if missing := ", ".join(sorted(getattr(kind, "__abstractmethods__", ()))):
            raise UserError(
                where, f"class {kind.__name__} without {missing}", f"every method that {self.base} asks for"
            )
        base = next(base for base in kind.__mro__ if base.__name__ == self.base)
        if others := _other_forms(kind, base):
            function, _ = others[0]
            found = ", ".join(_form(own) for own, _ in others)
            expected = ", ".join(_form(asked) for _, asked in others)
            place = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
            raise UserError(place, found, expected, SURROUNDINGS if "surroundings" in expected else FORMS)
        return kind


# Kept: a plan builds the same few classes hundreds of times.
@cache
def _other_forms(kind: type, base: type) -> list[tuple[FunctionType, FunctionType]]:
    """The methods of a component that cannot be called as its base class's are, each with the base class's.

    So are those of plug-ins that were written for an older form of the base class.
    """
    pairs = []
    for name in dir(base):
        if name.startswith("_"):
            continue
        own, asked = inspect.getattr_static(kind, name), inspect.getattr_static(base, name)
        is_overridden = isinstance(own, FunctionType) and isinstance(asked, FunctionType) and own is not asked
        if not is_overridden:
            continue
        try:
            inspect.signature(own).bind(*inspect.signature(asked).parameters)
        except TypeError:
            pairs.append((own, asked))
    return sorted(pairs, key=lambda pair: pair[0].__code__.co_firstlineno)


def _form(function: FunctionType) -> str:
    """How a method is called, as its user reads it: `fit(weak, surroundings)`."""
    _, *parameters = inspect.signature(function).parameters
    return f"{function.__name__}({', '.join(parameters)})"


@cache
def _names_of_files(package: str, base: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    pattern = re.compile(rf"^class \w+\((?:\w+\.)?{base}\b", re.MULTILINE)
    files = (path for folder in folders for path in Path(folder).glob("[a-z]*.py"))
    return frozenset(path.stem for path in files if pattern.search(path.read_text(encoding="utf-8")))


@cache
def _is_offered(plugin: Plugin, base: str, modules: frozenset[str]) -> bool:
    parents = {base}
    for node in plugin.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            parents |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.ClassDef) and parents & set(map(_name_of_base, node.bases)):
            return True
    return False


def _name_of_base(node: ast.expr) -> str:
    """`Metric` of `results.metric.Metric[Sweep]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return ast.unparse(node).rpartition(".")[2]


DATASETS = Registry("datasets", "settings.datasets", "Dataset")
SETTINGS = Registry("settings", "settings", "Setting")
SOURCES = Registry("sources", "settings.sources", "ExtraSource")
FILTERS = Registry("filters", "settings.filters", "Filter")
PRETRAININGS = Registry("pretrainings", "methods.pretraining", "Pretraining")
CLASSIFIERS = Registry("classifiers", "methods.classifiers", "Classifier")
LOCALIZERS = Registry("localizers", "methods.localizers", "Localizer")
CUES = Registry("cues", "methods.cues", "Cue")
REFINERS = Registry("refiners", "methods.refiners", "Refiner")
LABELERS = Registry("labelers", "methods.labelers", "Labeler")
SEGMENTERS = Registry("segmenters", "methods.segmenters", "Segmenter")
METRICS = Registry("metrics", "results.metrics", "Metric")
TRACKERS = Registry("trackers", "harness.tracking", "Tracker")
"""No components of a suite: they show what it made, and are not among `REGISTRIES`."""
REGISTRIES: Mapping[str, Registry] = {
    registry.kind: registry
    for registry in (
        DATASETS,
        SETTINGS,
        SOURCES,
        FILTERS,
        CLASSIFIERS,
        PRETRAININGS,
        LOCALIZERS,
        CUES,
        REFINERS,
        LABELERS,
        SEGMENTERS,
        METRICS,
    )
}
"""Every kind of component, by the plural."""


def registry_of(role: str) -> Registry:
    """The registry of a role as stages and recipes name it, in the singular; KeyError for another word."""
    return REGISTRIES[f"{role}s"]
