"""Plug-in files: components in a file of somebody's own, which a suite names under `plugins:`.

A plug-in is one text. It is read when a suite is planned, travels as text with the stages that need it, and runs in
whatever process needs it from that text: an edit during a run changes nothing, and no other machine needs the file.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib.abc import ExecutionLoader
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from settings.errors import UserError

__all__ = ["MAX_BYTES", "SURROUNDINGS", "Plugin", "current_plugins", "import_error", "plugged_in"]

EXPECTED = "a Python file with a component"
MAX_BYTES = 1 << 20
"""A plug-in travels with every stage that needs it."""
SURROUNDINGS = "take bank, backbone, weights … from surroundings: see 'Adding a component' in CONTRIBUTING.md"
"""The mend for a component that was written when methods took these as arguments."""
GONE = {"StageContext": "Surroundings", "Part": "Component"}
"""Names of `methods.base` that older plug-ins import, and what stands in their place."""


@dataclass(frozen=True)
class Plugin:
    """One plug-in file's text; `path` is where it was read, and need not exist where it runs."""

    path: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Plugin:
        """The plug-in in a file; raises UserError where it is missing, or holds anything but Python."""
        plugin = cls(str(path.absolute()), _read_text(path))
        if not re.fullmatch(r"[^\W\d][\w-]*\.py", path.name):
            raise UserError(path, f"the name '{path.name}'", "letters, digits, '_' and '-', then '.py'")
        try:
            plugin.tree  # noqa: B018 - parsed now, so that the mistake is told before any work
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            what = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
            raise UserError(f"{path}{line}", f"unreadable Python ({what})", EXPECTED) from None
        return plugin

    @property
    def name(self) -> str:
        """The name of its components: the file's stem."""
        return Path(self.path).stem

    @cached_property
    def sha256(self) -> str:
        """The text's sha256, in hexadecimal; it stands in the keys of what the plug-in makes."""
        return sha256(self.text.encode()).hexdigest()

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return ast.parse(self.text, self.path)

    def module(self) -> ModuleType:
        """The text, run as a module once a process; raises UserError for whatever it raises."""
        return _run(self)


_plugged_in: ContextVar[tuple[Plugin, ...]] = ContextVar("plugged_in", default=())


@contextmanager
def plugged_in(plugins: Sequence[Plugin]) -> Iterator[None]:
    """While this lasts, the registries find the components of these files."""
    token = _plugged_in.set(tuple(plugins))
    try:
        yield
    finally:
        _plugged_in.reset(token)


def current_plugins() -> tuple[Plugin, ...]:
    """The plug-ins whose components the registries find now."""
    return _plugged_in.get()


class _TextLoader(ExecutionLoader):
    """Runs a text that is already read; tracebacks show its lines wherever it runs."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def get_source(self, fullname: str) -> str:
        return self._plugin.text

    def get_filename(self, fullname: str) -> str:
        return self._plugin.path


@cache
def _run(plugin: Plugin) -> ModuleType:
    # No other module has such a name, and two texts never share one.
    name = f"seedbed_plugin_{plugin.name}_{plugin.sha256[:12]}"
    spec = importlib.util.spec_from_loader(name, _TextLoader(plugin))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a stranger's file does when it is imported
        del sys.modules[name]
        raise import_error(plugin.path, error) from error
    return module


def import_error(path: str, error: BaseException) -> UserError:
    """The error for a component's file that cannot be imported, with the line of it that failed."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == path]
    where = f"{path}:{lines[-1]}" if lines else path
    told = str(error) if isinstance(error, ImportError | AttributeError) else ""
    for old, new in GONE.items():
        if f"'{old}'" in told and "'methods.base'" in told:
            return UserError(where, f"'{old}' of methods.base", f"'{new}'", SURROUNDINGS)
    return UserError(where, f"{type(error).__name__} ({error})", "a Python file that can be imported")


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise UserError(path, "no such file", EXPECTED)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(path, f"{size} bytes", f"at most {MAX_BYTES}")
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"an unreadable text ({error})", EXPECTED) from None
