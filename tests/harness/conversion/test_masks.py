"""`seedbed data import-masks`: what annotation tools export becomes class indices, and doubt becomes an error."""

import json
import struct
import zlib
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


def test_label_studio_writes_a_file_a_label(folder: Path) -> None:
    (folder / "train.txt").write_text("task-7\n")
    for label, row in {"gear": [255, 255, 0, 0], "valve": [0, 255, 255, 0]}.items():
        name = f"task-7-annotation-3-by-1-tag-{label}-0.png"
        Image.fromarray(np.array([row], np.uint8)).save(folder / "theirs" / name)
    assert imported(folder) == {"task-7": [[1, 255, 2, 0]]}


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
        ("gear:1,1,1::\n", r"p0\.png: found the colours.*colours of the labelmap"),
    ],
)
def test_odd_labelmaps_are_refused(text: str, words: str, folder: Path) -> None:
    save(folder, lambda mask: coloured(mask, RGB))
    (folder / "labelmap.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        imported(folder)


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
