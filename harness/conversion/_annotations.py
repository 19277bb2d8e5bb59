"""Annotation files: COCO JSON, LabelMe JSON, VOC XML. What they name becomes areas of named classes, photo by photo.

Files are checked by their models before anything is drawn: sizes, coordinates and counts may be hostile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from methods.npz import MAX_BYTES
from settings.errors import UserError, kind_of

__all__ = [
    "MAX_PIXELS",
    "CocoAnnotation",
    "CocoFile",
    "CocoImage",
    "CocoRle",
    "LabelMeFile",
    "LabelMeShape",
    "read_annotations",
    "read_voc_xml",
]

MAX_PIXELS = 64_000_000
EXPECTED = "COCO JSON (images, annotations, categories) or LabelMe JSON (shapes)"
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Side: TypeAlias = Annotated[int, Field(ge=1, le=MAX_PIXELS)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class CocoRle(_Model):
    """Run lengths down the columns, background first; compressed as text, or a list."""

    size: tuple[Side, Side]
    counts: str | list[Annotated[int, Field(ge=0, le=MAX_PIXELS)]]


class CocoImage(_Model):
    """A photo."""

    id: int | str
    file_name: str
    width: Side | None = None
    height: Side | None = None


class CocoAnnotation(_Model):
    """An object of a photo: polygons, or run lengths; neither where only its box is known."""

    image_id: int | str
    category_id: int
    segmentation: CocoRle | list[list[Number]] | None = None
    iscrowd: bool = False


class CocoCategory(_Model):
    """A class and its number, which may have gaps."""

    id: int
    name: str
    supercategory: str | None = None


class CocoFile(_Model):
    """A whole file."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]

    def names(self) -> tuple[str, ...]:
        """The names of classes in the order of their numbers, without a root that nothing is annotated with."""
        # Roboflow writes one: the category 0, which the others name as their supercategory.
        used = {annotation.category_id for annotation in self.annotations}
        above = {category.supercategory for category in self.categories}
        ordered = sorted(self.categories, key=lambda category: category.id)
        return tuple(each.name for each in ordered if each.id in used or each.name not in above)


class LabelMeShape(_Model):
    """An area that was drawn."""

    label: str
    points: list[tuple[Number, Number]] = []
    shape_type: str = "polygon"


class LabelMeFile(_Model):
    """The file of one photo."""

    shapes: list[LabelMeShape]
    height: Side | None = Field(None, alias="imageHeight")
    width: Side | None = Field(None, alias="imageWidth")


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Entities can name each other until the memory is full, and only a document type can declare them."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse what the parser found, in whatever encoding."""
        raise ValueError(f"the document type {name[:40]}, which may declare entities")


def read_annotations(path: Path) -> CocoFile | LabelMeFile:
    """A JSON file of either kind; raises UserError for another, naming the first place that does not fit."""
    try:
        content = from_json(_bytes_of(path, EXPECTED))
    except ValueError as error:
        raise UserError(path, f"unreadable JSON ({error})", EXPECTED) from None
    if isinstance(content, dict) and "shapes" in content:
        kind: type[CocoFile] | type[LabelMeFile] = LabelMeFile
    elif isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        kind = CocoFile
    else:
        keys = type(content).__name__
        if isinstance(content, dict):
            keys = "a dictionary of " + (", ".join(ascii(key) for key in list(content)[:10])[:200] or "nothing")
        raise UserError(path, keys, EXPECTED)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(path, f"at {place}: {first['msg']}", EXPECTED) from None


def read_voc_xml(path: Path) -> tuple[str, ...]:
    """The names of the objects in a VOC annotation; raises UserError for other XML, and for declared entities."""
    expected = "VOC XML: annotation with object/name"
    content = _bytes_of(path, expected)
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_WithoutDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(path, f"unreadable XML ({error})", expected) from None
    if root.tag != "annotation":
        raise UserError(path, f"<{root.tag}>", expected)
    names = [(each.findtext("name") or "").strip() for each in root.findall("object")]
    if "" in names:
        raise UserError(path, "an object without a name", expected)
    return tuple(names)


def _bytes_of(path: Path, expected: str) -> bytes:
    if not path.is_file():
        # A pipe would be waited for without end.
        raise UserError(path, kind_of(path), expected)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(path, f"a file of more than {MAX_BYTES} bytes", expected)
        return path.read_bytes()
    except OSError as error:
        raise UserError(path, f"an unreadable file ({error.strerror})", expected) from None
