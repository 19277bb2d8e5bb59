"""The registries: a component's name is the name of its file, of an entry point, or of a plug-in file.

Names are listed by reading file texts; only what is named is imported.
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from settings.errors import unknown_name


@dataclass(frozen=True)
class Registry:
    """Components of one kind: files in `package` that define a subclass of `base`, and entry points of `group`."""

    kind: str
    package: str
    base: str

    @property
    def group(self) -> str:
        """The entry-point group under which other distributions offer components."""
        return f"seedbed.{self.kind}"

    def names(self) -> tuple[str, ...]:
        """All known names, sorted; nothing is imported."""
        return tuple(sorted({*self._files(), *(point.name for point in entry_points(group=self.group))}))

    def load(self, name: str, where: object = None) -> Any:
        """The component class called `name`; raises UserError with the nearest name when there is none."""
        if name in self._files():
            return self._component(importlib.import_module(f"{self.package}.{name}"))
        for point in entry_points(group=self.group):
            if point.name == name:
                return point.load()
        raise unknown_name(where or self.kind, self.kind.removesuffix("s"), name, self.names())

    def _files(self) -> dict[str, Path]:
        spec = importlib.util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        pattern = re.compile(rf"^class \w+\((?:\w+\.)?{self.base}\b", re.MULTILINE)
        files = (path for folder in folders for path in Path(folder).glob("[a-z]*.py"))
        return {path.stem: path for path in files if pattern.search(path.read_text(encoding="utf-8"))}

    def _component(self, module: ModuleType) -> Any:
        for value in vars(module).values():
            ours = isinstance(value, type) and value.__module__ == module.__name__
            if ours and self.base in (base.__name__ for base in value.__mro__[1:]):
                return value
        raise LookupError(f"{module.__name__} defines no subclass of {self.base}")


DATASETS = Registry("datasets", "settings.datasets", "Dataset")
SETTINGS = Registry("settings", "settings", "Setting")
LOCALIZERS = Registry("localizers", "methods.localizers", "Localizer")
REFINERS = Registry("refiners", "methods.refiners", "Refiner")
LABELERS = Registry("labelers", "methods.labelers", "Labeler")
SEGMENTERS = Registry("segmenters", "methods.segmenters", "Segmenter")
