"""Arguments and options that several verbs have, declared once, and how they are refused beside each other."""

from collections.abc import Mapping
from typing import Annotated

import typer

from harness.store.layout import DEFAULT_STORE
from settings.errors import UserError

__all__ = [
    "DEFAULT_STORE",
    "AddressOption",
    "JsonOption",
    "SetOption",
    "StoreOption",
    "SuiteArgument",
    "refuse_options",
    "split_names",
]

SuiteArgument = Annotated[str, typer.Argument(help="a ready suite's name, or a YAML file")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="key.path=value, over what the suite says; may be given again")
]
StoreOption = Annotated[
    str, typer.Option(help="where artefacts are kept: a folder, or a URL such as s3://bucket/prefix")
]
AddressOption = Annotated[
    str | None, typer.Option(help="of a Ray cluster that exists: auto, host:port or ray://host:port")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print nothing but JSON")]


def split_names(text: str) -> tuple[str, ...]:
    """The names in a text that separates them by commas; blanks around them, and empty ones, are dropped."""
    stripped = (name.strip() for name in text.split(","))
    return tuple(filter(None, stripped))


def refuse_options(options: Mapping[str, object], found: str, expected: str, mend: str = "") -> None:
    """Raise UserError for the first of these options that is given."""
    for name, value in options.items():
        if value is not None:
            raise UserError(name, found, expected, mend)
