"""Annotation files: COCO, LabelMe and Label Studio JSON, VOC XML. They name areas of classes, photo by photo.

Files are checked by their models before anything is drawn: sizes, coordinates and counts may be hostile.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from harness.conversion._arrays import MAX_BYTES
from harness.conversion._names import PHOTOS
from settings.errors import UserError, kind_of

__all__ = [
    "MAX_PIXELS",
    "CocoAnnotation",
    "CocoFile",
    "CocoImage",
    "CocoRle",
    "LabelMeFile",
    "LabelMeShape",
    "StudioAnnotation",
    "StudioFile",
    "StudioRegion",
    "read_annotations",
    "read_voc_xml",
    "studio_annotations",
]

MAX_PIXELS = 64_000_000
EXPECTED = "COCO JSON (images, annotations, categories), LabelMe JSON (shapes) or Label Studio JSON (a list of tasks)"
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
    # A PNG in base64, where the shape is what a model painted into the box of its two points.
    mask: str | None = None


class LabelMeFile(_Model):
    """The file of one photo."""

    shapes: list[LabelMeShape]
    height: Side | None = Field(None, alias="imageHeight")
    width: Side | None = Field(None, alias="imageWidth")


class StudioValue(_Model):
    """What Label Studio keeps of a region: places in percent of the photo's width and height, an angle in degrees."""

    points: list[tuple[Number, Number]] = []
    x: Number = 0
    y: Number = 0
    width: Number = 0
    height: Number = 0
    radius_x: Number = Field(0, alias="radiusX")
    radius_y: Number = Field(0, alias="radiusY")
    rotation: Number = 0
    rle: list[Annotated[int, Field(ge=0, le=255)]] = []
    polygonlabels: list[str] = []
    rectanglelabels: list[str] = []
    ellipselabels: list[str] = []
    brushlabels: list[str] = []
    labels: list[str] = []
    choices: list[str] = []

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of an area; a key point, or a choice for the whole photo, has none."""
        return (*self.polygonlabels, *self.rectanglelabels, *self.ellipselabels, *self.brushlabels, *self.labels)


class StudioRegion(_Model):
    """An area of a photo, or something else that was said about it; sizes are the photo's in pixels."""

    value: StudioValue = StudioValue()
    width: Side | None = Field(None, alias="original_width")
    height: Side | None = Field(None, alias="original_height")
    image_rotation: int = 0


class StudioAnnotation(_Model):
    """What one person made of a task."""

    result: list[StudioRegion]
    was_cancelled: bool = False
    ground_truth: bool = False


class StudioTask(_Model):
    """A photo, with what any number of people made of it."""

    id: int
    annotations: list[StudioAnnotation]
    data: dict[str, object]
    file_upload: str | None = None

    @property
    def photo(self) -> str:
        """The path of the photo; empty where the task names none, or several."""
        paths = [_path_in(text) for text in self.data.values() if isinstance(text, str)]
        pictures = {path for path in paths if PurePath(path).suffix.lower() in PHOTOS}
        if len(pictures) == 1:
            return pictures.pop()
        return self.file_upload or ""


class StudioFile(_Model):
    """A whole export."""

    tasks: list[StudioTask]


def _path_in(url: str) -> str:
    """The path that a URL leads to; Label Studio's own storage names it in the query, as `?d=folder/x.jpg`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Entities can name each other until the memory is full, and only a document type can declare them."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse what the parser found, in whatever encoding."""
        raise ValueError(f"the document type {name[:40]}, which may declare entities")


def read_annotations(path: Path) -> CocoFile | LabelMeFile | StudioFile:
    """A JSON file of one of the kinds; raises UserError for another, naming the first place that does not fit."""
    try:
        content = from_json(_bytes_of(path, EXPECTED))
    except ValueError as error:
        raise UserError(path, f"unreadable JSON ({error})", EXPECTED) from None
    kind: type[CocoFile] | type[LabelMeFile] | type[StudioFile]
    if isinstance(content, dict) and "shapes" in content:
        kind = LabelMeFile
    elif isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        kind = CocoFile
    elif isinstance(content, list) and all(isinstance(task, dict) and "annotations" in task for task in content):
        kind, content = StudioFile, {"tasks": content}
    else:
        raise _other_json(path, content)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(path, f"at {place}: {first['msg']}", EXPECTED) from None


def studio_annotations(path: Path, content: StudioFile) -> dict[str, StudioAnnotation]:
    """The one annotation of each photo; tasks that nobody finished are left out.

    Raises UserError for a task without a photo, for a photo of two tasks, and for several annotations of a task of
    which not just one is marked as ground truth.
    """
    found: dict[str, StudioAnnotation] = {}
    for task in content.tasks:
        finished = [each for each in task.annotations if not each.was_cancelled]
        finished = [each for each in finished if each.ground_truth] or finished
        if not finished:
            continue
        if len(finished) > 1:
            mend = "mark one as ground truth in Label Studio"
            raise UserError(path, f"{len(finished)} annotations of task {task.id}", "one a task", mend)
        if not task.photo:
            raise UserError(path, f"task {task.id}, which names no photo", "one path of a photo in its data")
        if task.photo in found:
            raise UserError(path, f"two tasks of {task.photo[:80]}", "one task a photo")
        found[task.photo] = finished[0]
    return found


def _other_json(path: Path, content: object) -> UserError:
    keys, mend = type(content).__name__, ""
    if isinstance(content, dict):
        keys = "a dictionary of " + (", ".join(ascii(key) for key in list(content)[:10])[:200] or "nothing")
    if isinstance(content, list) and content and isinstance(content[0], dict):
        if "image_id" in content[0]:
            mend = "these are its annotations alone: add images and categories"
            return UserError(path, "a list of COCO's results", EXPECTED, mend)
        keys, mend = "a list of tasks without annotations", "of Label Studio's exports take JSON, not JSON-MIN"
    return UserError(path, keys, EXPECTED, mend)


def read_voc_xml(path: Path) -> tuple[str, ...]:
    """The names of the objects in a VOC annotation; raises UserError for other XML, and for declared entities."""
    expected = "VOC XML: annotation with object/name"
    content = _bytes_of(path, expected)
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_WithoutDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(path, f"unreadable XML ({error})", expected) from None
    if root.tag != "annotation":
        raise UserError(path, f"<{root.tag}>", expected, "from CVAT export Pascal VOC, or COCO")
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
