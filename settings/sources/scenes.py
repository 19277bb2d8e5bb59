"""Extra photos of the embedded data set's invented animals, rendered like its own; no photo is one of the data set's.

`single`: one large object in the middle over a plain backdrop, always of its class. `web`: one object anywhere over the
grounds of the data set; some photos show another class or nothing but ground, some are in another style. Which ones
follows from a photo's number: along the numbers of a class, draws are spread evenly (a Kronecker sequence), so that
any rate holds for any count to within a few photos, and the photos that are noisy at 10 % are so at 20 %, with the same
pixels.
"""

from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from settings.aliases import Aliases
from settings.errors import UserError, unknown_name
from settings.noise import Truth, check_rates
from settings.options import Options
from settings.records import Image, LabelSpace, Photo, fingerprint
from settings.rendering.backgrounds import EVERY_GROUND, GROUNDS
from settings.rendering.catalogue import NAMES
from settings.rendering.layout import Layout, draw_lone, draw_portrait
from settings.rendering.scene import draw_photo
from settings.source import ExtraSource, Kind
from settings.styles import STYLES

__all__ = ["ExtraRecipe", "Scenes", "ScenesOptions"]

Look = Literal["single", "web"]
LOOKS: dict[Kind, Look] = {"single_label": "single", "web": "web"}
RATES = {"wrong_class": 0.2, "off_topic": 0.1, "style_shift": 0.3}
"""The web look's, where options do not say otherwise."""
STEPS = {"class": (sqrt(5) - 1) / 2, "style": sqrt(2) - 1}
"""How far a draw moves from number to number, modulo 1: irrational, and independent of each other."""
CORRELATION, CLUTTER = 0.6, 0.3
"""Those of photos with the web look: the data set's defaults."""


class ScenesOptions(Options):
    """The knobs; rates of noise belong to the web look alone."""

    look: Look | None = Field(None, description="single or web; by default what the setting is called after")
    photos_per_class: int = Field(50, ge=1, le=100_000, description="photos of each class of the label space")
    size: int = Field(128, ge=32, le=1024, description="side of the square photos in pixels")
    part_size: float = Field(0.6, ge=0.2, le=0.8, description="length of the head relative to the body's")
    data_seed: int = Field(0, ge=0, lt=2**63, description="another number, other photos")
    wrong_class: float | None = Field(None, ge=0, le=1, description="share that shows another class; web: 0.2")
    off_topic: float | None = Field(None, ge=0, le=1, description="share that shows no object; web: 0.1")
    style_shift: float | None = Field(None, ge=0, le=1, description="share in another style; web: 0.3")

    @model_validator(mode="after")
    def _one_of_both(self) -> "ScenesOptions":
        check_rates(self.rate("wrong_class"), self.rate("off_topic"))
        return self

    def rate(self, noise: str) -> float:
        """The web look's rate of a kind of noise."""
        given: float | None = getattr(self, noise)
        return RATES[noise] if given is None else given


