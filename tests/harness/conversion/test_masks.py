"""`seedbed data import-masks`: what annotation tools export becomes class indices, and doubt becomes an error."""

import json
import struct
import zlib
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from harness.commands.data import data_app
from harness.conversion.masks import MaskOptions, import_masks
from settings.errors import UserError
from settings.masks import PALETTE, read_mask

INDICES = {"p0": np.array([[0, 1, 1], [2, 2, 0]], np.uint8), "p1": np.array([[2, 0, 0], [0, 0, 1]], np.uint8)}
RGB = {0: (0, 0, 0), 1: (200, 16, 120), 2: (16, 160, 220)}
LABELMAP = "# label:color_rgb:parts:actions\ngear:200,16,120::\nbackground:0,0,0::\nvalve:16,160,220::\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set without masks, and an empty folder `theirs`."""
    (tmp_path / "classes.txt").write_text("gear\nvalve\n")
    (tmp_path / "train.txt").write_text("p0\n")
    (tmp_path / "val.txt").write_text("p1\n")
    (tmp_path / "theirs").mkdir()
    return tmp_path


def imported(folder: Path, source: str = "theirs", **options: Any) -> dict[str, list[list[int]]]:
    import_masks(folder / source, folder / "masks", MaskOptions(**options))
    return {path.stem: read_mask(path).tolist() for path in sorted((folder / "masks").iterdir())}


EXPECTED = {name: mask.tolist() for name, mask in INDICES.items()}


def coloured(mask: np.ndarray, table: dict[int, tuple[int, ...]]) -> Image.Image:
    return Image.fromarray(np.array([[table[value] for value in row] for row in mask.tolist()], np.uint8))


def save(folder: Path, make: Any, suffix: str = "") -> None:
    for name, mask in INDICES.items():
        make(mask).save(folder / "theirs" / f"{name}{suffix}.png")


def voc(order: list[int]) -> Any:
    """A palette picture whose indices are in another order, and whose colours are VOC's."""

    def make(mask: np.ndarray) -> Image.Image:
        image = Image.fromarray(np.array([[order.index(value) for value in row] for row in mask.tolist()], np.uint8))
        image.putpalette(b"".join(PALETTE[3 * value : 3 * value + 3] for value in order))
        return image

    return make


def voc_colours(mask: np.ndarray) -> Image.Image:
    return voc([0, 1, 2])(mask).convert("RGB")


def own_palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(bytes([9, 9, 9, 200, 0, 7, 30, 30, 250]))
    return image


@pytest.mark.parametrize(
    "make",
    [
        lambda mask: Image.fromarray(mask),
        lambda mask: Image.fromarray(mask.astype(np.uint16)),
        lambda mask: Image.merge("LA", (Image.fromarray(mask), Image.new("L", mask.shape[::-1], 255))),
        lambda mask: Image.merge("RGB", [Image.fromarray(mask)] * 3),
        voc([0, 1, 2]),
        voc([1, 0, 2]),
        voc_colours,
        own_palette,
    ],
    ids=[
        "grey",
        "16 bits",
        "alpha",
        "grey as RGB",
        "palette",
        "palette in another order",
        "VOC's colours",
        "own palette",
    ],
)
def test_pictures_of_every_kind_become_indices(make: Any, folder: Path) -> None:
    save(folder, make)
    assert imported(folder) == EXPECTED


def test_colours_of_a_labelmap(folder: Path) -> None:
    save(folder, lambda mask: coloured(mask, RGB))
    (folder / "theirs" / "labelmap.txt").write_text(LABELMAP)
    assert imported(folder) == EXPECTED


