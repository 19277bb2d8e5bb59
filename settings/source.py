"""What every source of extra photos offers; each file in `settings/sources/` holds one subclass of ExtraSource."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from settings.aliases import Aliases
from settings.options import Options
from settings.records import LabelSpace, Photo

__all__ = ["ExtraSource", "Kind"]

Kind = Literal["single_label", "web"]
"""The setting that the photos belong to: their `Photo.source`, and the beginning of their ids."""


class ExtraSource(ABC):
    """Photos beside those of the target set, each with the one class that it was found under."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def photos(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> tuple[Photo, ...]:
        """All declared photos in id order, readable or not; ids are file names, and begin with the kind.

        Raises UserError for a class outside the label space, with the nearest name in it.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that decides the content and is not in a photo's own `content`; no paths."""

    def noise_rate(self, kind: Kind) -> float | None:
        """The share of photos that do not show the class they were found under, 0..1; None where nobody knows."""
        return None

    def passed_over(self) -> tuple[str, ...]:
        """The other files that lie among the photos, by name; for the audit, which counts them."""
        return ()

    def truth(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> Mapping[str, tuple[int, ...]] | None:
        """The class ids that a photo really shows, by photo id (empty: off-topic), where the source knows them.

        For measuring a filter afterwards (`seedbed data audit --truth`); no setting and no method may ask.
        """
        return None
