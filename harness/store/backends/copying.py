"""What lies beside artefacts in a store (descriptions, failures, costs, leaderboards), copied to a remote and back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from harness.store.backends.remote import Remote


def push(remote: Remote, root: Path, path: Path, absent_only: bool = False) -> None:
    """Send a file or a folder below a root to the same place at the remote."""
    top = path.relative_to(root).as_posix()
    files = [each for each in sorted(path.rglob("*")) if each.is_file()] if path.is_dir() else [path]
    names = {each.relative_to(root).as_posix(): each for each in files if not each.name.startswith(".")}
    there = remote.sizes(top) if absent_only else {}
    remote.upload({name: each for name, each in names.items() if name.removeprefix(f"{top}/") not in there})


def pull_file(remote: Remote, root: Path, name: str) -> None:
    """Fetch a file, where there is one."""
    with suppress(FileNotFoundError):
        _write(root / name, remote.read(name))


def pull_folder(remote: Remote, root: Path, name: str, anew: bool = False) -> None:
    """Fetch the files that are not here, or shorter; `anew`: all, and remove what the remote has not."""
    sizes = remote.sizes(name)
    if anew:
        for copy in (root / name).glob("*.json"):
            if copy.name not in sizes:
                copy.unlink(missing_ok=True)
    wanted = [path for path, size in sizes.items() if anew or _size(root / name / path) < size]
    for path, content in remote.read_all(f"{name}/{each}" for each in wanted).items():
        _write(root / path, content)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
