"""The base of everything that users write: options of components, suites, configuration."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = ["HOME_OF_A_USER", "AbsolutePath", "GrownOptions", "Options", "absolute"]


class Options(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GrownOptions(Options):
    """Options of which some came later: these are in no key while they have their default.

    So what was made before there was a choice is still found.
    """

    later_options: ClassVar[frozenset[str]] = frozenset()
    """The names of those that this class adds to the later ones of its bases."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        for base in type(self).__mro__:
            for name in vars(base).get("later_options", ()):
                if getattr(self, name) == type(self).model_fields[name].default:
                    content.pop(name, None)
        return content


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
