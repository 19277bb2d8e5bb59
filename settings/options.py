"""The base of everything that users write: options of components, suites, configuration."""

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["HOME_OF_A_USER", "AbsolutePath", "Options", "absolute"]


class Options(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


HOME_OF_A_USER = "a path whose ~ stands for a user of this machine"
"""What is expected where `~name/…` names nobody."""


def absolute(path: Path) -> Path:
    """The path from the root, `~` expanded, a relative one taken from the working directory.

    Raises ValueError where `~name` names nobody.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(HOME_OF_A_USER) from None


AbsolutePath: TypeAlias = Annotated[Path, AfterValidator(absolute)]
"""A path as users write it, made absolute where a suite is read: workers may run elsewhere, with another home."""