def test_an_archive_of_cvat_brings_its_classes(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    (folder / "theirs" / "labelmap.txt").write_text(LABELMAP + "void:1,1,1::")
    (folder / "theirs" / "SegmentationClass").mkdir()
    table = {**RGB, 0: (1, 1, 1)}
    coloured(INDICES["p0"], table).save(folder / "theirs" / "SegmentationClass" / "p0.png")
    assert imported(folder) == {"p0": [[255, 1, 1], [2, 2, 255]]}
    assert (folder / "classes.txt").read_text() == "gear\nvalve\n"


def test_palettes_that_differ_between_files_are_read_by_colour(folder: Path) -> None:
    voc([0, 2, 1])(INDICES["p0"]).save(folder / "theirs" / "p0.png")
    voc([0, 1, 2])(INDICES["p1"]).save(folder / "theirs" / "p1.png")
    assert imported(folder) == EXPECTED


def test_one_palette_with_black_first_is_doubtful(folder: Path) -> None:
    save(folder, voc([0, 2, 1]))
    with pytest.raises(UserError, match=r"another order.*--read colours.*--read indices"):
        imported(folder)
    assert imported(folder, read="colours") == EXPECTED
    assert imported(folder, read="indices")["p0"] == [[0, 2, 2], [1, 1, 0]]


def test_few_bits_and_white_are_one_class(folder: Path) -> None:
    (folder / "classes.txt").write_text("crack\n")
    Image.fromarray(np.array([[False, True]])).save(folder / "theirs" / "p0.png")
    assert imported(folder) == {"p0": [[0, 1]]}
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(folder / "theirs" / "p0.png")
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(folder / "theirs" / "p1.png")
    assert imported(folder) == {"p0": [[0, 1]], "p1": [[0, 1]]}


def grey_of_bits(depth: int, width: int, row: bytes) -> bytes:
    """A PNG of one row of grey; Pillow writes none of 2 and 4 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, 1, depth, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x18"), (4, b"\x01\x20")])
def test_grey_of_2_and_4_bits_is_not_stretched(depth: int, row: bytes, folder: Path) -> None:
    (folder / "theirs" / "p0.png").write_bytes(grey_of_bits(depth, 3, row))
    assert imported(folder) == {"p0": [[0, 1, 2]]}


def test_suffixes_are_taken_off_and_other_photos_left_out(folder: Path) -> None:
    save(folder, Image.fromarray, "_mask")
    Image.fromarray(INDICES["p0"]).save(folder / "theirs" / "q_mask.png")
    said = import_masks(folder / "theirs", folder / "masks")
    assert sorted(path.name for path in (folder / "masks").iterdir()) == ["p0.png", "p1.png"]
    assert "2 masks in" in said
    assert "gear in 2, valve in 2); left out 1 mask of no known id" in said
    for name in ("train.txt", "val.txt"):
        (folder / name).unlink()
    assert sorted(imported(folder)) == ["p0", "p1", "q"]


def test_an_id_that_ends_like_a_suffix_keeps_its_end(folder: Path) -> None:
    (folder / "train.txt").write_text("p0_label\n")
    for name in ("p0_label_mask", "p1_gtFine_labelIds"):
        Image.fromarray(INDICES["p0"]).save(folder / "theirs" / f"{name}.png")
    assert sorted(imported(folder)) == ["p0_label", "p1"]


def test_label_studio_writes_a_file_a_label(folder: Path) -> None:
    (folder / "train.txt").write_text("task-7\n")
    for label, row in {"gear": [255, 255, 0, 0], "valve": [0, 255, 255, 0]}.items():
        name = f"task-7-annotation-3-by-1-tag-{label}-0.png"
        Image.fromarray(np.array([row], np.uint8)).save(folder / "theirs" / name)
    assert imported(folder) == {"task-7": [[1, 255, 2, 0]]}
    (folder / "theirs" / name).rename(folder / "theirs" / "task-7-annotation-3-by-1-brush-valve-0.png")
    with pytest.raises(UserError, match=r"labels of another name.*import Label Studio's JSON export"):
        imported(folder)


def brush_runs(alpha: np.ndarray) -> list[int]:
    """A painted area as Label Studio stores it: RGBA bytes in runs, by a naive writer of bits."""
    values = [value for cell in alpha.ravel().tolist() for value in (9, 8, 7, cell)]
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in (1, 3, 8, 16))
    # One run that repeats a value, one of a single value, and the rest side by side.
    bits += "1" + "00" + "0" + f"{values[0]:08b}"
    bits += "0" + "01" + "000" + f"{values[1]:08b}"
    bits += "0" + "11" + f"{len(values) - 3:016b}" + "".join(f"{value:08b}" for value in values[2:])
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def studio(*regions: dict[str, Any], **task: Any) -> dict[str, Any]:
    """A task of Label Studio about a photo p0 of 8×4 pixels."""
    size = {"original_width": 8, "original_height": 4, "image_rotation": 0}
    annotation = {"result": [{**size, **region} for region in regions], "was_cancelled": False}
    return {"id": 7, "data": {"image": "/data/upload/1/3f2a8b1c-p0.jpg"}, "annotations": [annotation], **task}


def area(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {"type": f"{kind}labels", "value": {**value, f"{kind}labels": [label]}}


PAINTED = np.zeros((4, 8), np.uint8)
PAINTED[3, 1:3] = 255
WHOLE = area("polygon", "gear", points=[[0, 0], [100, 0], [100, 100], [0, 100]])
LEFT = area("rectangle", "gear", x=0, y=0, width=25, height=50)


def test_areas_of_label_studio(folder: Path) -> None:
    right = area("polygon", "Valve", points=[[75, 0], [100, 0], [100, 50], [75, 50]])
    # A quarter turn about its first corner: from (8, 2) down to (6, 4).
    turned = area("rectangle", "gear", x=100, y=50, width=25, height=50, rotation=90)
    painted = {"type": "brushlabels", "value": {"format": "rle", "rle": brush_runs(PAINTED), "brushlabels": ["gear"]}}
    point = {"type": "keypointlabels", "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["valve"]}}
    (folder / "a.json").write_text(json.dumps([studio(LEFT, right, turned, painted, point)]))
    rows = [[1, 1, 0, 0, 0, 0, 2, 2]] * 2 + [[0, 0, 0, 0, 0, 0, 1, 1]] + [[0, 1, 1, 0, 0, 0, 1, 1]]
    assert imported(folder, "a.json") == {"p0": rows}


def test_an_ellipse_of_label_studio_has_its_area(folder: Path) -> None:
    size = {"original_width": 80, "original_height": 100}
    ellipse = {**area("ellipse", "gear", x=50, y=50, radiusX=25, radiusY=40, rotation=90), **size}
    (folder / "a.json").write_text(json.dumps([studio(ellipse)]))
    import_masks(folder / "a.json", folder / "masks")
    mask = read_mask(folder / "masks" / "p0.png")
    assert abs(int(mask.sum()) / (np.pi * 20 * 40) - 1) < 0.01
    # Turned by a quarter: 80 pixels wide and 40 high.
    assert np.flatnonzero(mask.any(0)).tolist() == list(range(80))
    assert np.flatnonzero(mask.any(1)).tolist() == list(range(30, 70))


def test_tasks_of_label_studio(folder: Path) -> None:
    valve = area("polygon", "valve", points=[[0, 0], [25, 0], [25, 50], [0, 50]])
    doubtful = studio(LEFT, valve)
    trusted = studio(data={"image": "/data/local-files/?d=photos/p1.png", "text": "p9"})
    trusted["annotations"] = [
        {"result": [], "was_cancelled": True},
        *studio(WHOLE)["annotations"],
        {**studio(LEFT)["annotations"][0], "ground_truth": True},
    ]
    (folder / "a.json").write_text(json.dumps([doubtful, trusted, studio(), studio(annotations=[])]))
    with pytest.raises(UserError, match="two tasks of /data/upload"):
        imported(folder, "a.json")
    (folder / "classes.txt").unlink()
    (folder / "a.json").write_text(json.dumps([doubtful, trusted, studio(annotations=[])]))
    told = import_masks(folder / "a.json", folder / "masks")
    assert "2 masks in" in told and "left out 1 task without an area" in told
    assert read_mask(folder / "masks" / "p0.png")[0].tolist() == [255, 255, 0, 0, 0, 0, 0, 0]
    assert read_mask(folder / "masks" / "p1.png")[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert (folder / "classes.txt").read_text() == "gear\nvalve\n"


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([studio(area("polygon", "geer", points=[[0, 0], [9, 0], [9, 9]]))], "unknown class 'geer'"),
        ([studio(LEFT, data={"image": "x"})], "task 7, which names no photo"),
        ([studio(LEFT, annotations=studio(LEFT)["annotations"] * 2)], "2 annotations of task 7.*ground truth"),
        ([studio({**LEFT, "image_rotation": 90})], "turned by 90°"),
        ([studio({**LEFT, "original_width": 9}, LEFT)], "no size of the photo, or several"),
        ([studio({**LEFT, "original_width": 10**9})], "less than|at most"),
        ([studio(area("polygon", "gear", points=[[0, 0], [1e300, 0], [9, 9]]))], "coordinates"),
        ([studio(area("brush", "gear", rle=brush_runs(PAINTED[:2])))], "run lengths of 64 values.*128"),
        ([studio(area("brush", "gear", rle=brush_runs(PAINTED)[:30]))], "run lengths without an end"),
        ([studio(area("brush", "gear", rle=[0, 0, 0, 128, 57, 27, 255, *[255] * 9]))], "more than 128 values"),
        ([studio(area("brush", "gear", rle=[300]))], "less than or equal to 255"),
        ([{"id": 1, "image": "/p0.jpg", "label": []}], "JSON, not JSON-MIN"),
        (
            [{"image_id": 1, "category_id": 2, "segmentation": []}],
            "a list of COCO's results; .*add images and categories",
        ),
        ([], "no mask in it"),
        ([studio()], "no mask in it"),
    ],
)
def test_odd_exports_of_label_studio_are_refused(tasks: Any, words: str, folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(tasks))
    with pytest.raises(UserError, match=words) as error:
        imported(folder, "a.json")
    assert "\n" not in str(error.value)


def labelme(**changes: Any) -> dict[str, Any]:
    square = {"label": "gear", "points": [[0, 0], [3, 0], [3, 3], [0, 3]], "shape_type": "polygon"}
    inside = {"label": "valve", "points": [[2, 2], [1, 1]], "shape_type": "rectangle"}
    ignored = {"label": "__ignore__", "points": [[6, 0], [6, 0.2]], "shape_type": "circle"}
    return {"shapes": [square, inside, ignored], "imageHeight": 4, "imageWidth": 8, "version": "5", **changes}


def test_shapes_of_labelme(folder: Path) -> None:
    (folder / "theirs" / "p0.json").write_text(json.dumps(labelme()))
    found = imported(folder)["p0"]
    assert [row[:5] for row in found] == [[1, 1, 1, 1, 0], [1, 2, 2, 1, 0], [1, 2, 2, 1, 0], [1, 1, 1, 1, 0]]
    assert found[0][6] == 255


def painted(points: list[list[float]], content: np.ndarray | None) -> dict[str, Any]:
    """A shape that a model painted for LabelMe: a PNG of its box, in base64."""
    buffer = BytesIO()
    if content is not None:
        Image.fromarray(content).save(buffer, "PNG")
    mask = b64encode(buffer.getvalue()).decode()
    return {"label": "valve", "points": points, "shape_type": "mask", "mask": mask}


PAINTED_SHAPE = painted([[5, 1], [7, 2]], np.ones((2, 3), np.uint8))


@pytest.mark.parametrize("kind", [np.uint8, np.bool_])
def test_what_a_model_painted_for_labelme(kind: type, folder: Path) -> None:
    shape = painted([[5.0, 1.0], [7.0, 2.0]], np.array([[0, 1, 1], [1, 0, 0]], kind))
    (folder / "theirs" / "p0.json").write_text(json.dumps(labelme(shapes=[shape])))
    rows = [[0] * 8, [0, 0, 0, 0, 0, 0, 2, 2], [0, 0, 0, 0, 0, 2, 0, 0], [0] * 8]
    assert imported(folder) == {"p0": rows}


def coco(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": 1, "file_name": "p0.jpg", "height": 4, "width": 5}]
    categories = [{"id": 13, "name": "valve"}, {"id": 2, "name": "gear"}, {"id": 1, "name": "bolt"}]
    return {
        "images": images,
        "annotations": [{"image_id": 1, **each} for each in annotations],
        "categories": categories,
    }


SQUARE = {"category_id": 2, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
# Down the columns: 5 zeros, 2 ones (rows 1 and 2 of column 1), 13 zeros.
RUNS = {"category_id": 13, "segmentation": {"size": [4, 5], "counts": [5, 2, 13]}}
OTHER = {"category_id": 1, "segmentation": [[0, 0, 5, 0, 5, 4, 0, 4]]}


def test_polygons_and_run_lengths_of_coco(folder: Path) -> None:
    # The smaller lies on top whatever the order, and a class that the data set has not is left out.
    (folder / "a.json").write_text(json.dumps(coco([RUNS, SQUARE, OTHER])))
    assert imported(folder, "a.json") == {"p0": [[1, 1, 1, 1, 0], [1, 2, 1, 1, 0], [1, 2, 1, 1, 0], [1, 1, 1, 1, 0]]}


def test_compressed_run_lengths_mean_what_pycocotools_says(folder: Path) -> None:
    from pycocotools import mask as coco_masks

    area = np.random.default_rng(0).random((64, 70)) < 0.02
    area[10:50, 20:60] = True
    counts = coco_masks.encode(np.asfortranarray(area.astype(np.uint8)))["counts"].decode()
    content = coco([{"category_id": 2, "segmentation": {"size": [64, 70], "counts": counts}}])
    content["images"][0] |= {"height": 64, "width": 70}
    (folder / "a.json").write_text(json.dumps(content))
    assert imported(folder, "a.json") == {"p0": area.astype(int).tolist()}


def test_crowds_are_void_unless_everything_is_marked_so(folder: Path) -> None:
    crowd = {**RUNS, "iscrowd": 1}
    (folder / "a.json").write_text(json.dumps(coco([crowd, {**SQUARE, "segmentation": [[0, 0, 1, 0, 1, 4, 0, 4]]}])))
    assert imported(folder, "a.json")["p0"][1] == [1, 255, 0, 0, 0]
    assert imported(folder, "a.json", crowd="object")["p0"][1] == [1, 2, 0, 0, 0]
    (folder / "a.json").write_text(json.dumps(coco([crowd])))
    assert "marked as crowds, as CVAT does" in import_masks(folder / "a.json", folder / "masks")
    assert read_mask(folder / "masks" / "p0.png")[1].tolist() == [0, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([], "a box alone"),
        ([[0, 0, 1, 1, 2, 2, 3]], "a polygon of 7 numbers"),
        ([[0, 0, 1e9, 0, 4, 4]], "coordinates from 0 to 1e"),
        ([[0, 0, 5, 4] * 150_000], "an outline of"),
        ({"size": [4, 5], "counts": [5, 2]}, "run lengths of 7 pixels"),
        ({"size": [5, 4], "counts": [5, 2, 13]}, r"size \[5, 4\]"),
        ({"size": [4, 5], "counts": [-5, 25]}, "annotations.0.segmentation"),
        ({"size": [4, 5], "counts": "o" * 30}, "in run lengths"),
        ({"size": [4, 5], "counts": "o"}, "without an end"),
        ({"size": [4, 5], "counts": "\x00"}, "in run lengths"),
    ],
)
def test_outlines_that_do_not_fit_are_refused(shape: Any, words: str, folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(coco([{"category_id": 2, "segmentation": shape}])))
    with pytest.raises(UserError, match=words) as error:
        imported(folder, "a.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"imageHeight": None}, "no imageHeight"),
        ({"imageHeight": 10**9}, "imageHeight|less than"),
        ({"shapes": [{"label": "gear", "points": [[0, 0]], "shape_type": "point"}]}, "a point of 1 point"),
        (
            {"shapes": [{"label": "geer", "points": [[0, 0], [1, 1]], "shape_type": "rectangle"}]},
            "unknown class 'geer'",
        ),
        ({"shapes": [{"label": "gear", "points": [[0, 0], [1e300, 1]], "shape_type": "circle"}]}, "coordinates"),
        ({"shapes": 3}, "at shapes"),
        ({"shapes": [{**PAINTED_SHAPE, "mask": None}]}, "an unreadable mask.*3×2 pixels"),
        ({"shapes": [{**PAINTED_SHAPE, "mask": "@@@"}]}, "an unreadable mask"),
        ({"shapes": [{**PAINTED_SHAPE, "points": [[0, 0], [1, 1]]}]}, "a mask of 3×2 pixels.*2×2"),
    ],
)
def test_odd_files_of_labelme_are_refused(change: dict[str, Any], words: str, folder: Path) -> None:
    (folder / "theirs" / "p0.json").write_text(json.dumps(labelme(**change)))
    with pytest.raises(UserError, match=words):
        imported(folder)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda mask: coloured(mask, RGB), r"p0\.png: found the colours \(16, 160, 220\), \(200, 16, 120\).*labelmap"),
        (lambda mask: Image.fromarray(mask * 127 + mask // 2), r"the values|the value 127"),
        (lambda mask: Image.fromarray((mask > 0).astype(np.uint8) * 255), "0 and 255 alone in all 2 masks"),
        (lambda mask: Image.fromarray(mask.astype(np.uint16) * 1000), r"p0\.png: found the value 1000"),
        (lambda mask: Image.merge("LA", (Image.fromarray(mask), Image.fromarray(mask))), "partly transparent"),
    ],
)
def test_pictures_without_a_meaning_are_refused(make: Any, words: str, folder: Path) -> None:
    save(folder, make)
    with pytest.raises(UserError, match=words):
        imported(folder)
    assert not (folder / "masks").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gear:::\n", r"labelmap\.txt:1: found no colour for 'gear'.*datumaro"),
        ("gear:1,2\n", "the colour '1,2'"),
        ("gear:1,2,300\n", "the colour '1,2,300'"),
        ("gear:1,1,1::\nvalve:1,1,1::\n", "again"),
        ("geer:1,1,1::\n", "unknown class 'geer'.*'gear'"),
        ("#\n", "no line with a colour"),
        ("gear:1,1,1::\n", r"p0\.png: found the colours.*colours of the labelmap; add their lines.*SegmentationObject"),
    ],
)
def test_odd_labelmaps_are_refused(text: str, words: str, folder: Path) -> None:
    save(folder, lambda mask: coloured(mask, RGB))
    (folder / "labelmap.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        imported(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotations.xml", "XML is not read: from CVAT export COCO"),
        ("p0_json/label.png", r"label\.png numbers the classes of each photo anew: import LabelMe's \.json"),
        ("masks/p0.png", r"name the folder itself, such as \S*theirs/masks$"),
        ("p0.txt", r"LabelMe \.json or of \.png$"),
    ],
)
def test_what_lies_in_a_folder_without_masks_is_told(name: str, words: str, folder: Path) -> None:
    path = folder / "theirs" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(UserError, match=words):
        imported(folder)
    if path.suffix == ".xml":
        with pytest.raises(UserError, match=rf"xml: found a file; .*{words}"):
            imported(folder, f"theirs/{name}")


def test_sources_of_no_kind_and_an_output_that_is_the_source(folder: Path) -> None:
    (folder / "theirs" / "p0.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 JPEG file.*export masks as PNG"):
        imported(folder)
    with pytest.raises(UserError, match=r"nowhere: found nothing"):
        imported(folder, "nowhere")
    save(folder, Image.fromarray)
    (folder / "classes.txt").rename(folder / "names.txt")
    with pytest.raises(UserError, match="the folder of the source as output"):
        import_masks(folder / "theirs", folder / "theirs", MaskOptions(folder / "names.txt"))
    with pytest.raises(UserError, match=r"names of 0 classes.*classes\.txt"):
        imported(folder)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.add_typer(data_app)
    save(folder, lambda mask: coloured(mask, RGB))
    (folder / "colours").write_text(LABELMAP)
    options = ["--classes", str(folder / "classes.txt"), "--labelmap", str(folder / "colours")]
    app(["data", "import-masks", str(folder / "theirs"), str(folder / "masks"), *options], standalone_mode=False)
    assert "2 masks in" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_masks_in_subfolders_keep_the_folders_of_their_ids(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "classes.txt").write_text("gear\nvalve\n")
    (tmp_path / "train.txt").write_text("city a/p 0\ncity b/p 0\n")
    for city, name in (("a", "p0"), ("b", "p1")):
        place = tmp_path / "theirs" / f"city {city}"
        place.mkdir(parents=True)
        Image.fromarray(INDICES[name]).save(place / f"p 0{suffix}.png")
    import_masks(tmp_path / "theirs", tmp_path / "masks")
    for city, name in (("a", "p0"), ("b", "p1")):
        assert read_mask(tmp_path / "masks" / f"city {city}" / "p 0.png").tolist() == INDICES[name].tolist()
