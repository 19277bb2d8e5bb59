"""Areas of objects as annotation files give them, drawn into masks: COCO's polygons and run lengths, shapes of others.

Polygons of COCO and Label Studio are drawn by pycocotools, so that a mask is the very one that everybody makes of
such a file.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from harness.conversion._annotations import (
    MAX_PIXELS,
    CocoAnnotation,
    CocoRle,
    LabelMeFile,
    LabelMeShape,
    StudioAnnotation,
    StudioRegion,
)
from harness.conversion._brush import painted_area
from settings.decoding import DAMAGED
from settings.errors import UserError, counted
from settings.records import UNKNOWN, Mask

__all__ = ["Area", "coco_mask", "labelme_mask", "mask_of_areas", "studio_mask"]

Area: TypeAlias = NDArray[np.bool_]
"""Where an object is, (H, W)."""
# Pixels along an outline: pycocotools takes 80 bytes for each.
MAX_OUTLINE = 2_000_000
CROWD_AREA = 2**40
ELLIPSE = 72
"""Corners of the polygon that an ellipse is drawn as: it leaves out 0.1 % of the area."""


def coco_mask(
    where: object, annotations: Sequence[CocoAnnotation], values: Mapping[int, int], size: tuple[int, int], crowd: int
) -> Mask:
    """The mask (H, W) of a photo's annotations, by the values of categories; the smaller of two that overlap is on top.

    A crowd becomes `crowd` (255, below all objects), or, where that is 0, an object like others. Raises UserError for
    boxes without an outline, and for outlines that do not fit the photo.
    """
    mask_HW = np.zeros(size, np.uint8)
    smallest_HW = np.full(size, 2**62, np.int64)
    for annotation in annotations:
        value = values.get(annotation.category_id, 0)
        if value == 0:
            continue
        area_HW = _area(where, annotation, size)
        pixels = int(area_HW.sum())
        if annotation.iscrowd and crowd:
            value, pixels = crowd, CROWD_AREA
        on_top_HW = area_HW & (pixels < smallest_HW)
        mask_HW[on_top_HW] = value
        smallest_HW[on_top_HW] = pixels
    return mask_HW


def labelme_mask(where: object, content: LabelMeFile, value_of: Callable[[str], int]) -> Mask:
    """The mask (H, W) of a LabelMe file; of two shapes that overlap the later is on top, as LabelMe itself draws them.

    Raises UserError for a file without the photo's size, and for shapes without an area.
    """
    if content.height is None or content.width is None:
        raise UserError(where, "no imageHeight and imageWidth", "the photo's size")
    image = PillowImage.new("L", (content.width, content.height))
    draw = ImageDraw.Draw(image)
    for shape in content.shapes:
        _check_outline(where, np.array(shape.points, np.float64).reshape(-1, 2), (content.height, content.width))
        if shape.shape_type == "mask" and len(shape.points) == 2:
            painted = _painted(where, shape)
            draw.bitmap(_whole(shape.points[0]), painted, fill=value_of(shape.label))
        else:
            _draw(where, draw, shape, value_of(shape.label))
    return np.asarray(image, np.uint8)


def studio_mask(where: object, annotation: StudioAnnotation, value_of: Callable[[str], int]) -> Mask:
    """The mask (H, W) of an annotation of Label Studio; where areas of two classes overlap, nobody knows: 255.

    Raises UserError for areas of photos of different sizes, and for what Label Studio shows turned.
    """
    regions = [region for region in annotation.result if region.value.classes]
    sizes = {(region.height, region.width) for region in regions}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    if height is None or width is None or height * width > MAX_PIXELS:
        raise UserError(where, "no size of the photo, or several", f"one, of at most {MAX_PIXELS} pixels")
    return mask_of_areas(_studio_areas(where, regions, value_of, (height, width)), (height, width))


def _studio_areas(
    where: object, regions: Iterable[StudioRegion], value_of: Callable[[str], int], size: tuple[int, int]
) -> Iterator[tuple[int, Area]]:
    """One after the other: an area is as large as the photo, and there may be hundreds."""
    for region in regions:
        area_HW = _studio_area(where, region, size)
        for label in region.value.classes:
            yield value_of(label), area_HW


def mask_of_areas(areas: Iterable[tuple[int, Area]], size: tuple[int, int]) -> Mask:
    """The mask (H, W) of areas in no order, each with its mask value: 255 where two values claim a pixel."""
    mask_HW = np.zeros(size, np.uint8)
    for value, area_HW in areas:
        is_doubtful_HW = area_HW & (mask_HW != 0) & (mask_HW != value)
        mask_HW[area_HW] = value
        mask_HW[is_doubtful_HW] = UNKNOWN
    return mask_HW


def _studio_area(where: object, region: StudioRegion, size: tuple[int, int]) -> Area:
    if region.image_rotation:
        raise UserError(where, f"a photo shown turned by {region.image_rotation}°", "photos as they are stored")
    value = region.value
    if value.rle:
        return painted_area(where, value.rle, size)
    if value.width:
        corners_N2 = np.array([(0, 0), (value.width, 0), (value.width, value.height), (0, value.height)])
    elif value.radius_x:
        angles_N = np.linspace(0, 2 * np.pi, ELLIPSE, endpoint=False)
        corners_N2 = np.stack((value.radius_x * np.cos(angles_N), value.radius_y * np.sin(angles_N)), 1)
    else:
        # A polygon, whose points are places and not offsets from one.
        corners_N2 = np.array(value.points, np.float64).reshape(-1, 2)
    height, width = size
    percent = np.array([width, height]) / 100
    # Clockwise, about the first corner of a rectangle and the middle of an ellipse; in pixels, which are square.
    cosine, sine = np.cos(np.radians(value.rotation)), np.sin(np.radians(value.rotation))
    turn = np.array([(cosine, sine), (-sine, cosine)])
    outline_N2 = (corners_N2 * percent) @ turn + np.array([value.x, value.y]) * percent
    _check_outline(where, outline_N2, size)
    return _inside(where, [outline_N2.ravel().tolist()] * (len(outline_N2) > 2), size)


def _draw(where: object, draw: ImageDraw.ImageDraw, shape: LabelMeShape, value: int) -> None:
    points = shape.points
    if shape.shape_type == "polygon" and len(points) > 2:
        draw.polygon(points, fill=value, outline=value)
    elif shape.shape_type == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=value, outline=value)
    elif shape.shape_type == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)
    else:
        found = f"a {shape.shape_type[:40]} of {counted(len(points), 'point')} labelled '{shape.label[:40]}'"
        raise UserError(where, found, "polygons, rectangles, circles and masks", "draw its area in LabelMe")


def _painted(where: object, shape: LabelMeShape) -> PillowImage.Image:
    """What a model painted for LabelMe, one bit a pixel; raises UserError for what is no PNG of its box's size."""
    (x0, y0), (x1, y1) = shape.points
    size = round(x1) - round(x0) + 1, round(y1) - round(y0) + 1
    expected = f"a PNG of {size[0]}×{size[1]} pixels in base64, as large as its box"
    try:
        with PillowImage.open(BytesIO(b64decode(shape.mask or "")), formats=("PNG",)) as image:
            if image.size != size:
                raise UserError(where, f"a mask of {image.width}×{image.height} pixels", expected)
            return image.convert("L").point(lambda value: 255 * (value > 0)).convert("1")
    except DAMAGED as error:
        raise UserError(where, f"an unreadable mask ({error})", expected) from None