@dataclass(frozen=True)
class ExtraRecipe:
    """All that decides one photo: the class that it is found under, and what it really shows (`shown`, None: nothing).

    Random numbers follow from the first six fields alone, so that noise changes what it is named after and no more.
    """

    look: Look
    size: int
    part_size: float
    data_seed: int
    query: str
    number: int
    shown: str | None
    style: str | None

    @property
    def content(self) -> str:
        """The recipe's key, sha256 in hexadecimal."""
        return fingerprint(["extra scenes", Scenes.version, asdict(self)])

    def layout(self) -> Layout:
        """What lies where."""
        shown = None if self.shown is None else NAMES.index(self.shown)
        if self.look == "web":
            return draw_lone(self.stream("layout"), shown, self.part_size, CORRELATION, len(GROUNDS))
        assert shown is not None, "portraits always show their class"
        return draw_portrait(self.stream("layout"), shown, self.part_size, range(len(GROUNDS), len(EVERY_GROUND)))

    def image(self) -> Image:
        """The rendered photo, uint8 RGB (size, size, 3)."""
        image = draw_photo(self.layout(), self.size, CLUTTER if self.look == "web" else 0, self.stream("pixels"))
        return STYLES[self.style](image, self.stream("style")) if self.style else image

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers of this photo for one purpose."""
        return np.random.default_rng(int(fingerprint(self._key(purpose)), 16))

    def even(self, purpose: Literal["class", "style"]) -> float:
        """A number in [0, 1), spread evenly along the numbers of a class."""
        start = _share([self._key(purpose)[:-1], "start"])
        return (start + self.number * STEPS[purpose]) % 1

    def choice(self, purpose: str, among: int) -> int:
        """One of `among`, at random."""
        return int(_share(self._key(purpose)) * among)

    def _key(self, purpose: str) -> list[Any]:
        made = [self.look, self.size, self.part_size, self.data_seed]
        return ["extra scenes", Scenes.version, purpose, *made, self.query, self.number]


class Scenes(ExtraSource):
    """Rendered photos of one object; photo i of a class depends on version, knobs, class and i alone.

    A wrong class is one of the label space's others.
    """

    options_model = ScenesOptions
    options: ScenesOptions

    def photos(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> tuple[Photo, ...]:
        """`photos_per_class` photos of each class.

        Raises UserError for classes that are not the catalogue's, for rates of noise beside the single look, and for
        wrong classes where there is one class.
        """
        return tuple(
            Photo(photo_id, (space.names.index(recipe.query),), recipe.content, recipe.image, kind)
            for photo_id, recipe in self._recipes(kind, space).items()
        )

    def truth(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> Truth:
        """What each photo is drawn with."""
        return {
            photo_id: () if recipe.shown is None else (space.names.index(recipe.shown),)
            for photo_id, recipe in self._recipes(kind, space).items()
        }

    def noise_rate(self, kind: Kind) -> float:
        """Wrong classes and off-topic photos; portraits have none."""
        is_web = (self.options.look or LOOKS[kind]) == "web"
        return self.options.rate("wrong_class") + self.options.rate("off_topic") if is_web else 0.0

    def identity(self) -> dict[str, Any]:
        """Name and version; labels and what photos are drawn by are identified photo by photo."""
        return {"name": "scenes", "version": self.version}

    def _recipes(self, kind: Kind, space: LabelSpace) -> dict[str, ExtraRecipe]:
        """By photo id, in id order."""
        for name in space.names:
            if name not in NAMES:
                raise unknown_name(
                    "source scenes", "class", name, NAMES, "or use these photos beside rendered scenes only"
                )
        look = self.options.look or LOOKS[kind]
        if look == "single":
            self._refuse_rates()
        names, numbers = sorted(space.names), range(self.options.photos_per_class)
        return {f"{kind}.{name}.{i:05d}": self._recipe(look, name, i, space) for name in names for i in numbers}

    def _recipe(self, look: Look, query: str, number: int, space: LabelSpace) -> ExtraRecipe:
        knobs = self.options
        clean = ExtraRecipe(look, knobs.size, knobs.part_size, knobs.data_seed, query, number, query, None)
        if look == "single":
            return clean
        style = list(STYLES)[clean.choice("which style", len(STYLES))]
        shifted = clean.even("style") < knobs.rate("style_shift")
        return replace(clean, shown=self._shown(clean, space), style=style if shifted else None)

    def _shown(self, clean: ExtraRecipe, space: LabelSpace) -> str | None:
        draw = clean.even("class")
        # Off-topic photos come from the draw's other end: each share grows without moving the other's photos.
        if draw >= 1 - self.options.rate("off_topic"):
            return None
        if draw >= self.options.rate("wrong_class"):
            return clean.query
        others = [name for name in space.names if name != clean.query]
        if not others:
            raise UserError("source scenes: wrong_class", "a label space of one class", "another class to show")
        return others[clean.choice("other class", len(others))]

    def _refuse_rates(self) -> None:
        for noise in RATES:
            if rate := getattr(self.options, noise):
                raise UserError(f"source scenes: {noise}", f"{rate:g} beside the look 'single'", "the look 'web'")


def _share(key: object) -> float:
    """A number in [0, 1) that follows from the key."""
    return int(fingerprint(key)[:13], 16) / 16**13
