"""The user's configuration: where data sets lie on this machine."""

import os
from pathlib import Path

import yaml

from settings.errors import UserError
from settings.options import absolute

__all__ = ["config_file", "configured_path", "data_root", "existing_folder"]


def config_file() -> Path:
    """$SEEDBED_CONFIG, else ~/.config/seedbed/config.yaml."""
    return Path(os.environ.get("SEEDBED_CONFIG") or Path.home() / ".config" / "seedbed" / "config.yaml")


def existing_folder(path: Path) -> Path | None:
    """The folder, `~` expanded; None where the path leads to anything else, or no file system could hold it."""
    try:
        expanded = path.expanduser()
        return expanded if expanded.is_dir() else None
    except (OSError, RuntimeError):
        # A name that is too long, or a home that nobody has.
        return None


def data_root(dataset: str) -> Path:
    """The folder that the configuration names for a data set (`data: {voc12: PATH}`), absolute.

    A relative path counts from the configuration's own folder. Raises UserError where there is none.
    """
    path = config_file()
    mend = f"add 'data: {{{dataset}: PATH}}' to {path}, or set dataset.root in the suite"
    if not path.is_file():
        raise UserError("dataset.root", "nothing", f"the folder of {dataset}", mend)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = content["data"][dataset]
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(path, f"no entry for {dataset}", "a YAML mapping", mend) from None
    if not isinstance(root, str) or not root:
        raise UserError(path, f"{root!r} for {dataset}", "a path", mend)
    try:
        return configured_path(path, root)
    except ValueError as error:
        raise UserError(path, f"{root!r} for {dataset}", str(error), mend) from None


def configured_path(config: Path, root: str) -> Path:
    """What a configuration means by a path: absolute, `~` expanded, a relative one from the configuration's folder.

    So it means the same wherever a process that reads it was started. Raises ValueError where `~name` names nobody.
    """
    if root.startswith("~"):
        return absolute(Path(root))
    return absolute(config.parent / root)
