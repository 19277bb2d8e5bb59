"""The base of everything that users write: options of components, suites, configuration."""

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict


class Options(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("a path of somebody who has a home") from None


AbsolutePath: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
"""A path as users write it, made absolute with `~` expanded: workers may run elsewhere."""
