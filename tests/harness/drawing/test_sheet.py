"""The sheet: cells where they belong, and a legend that names every colour."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from harness.drawing.overlays import mask_colours
from harness.drawing.sheet import CAPTION_LINES, Cell, Column, Row, legend, maps_column, masks_column, to_png
from methods.base import LocalizationMaps
from settings.records import UNKNOWN, LabelSpace, Photo

SPACE = LabelSpace(("cat", "_dog", "US$ and $"))


def photo(name: str, value: int, shape: tuple[int, int] = (20, 30)) -> Photo:
    return Photo(name, (0,), name, lambda: np.full((*shape, 3), (value, 40, value), np.uint8))


def plain(head: str, *colour: int) -> Column:
    return Column(head, lambda _, image: Cell(np.full_like(image, colour)))


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def box(pixels_HWC: np.ndarray, *colour: int) -> tuple[int, int, int, int]:
    """The rows and columns that a colour spans: top, bottom, left, right."""
    where = np.argwhere((np.abs(pixels_HWC - colour) <= 1).all(2))
    return (*where[:, 0][[0, -1]].tolist(), where[:, 1].min(), where[:, 1].max())


def test_lines_are_photos_and_columns_stand_side_by_side() -> None:
    rows = [Row(photo("one", 200)), Row(photo("two", 90))]
    pixels = pixels_of(to_png(rows, [plain("a", 250, 0, 0), plain("b", 0, 0, 250)], SPACE, "title"))
    first, second = box(pixels, 200, 40, 200), box(pixels, 90, 40, 90)
    red, blue = box(pixels, 250, 0, 0), box(pixels, 0, 0, 250)
    assert first[1] < second[0] and first[2:] == second[2:]
    assert first[3] < red[2] and red[3] < blue[2]
    assert (red[0], red[1]) == (first[0], second[1]) == (blue[0], blue[1])
    height, width = first[1] - first[0], first[3] - first[2]
    assert width / height == pytest.approx(30 / 20, rel=0.03)


def test_wide_and_tall_photos_are_shown_smaller_in_the_middle_of_their_lines() -> None:
    """Columns of 210 pixels; lines are 0.4 to 1.5 times as high, and 10 pixels apart."""
    rows = [Row(photo("wide", 200, (10, 100))), Row(photo("tall", 90, (100, 10))), Row(photo("both", 50, (50, 50)))]
    pixels = pixels_of(to_png(rows, [], SPACE, "title"))
    wide, tall, both = (box(pixels, value, 40, value) for value in (200, 90, 50))
    sizes = [(last - first + 1, right - left + 1) for first, last, left, right in (wide, tall, both)]
    assert sizes == [(21, 210), (315, 32), (210, 210)]
    top = wide[0] - (84 - 21) // 2
    assert (tall[0], both[0]) == (top + 84 + 10, top + 84 + 10 + 315 + 10)
    assert wide[2:] == both[2:] and tall[2] - wide[2] == (210 - 32) // 2


def test_neither_names_nor_a_legend_of_many_classes_reach_over_the_edge_or_the_pictures() -> None:
    space = LabelSpace(tuple(f"a class of number {value}" for value in range(1, 60)))
    columns = [masks_column("mask", lambda _: np.arange(60, dtype=np.uint8).reshape(6, 10))]
    pixels = pixels_of(to_png([Row(photo("W" * 50, 200))], columns, space, "a long title " * 9))
    left = box(pixels, 200, 40, 200)[2]
    first, last = box(pixels, 200, 40, 200)[:2]
    assert (pixels[:, [0, 1, -2, -1]] == 255).all()
    assert (pixels[first : last + 1, left - 4 : left] == 255).all()


def test_an_empty_cell_is_left_empty() -> None:
    columns = [
        Column("a", lambda photo_id, image: Cell(np.full_like(image, (250, 0, 0))) if photo_id == "one" else None)
    ]
    pixels = pixels_of(to_png([Row(photo("one", 200)), Row(photo("two", 90))], columns, SPACE, "title"))
    assert box(pixels, 250, 0, 0)[1] == box(pixels, 200, 40, 200)[1]


def test_what_stands_for_the_photo_lies_under_every_column() -> None:
    columns = [masks_column("mask", lambda _: np.zeros((20, 30), np.uint8))]
    pixels = pixels_of(
        to_png([Row(photo("one", 200))], columns, SPACE, "", lambda image: np.full_like(image, (7, 77, 7)))
    )
    assert ((pixels == [7, 77, 7]).all(2)).sum() > 2 * 150 * 100
    assert not (pixels == [200, 40, 200]).all(2).any()


def test_the_same_sheet_is_the_same_bytes_and_odd_names_do_no_harm() -> None:
    rows = [Row(photo("a" * 300, 10), "a $note$ with _ in it")]
    columns = [masks_column("$head", lambda _: np.array([[1, 2], [3, 255]], np.uint8))]
    assert to_png(rows, columns, SPACE, "$title") == to_png(rows, columns, SPACE, "$title")
    assert CAPTION_LINES < 300 / 24


def test_the_legend_names_what_is_there_and_nothing_else() -> None:
    patches = legend({0, 2, 1, UNKNOWN, 77}, SPACE)
    assert [patch.get_label() for patch in patches] == ["cat", " dog", "unknown"]
    colours = mask_colours() / 255
    assert [patch.get_facecolor()[:3] for patch in patches] == [tuple(colours[value]) for value in (1, 2, UNKNOWN)]
    assert [patch.get_label() for patch in legend({3}, SPACE)] == [r"US\$ and \$"]


def test_colours_of_the_legend_are_in_the_sheet() -> None:
    columns = [masks_column("mask", lambda _: np.full((20, 30), 2, np.uint8))]
    pixels = pixels_of(to_png([Row(photo("one", 200))], columns, SPACE, ""))
    assert (pixels == mask_colours()[2]).all(2).any()
    assert not (pixels == mask_colours()[1]).all(2).any()


def test_a_mask_tells_its_values_and_a_missing_mask_or_map_is_an_empty_cell() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    cell = masks_column("", lambda _: np.array([[0, 3], [255, 3]], np.uint8)).draw("one", image)
    assert cell is not None and cell.values == {3, 255}
    assert masks_column("", lambda _: None).draw("one", image) is None
    maps = {"one": LocalizationMaps("one", (1,), np.ones((1, 2, 2), np.float32), (2, 2))}
    assert maps_column("", maps.get).draw("two", image) is None
    assert maps_column("", maps.get, class_id=0).draw("one", image) is None
    assert maps_column("", maps.get, class_id=1).draw("one", image) is not None


def test_maps_tell_the_legend_their_classes() -> None:
    maps = {"one": LocalizationMaps("one", (0, 2), np.ones((2, 2, 2), np.float32), (20, 30))}
    image = np.zeros((20, 30, 3), np.uint8)
    cell, alone = (maps_column("", maps.get, class_id).draw("one", image) for class_id in (None, 2))
    assert cell is not None and alone is not None
    assert (cell.values, alone.values) == ({1, 3}, {3})
    pixels = pixels_of(to_png([Row(photo("one", 200))], [maps_column("", maps.get)], SPACE, ""))
    assert all((pixels == mask_colours()[value]).all(2).any() for value in (1, 3))
