"""Masks as PNGs of every kind: colours, palettes, 16 bits and 1 bit, with alpha; what their pixels mean.

What is doubtful in one file is clear from all: pictures are surveyed before any is converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.conversion._names import ClassNames
from settings.decoding import opened
from settings.errors import UserError, counted, kind_of
from settings.masks import PALETTE
from settings.records import UNKNOWN, Mask

__all__ = ["Colours", "Meaning", "Picture", "Read", "Survey", "decide", "load", "read_labelmap", "survey"]

Colours: TypeAlias = Mapping[int, int]
"""Mask values by colour, as r·65536 + g·256 + b."""
Read: TypeAlias = Literal["indices", "colours"]
VOC = [int.from_bytes(PALETTE[place : place + 3], "big") for place in range(0, len(PALETTE), 3)]
GREYS = {value * 0x010101 for value in range(256)}
FEW_BITS = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies grey of few bits."""


class Picture(NamedTuple):
    """Pixels, (H, W): values of a grey picture, indices of one with a palette, or colours."""

    pixels: NDArray[np.int64]
    is_colour: bool = False
    # The colour of each index.
    palette: tuple[int, ...] = ()


class Survey(NamedTuple):
    """What one file holds: its different pixels, and, where these are indices, their colours."""

    path: Path
    present: frozenset[int]
    is_colour: bool
    palette: tuple[int, ...]

    def colours(self) -> frozenset[int]:
        """The colours that are seen."""
        if self.is_colour:
            return self.present
        return frozenset(self.palette[index] for index in self.present)


class Meaning(NamedTuple):
    """How pixels become mask values: colours by one table, values and indices by another."""

    colours: Colours
    values: Mapping[int, int]
    palettes_by_colour: bool = False
    note: str = ""

    def mask(self, path: Path, picture: Picture) -> Mask:
        """The mask of a picture that was surveyed; raises UserError where the file has changed since."""
        pixels, table = picture.pixels, self.values
        if picture.is_colour:
            table = self.colours
        elif picture.palette and self.palettes_by_colour:
            pixels, table = np.array(picture.palette, np.int64)[pixels], self.colours
        present, places = np.unique(pixels, return_inverse=True)
        if strange := [value for value in present.tolist() if value not in table]:
            raise UserError(path, f"pixels {strange[:3]}", "the file as it was a moment ago")
        return np.array([table[value] for value in present.tolist()], np.uint8)[places].reshape(pixels.shape)


def load(path: Path) -> Picture:
    """A PNG of any kind; raises UserError for other files, and for one whose transparency says something."""
    with opened(path, ("PNG",), "a mask PNG") as image:
        divisor = 1
        if image.mode == "L":
            # Before decoding, which forgets it.
            divisor = FEW_BITS.get(str(image.tile[0].args), 1)
        pixels = np.asarray(image).astype(np.int64)
        if image.mode == "P":
            colours = image.getpalette("RGB") or []
            packed = [int.from_bytes(bytes(colours[place : place + 3]), "big") for place in range(0, len(colours), 3)]
            return Picture(pixels, palette=(*packed, *[0] * (256 - len(packed))))
        if image.mode in ("LA", "RGBA"):
            _check_alpha(path, pixels)
            pixels = pixels[..., :-1]
        if image.mode in ("RGB", "RGBA"):
            return Picture(pixels @ np.array([65536, 256, 1]), is_colour=True)
        if image.mode.startswith("I"):
            # 65535 is to 16 bits what 255 is to 8: white.
            pixels = np.where(pixels == 65535, UNKNOWN, pixels)
        return Picture(pixels.reshape(pixels.shape[:2]) // divisor)


def survey(paths: Iterable[Path]) -> list[Survey]:
    """What the files hold, each read once."""
    found = []
    for path in paths:
        picture = load(path)
        present = frozenset(np.unique(picture.pixels).tolist())
        found.append(Survey(path, present, picture.is_colour, picture.palette))
    return found


def read_labelmap(path: Path) -> Mapping[str, int]:
    """Colours by name from CVAT's `name:r,g,b:parts:actions`; raises UserError for lines without a colour."""
    expected = "lines such as gear:200,16,120::"
    if not path.is_file():
        # A pipe would be waited for without end.
        raise UserError(path, kind_of(path), expected)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"an unreadable file ({error})", expected) from None
    colours: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colour = [part.strip() for part in (*line.split(":"), "")[:2]]
        cells = [cell.strip() for cell in colour.split(",")]
        if not colour:
            mend = "datumaro leaves the column empty: write r,g,b of each class, or export from CVAT itself"
            raise UserError(f"{path}:{number}", f"no colour for '{name}'", expected, mend)
        if len(cells) != 3 or not all(cell.isascii() and cell.isdigit() and int(cell[:4]) < 256 for cell in cells):
            raise UserError(f"{path}:{number}", f"the colour '{colour}'", expected)
        packed = int.from_bytes(bytes(int(cell) for cell in cells), "big")
        if name in colours or packed in colours.values():
            raise UserError(f"{path}:{number}", f"'{name}:{colour}' again", "each name and colour once")
        colours[name] = packed
    if not colours:
        raise UserError(path, "no line with a colour", expected)
    return colours