def _whole(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _area(where: object, annotation: CocoAnnotation, size: tuple[int, int]) -> Area:
    shape = annotation.segmentation
    if isinstance(shape, CocoRle):
        return _of_runs(where, shape, size)
    if not shape:
        found = f"an object of image {annotation.image_id} with a box alone"
        raise UserError(where, found, "segmentation: polygons or run lengths", "boxes say nothing about pixels")
    # Fewer than three points have no area; pycocotools would take two for a box.
    outlines = [numbers for numbers in shape if len(numbers) >= 6]
    for numbers in outlines:
        if len(numbers) % 2:
            raise UserError(where, f"a polygon of {len(numbers)} numbers", "x and y in turn")
        _check_outline(where, np.array(numbers).reshape(-1, 2), size)
    return _inside(where, outlines, size)


def _inside(where: object, outlines: Sequence[Sequence[float]], size: tuple[int, int]) -> Area:
    """What lies inside of any of the outlines (x and y in turn), as pycocotools draws it."""
    if not outlines:
        return np.zeros(size, np.bool_)
    from pycocotools import mask as coco

    drawn = coco.merge(coco.frPyObjects(outlines, *size))
    # Its own decoder warns under numpy 2, and takes any counts.
    return _of_runs(where, CocoRle(size=size, counts=drawn["counts"].decode("ascii")), size)


def _check_outline(where: object, points_N2: NDArray[np.float64], size: tuple[int, int]) -> None:
    """Raise UserError for points further off than the photo is large, and for an outline that would fill the memory."""
    height, width = size
    low, high = points_N2.min(initial=0), points_N2.max(initial=0)
    if low < -max(size) or high > 2 * max(size):
        raise UserError(where, f"coordinates from {low:g} to {high:g}", f"those of a photo of {width}×{height}")
    length = np.abs(np.diff(points_N2, axis=0)).sum()
    if length > MAX_OUTLINE:
        raise UserError(where, f"an outline of {length:.0f} pixels", f"at most {MAX_OUTLINE}")


def _of_runs(where: object, runs: CocoRle, size: tuple[int, int]) -> Area:
    counts = runs.counts
    if isinstance(counts, str):
        counts = _uncompressed(where, counts)
    if tuple(runs.size) != size or min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
        found = f"run lengths of {sum(counts)} pixels for size {list(runs.size)}"
        raise UserError(where, found, f"{size[0] * size[1]} pixels, the photo's [{size[0]}, {size[1]}]")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F")


def _uncompressed(where: object, text: str) -> list[int]:
    """Counts from COCO's text: five bits a character, the sixth says that more follow.

    From the fourth on they are differences from the count before the last.
    """
    counts: list[int] = []
    value = place = 0
    for character in text:
        code = ord(character) - 48
        # 2^40 is more than any picture has, and 12 characters would say more.
        if not 0 <= code < 64 or place > 40:
            raise UserError(where, f"{character!a} in run lengths", "COCO's compressed run lengths")
        value |= (code & 31) << place
        place += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << place
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = place = 0
    if place:
        raise UserError(where, "run lengths without an end", "COCO's compressed run lengths")
    return counts
