"""The user's configuration: where data sets lie on this machine."""

import os
from pathlib import Path

import yaml

from settings.errors import UserError


def config_file() -> Path:
    """$SEEDBED_CONFIG, else ~/.config/seedbed/config.yaml."""
    return Path(os.environ.get("SEEDBED_CONFIG") or Path.home() / ".config" / "seedbed" / "config.yaml")


def data_root(dataset: str) -> Path:
    """The folder that the configuration names for a data set (`data: {voc12: PATH}`); raises UserError without one."""
    path = config_file()
    mend = f"add 'data: {{{dataset}: PATH}}' to {path}, or set dataset.root in the suite"
    if not path.is_file():
        raise UserError("dataset.root", "nothing", f"the folder of {dataset}", mend)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = content["data"][dataset]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(path, f"no entry for {dataset}", "a YAML mapping", mend) from None
    if not isinstance(root, str) or not root:
        raise UserError(path, f"{root!r} for {dataset}", "a path", mend)
    return Path(root).expanduser()