def decide(
    where: Path, surveys: Sequence[Survey], classes: ClassNames, labelmap: Colours, read: Read | None
) -> Meaning:
    """What pixels mean, from all files together; raises UserError where that is open, naming a file where it can."""
    count = len(classes.names)
    voc = {VOC[value]: value for value in (*range(count + 1), UNKNOWN)}
    colours = labelmap or voc
    by_colour = _palettes_by_colour(where, [each for each in surveys if each.palette], colours, bool(labelmap), read)
    plain = [each for each in surveys if not each.is_colour and not (each.palette and by_colour)]
    coloured = [each for each in surveys if each.is_colour]
    notes = []
    if by_colour:
        notes.append("palettes read by their colours")
    # Grey that was saved as RGB: its values are the indices, unless a table says what colours are.
    if coloured and not labelmap and all(each.present <= GREYS for each in coloured):
        grey = [each._replace(present=frozenset(c & 255 for c in each.present), is_colour=False) for each in coloured]
        values = _values(where, [*plain, *grey], classes)
        colours = {value * 0x010101: meant for value, meant in values.items()}
    else:
        values = _values(where, plain, classes)
        for each in coloured:
            _check_colours(each, colours, bool(labelmap))
        if coloured and not labelmap:
            notes.append("colours are VOC's")
    if values.get(UNKNOWN) == 1:
        notes.append(f"white (255) is '{classes.names[0]}'")
    return Meaning(colours, values, by_colour, "; ".join(notes))


def _palettes_by_colour(
    where: Path, surveys: Sequence[Survey], colours: Colours, has_labelmap: bool, read: Read | None
) -> bool:
    """Whether palettes are read by colour; raises UserError where indices and colours contradict each other for no
    reason that could be seen.
    """
    if read is not None:
        for each in surveys if read == "colours" else ():
            _check_colours(each, colours, has_labelmap)
        return read == "colours"
    if not surveys or not all(each.colours() <= colours.keys() for each in surveys):
        return False
    if all(colours[each.palette[index]] == index for each in surveys for index in each.present):
        return False
    # A tool that makes palettes counts colours as it meets them: files differ, or black is not first.
    if has_labelmap or len({each.palette for each in surveys}) > 1 or colours.get(surveys[0].palette[0]) != 0:
        return True
    mend = "--read colours where the pictures look right, --read indices where the palette is of no meaning"
    raise UserError(where, "palettes with the known colours in another order", "one meaning of pixels", mend)


def _check_colours(each: Survey, colours: Colours, has_labelmap: bool) -> None:
    strange = sorted(each.colours() - colours.keys())
    if not strange:
        return
    shown = ", ".join(_rgb(colour) for colour in strange[:6])
    more = f" and {len(strange) - 6} more" * (len(strange) > 6)
    if len(strange) > 300:
        raise UserError(each.path, f"{len(strange)} colours", "one a class", "save masks as PNG, without smoothing")
    expected = "colours of the labelmap" if has_labelmap else "VOC's colours of the classes"
    mend = "write labelmap.txt with a line name:r,g,b a class (--labelmap)"
    if has_labelmap:
        mend = "add their lines to it; where each object has a colour (SegmentationObject), colours mean no class"
    raise UserError(each.path, f"the colours {shown}{more}", expected, mend)


def _rgb(colour: int) -> str:
    return f"({colour >> 16}, {colour >> 8 & 255}, {colour & 255})"


def _values(where: Path, surveys: Sequence[Survey], classes: ClassNames) -> Mapping[int, int]:
    """Mask values by the values of pixels; raises UserError for values that no class has."""
    count = len(classes.names)
    every = frozenset(value for each in surveys for value in each.present)
    if UNKNOWN in every and every <= {0, UNKNOWN}:
        if count > 1:
            found = f"the values 0 and {UNKNOWN} alone in all {counted(len(surveys), 'mask')}"
            raise UserError(where, found, f"0 to {count}, the {count} classes", "white says no class of several")
        return {0: 0, UNKNOWN: 1}
    for each in surveys:
        if strange := sorted(value for value in each.present if value > count and value != UNKNOWN):
            mend = "values of classes.txt are its lines, counted from 1: add what is missing there, or --classes FILE"
            raise UserError(each.path, f"the value {strange[0]}", f"0 to {count}, or {UNKNOWN}", mend)
    return {value: value for value in every}


def _check_alpha(path: Path, pixels: NDArray[np.int64]) -> None:
    alpha_HW, rest_HW = pixels[..., -1], pixels[..., :-1].max(-1)
    is_solid = bool((alpha_HW == 255).all())
    # Transparent black is a background like any other, where something else is to be seen.
    is_background = bool((rest_HW[alpha_HW < 255] == 0).all() and rest_HW.any())
    if not is_solid and not is_background:
        raise UserError(path, "a mask that is partly transparent", "values in grey or colours", "save it without alpha")
