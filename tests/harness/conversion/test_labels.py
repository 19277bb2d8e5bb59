"""`seedbed data import-labels`: every form in which labels go about becomes the same labels.csv, and doubt an error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from harness.commands.data import data_app
from harness.conversion.labels import import_labels
from settings.errors import UserError
from settings.masks import write_mask

EXPECTED = "id,labels\np0,gear;valve\np1,gear\np2,\n"
HOT = {"p0": [1, 1], "p1": [1, 0], "p2": [0, 0]}
NAMES = {"p0": ["valve", "gear", "gear"], "p1": ["gear"], "p2": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set without labels.csv."""
    (tmp_path / "classes.txt").write_text("gear\nvalve\n")
    (tmp_path / "train.txt").write_text("p0\np1\n")
    (tmp_path / "val.txt").write_text("p2\n")
    return tmp_path


def imported(folder: Path, name: str, **options: Any) -> str:
    import_labels([folder / name], folder / "labels.csv", **options)
    return (folder / "labels.csv").read_text()


def save(path: Path, content: object) -> Path:
    np.save(path, content)  # type: ignore[arg-type]
    return path


def of_dictionary(folder: Path) -> str:
    return save(folder / "cls_labels.npy", {key: np.array(row, np.float32) for key, row in HOT.items()}).name


def of_numbers(folder: Path) -> str:
    return save(folder / "cls_labels.npy", {int(key[1:]): np.array(row, np.int64) for key, row in HOT.items()}).name


def of_table(folder: Path) -> str:
    rows = [f"{key}.jpg,0,{row[1]},{row[0]}" for key, row in HOT.items()]
    (folder / "_classes.csv").write_text("\n".join(["filename, Unlabeled, valve, Gear", *rows]))
    return "_classes.csv"


def coco() -> dict[str, Any]:
    """Three photos, a crowd, a class of no interest, and numbers with gaps."""
    images = [{"id": place, "file_name": f"images/{key}.jpg"} for place, key in enumerate(NAMES)]
    numbers = {"gear": 3, "valve": 7}
    annotations = [
        {"id": 0, "image_id": place, "category_id": numbers[name], "iscrowd": 0, "bbox": [0, 0, 1, 1]}
        for place, names in enumerate(NAMES.values())
        for name in names
    ]
    annotations.append({"image_id": 2, "category_id": 1})
    categories = [{"id": 7, "name": "valve"}, {"id": 1, "name": "bolt"}, {"id": 3, "name": "gear"}]
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}


def of_coco(folder: Path) -> str:
    (folder / "instances.json").write_text(json.dumps(coco()))
    return "instances.json"


def of_voc(folder: Path) -> str:
    (folder / "xml").mkdir()
    for key, names in NAMES.items():
        objects = "".join(f"<object><name>{name}</name><part><name>x</name></part></object>" for name in names)
        (folder / "xml" / f"{key}.xml").write_text(f"<annotation><filename>?</filename>{objects}</annotation>")
    return "xml"


def of_labelme(folder: Path) -> str:
    (folder / "json").mkdir()
    for key, names in NAMES.items():
        shapes = [{"label": name, "points": [[0, 0], [1, 1]], "shape_type": "rectangle"} for name in names]
        (folder / "json" / f"{key}.json").write_text(json.dumps({"shapes": shapes, "imageHeight": 2, "imageWidth": 2}))
    return "json"


def of_label_studio(folder: Path) -> str:
    tasks = []
    for number, (key, names) in enumerate(NAMES.items()):
        # Areas, and choices for whole photos.
        values = [{"brushlabels": names[:1], "rle": [1]}, {"choices": names[1:]}]
        data = {"image": f"s3://photos/{key}.jpg"}
        tasks.append({"id": number, "data": data, "annotations": [{"result": [{"value": each} for each in values]}]})
    (folder / "export.json").write_text(json.dumps(tasks))
    return "export.json"


def of_list(folder: Path) -> str:
    (folder / "train_cls.txt").write_text("p0 0 1\n/JPEGImages/p1.jpg 0\np2\n\n")
    return "train_cls.txt"


def of_list_from_1(folder: Path) -> str:
    (folder / "train_cls.txt").write_text("p0 1 2\np1 1\np2\n")
    return "train_cls.txt"


def of_list_of_names(folder: Path) -> str:
    (folder / "train_cls.txt").write_text("p0: valve gear\np1: gear\np2:\n".replace(":", ""))
    return "train_cls.txt"


def of_hot_list(folder: Path) -> str:
    (folder / "train_cls.txt").write_text("p0,1,1\np1,1,0\np2,0,0\n")
    return "train_cls.txt"


def of_masks(folder: Path) -> str:
    (folder / "masks").mkdir()
    for key, row in HOT.items():
        values = [0, 255, *(value + 1 for value, cell in enumerate(row) if cell)]
        write_mask(folder / "masks" / f"{key}.png", np.array([values], np.uint8))
    return "masks"


FORMS = (
    *(of_dictionary, of_numbers, of_table, of_coco, of_voc, of_labelme, of_label_studio, of_list),
    *(of_list_from_1, of_list_of_names, of_hot_list, of_masks),
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_table(form: Callable[[Path], str], folder: Path) -> None:
    assert imported(folder, form(folder)) == EXPECTED


def test_names_of_the_source_become_classes_where_there_are_none(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    content = coco()
    content["categories"] += [{"id": 0, "name": "parts", "supercategory": "none"}]
    content["categories"][0]["supercategory"] = "parts"
    (folder / "a.json").write_text(json.dumps(content))
    said = import_labels([folder / "a.json"], folder / "labels.csv")
    # In the order of their numbers: 1 bolt, 3 gear, 7 valve; the root 0 is no class.
    assert (folder / "classes.txt").read_text() == "bolt\ngear\nvalve\n"
    assert (folder / "labels.csv").read_text() == "id,labels\np0,gear;valve\np1,gear\np2,bolt\n"
    assert "wrote" in said


def test_numbers_of_coco_and_voc_find_their_photos(folder: Path) -> None:
    (folder / "val.txt").write_text("2007_000032\nCOCO_val2014_000000000139\n")
    hot = {0: [1, 0], 1: [1, 1], 2007000032: [0, 1], 139: [1, 0]}
    save(folder / "cls_labels.npy", {key: np.array(row) for key, row in hot.items()})
    rows = ["COCO_val2014_000000000139,gear", "2007_000032,valve", "p0,gear", "p1,gear;valve"]
    assert imported(folder, "cls_labels.npy").splitlines()[1:] == sorted(rows)


def test_other_photos_and_missing_ones_are_counted(folder: Path) -> None:
    (folder / "list.txt").write_text("p0 gear\nq gear\nr valve\n")
    said = import_labels([folder / "list.txt"], folder / "labels.csv")
    assert "left out 2 photos of no known id; nothing about 2 photos ('p1')" in said
    assert "1 photo in" in said
    assert "gear 1, 1 class without any" in said


def test_several_sources_and_ids_without_lists(folder: Path) -> None:
    for name in ("train.txt", "val.txt"):
        (folder / name).unlink()
    (folder / "a.txt").write_text("x.y.jpg;gear\n")
    (folder / "b.txt").write_text("z;valve;gear\n")
    import_labels([folder / "a.txt", folder / "b.txt"], folder / "labels.csv")
    assert (folder / "labels.csv").read_text() == "id,labels\nx.y,gear\nz,gear;valve\n"


class Asks:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch made",)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", {"p0": np.zeros(3)}, r"shape \(3,\).*2 cells"),
        ("a.npy", {"p0": np.array([0.3, 1])}, "other values than 0 and 1"),
        ("a.npy", {"p0": Asks()}, "asks for"),
        ("a.npy", {"q": np.zeros(2)}, "'q' and 0 more ids, of no known photo.*'p0'"),
        ("a.npy", {7: np.zeros(2)}, "7 and 0 more ids"),
        ("a.npy", np.zeros((3, 2)), "an array of numbers"),
        ("a.npy", {"p0.jpg": np.zeros(2), "p0": np.zeros(2)}, "one entry for photo 'p0'"),
        ("a.npy", {"p0": np.zeros(90)}, "COCO's numbers with their gaps"),
        ("a.csv", "Pixel Value, Class\n0, background\n1, gear", "values of masks; .*name the folder of masks"),
        ("a.csv", "p0,1,0", "no photo in it"),
        ("a.csv", "filename,gear\np0,2", "csv:2.*1 times 0 or 1"),
        ("a.csv", 'filename,gear\n"p0,2', "csv:2.*unreadable CSV"),
        ("a.csv", "filename,geer\np0,1", "unknown class 'geer'.*'gear'"),
        ("a.json", "{", "unreadable JSON"),
        ("a.json", "[" * 100_000, "unreadable JSON"),
        ("a.json", "{}", "a dictionary of nothing"),
        ("a.json", '{"images": [], "annotations": [{}], "categories": []}', r"annotations\.0\."),
        (
            "a.json",
            '{"images": [], "annotations": [{"image_id": 1, "category_id": 2}], "categories": []}',
            "an annotation of image 1",
        ),
        ("a.txt", "p0 1\np1 1", r"class numbers 1 to 1.*--first-class 1"),
        ("a.txt", "p0 0\np1 2", "class numbers 0 to 2.*2 classes"),
        ("a.txt", "p0 0\np0 1", r"txt:2.*'p0' again"),
        ("a.txt", "p0\np1", "2 lines without any class"),
        ("a.xml", "<a/>", "a file of the kind '.xml'"),
        ("xml/p0.xml", "<a/>", "<a>"),
        ("xml/p0.xml", "<annotation><object/></annotation>", "an object without a name"),
        ("xml/p0.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "the document type a"),
        ("xml/p0.xml", "<annotation>", "unreadable XML"),
        ("xml/p0.xml", "<a>" * 20_000 + "</a>" * 20_000, "<a>|unreadable XML"),
        ("empty/p0.jpg", "", "a folder without"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_file(
    name: str, content: Any, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if "COCO" in words:
        (folder / "classes.txt").write_text("".join(f"c{number}\n" for number in range(80)))
    (folder / name).parent.mkdir(exist_ok=True)
    if isinstance(content, str):
        (folder / name).write_text(content)
    else:
        save(folder / name, content)
    with pytest.raises(UserError, match=words) as error:
        imported(folder, name.partition("/")[0])
    assert "\n" not in str(error.value)
    assert name.partition("/")[0] in str(error.value)
    assert not (folder / "labels.csv").exists()
    assert not (folder / "made").exists()


def test_doubtful_numbers_are_settled_by_an_option(folder: Path) -> None:
    (folder / "a.txt").write_text("p0 1\np1 1\n")
    assert "p0,gear\n" in imported(folder, "a.txt", first_class=1)
    (folder / "labels.csv").unlink()
    assert "p0,valve\n" in imported(folder, "a.txt", first_class=0)


def test_numbers_without_lists_or_names_are_refused(folder: Path) -> None:
    for name in ("train.txt", "val.txt"):
        (folder / name).unlink()
    save(folder / "a.npy", {7: np.zeros(2)})
    with pytest.raises(UserError, match=r"the number 7.*train\.txt"):
        imported(folder, "a.npy")
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"without names of classes.*classes\.txt"):
        imported(folder, "a.npy")


def test_labels_that_are_there_are_kept(folder: Path) -> None:
    (folder / "labels.csv").write_text("mine")
    with pytest.raises(UserError, match=r"labels\.csv: found a file that is there already"):
        imported(folder, of_list(folder))
    assert (folder / "labels.csv").read_text() == "mine"


def test_sources_that_contradict_each_other_are_refused(folder: Path) -> None:
    (folder / "a.txt").write_text("p0 gear\n")
    (folder / "b.txt").write_text("p0 valve\n")
    with pytest.raises(UserError, match=r"b\.txt: found other labels for photo 'p0'"):
        import_labels([folder / "a.txt", folder / "b.txt"], folder / "labels.csv")


def test_the_command_takes_several_sources(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.add_typer(data_app)
    (folder / "a.txt").write_text("p0 1\n")
    (folder / "b.txt").write_text("p1 1\n")
    sources = [str(folder / name) for name in ("a.txt", "b.txt")]
    options = ["--classes", str(folder / "classes.txt"), "--first-class", "1"]
    app(["data", "import-labels", *sources, str(folder / "labels.csv"), *options], standalone_mode=False)
    assert "2 photos in" in capsys.readouterr().out


def test_ids_with_folders_and_blanks(tmp_path: Path) -> None:
    """From masks in subfolders, and from COCO's paths, as the photos below images/ are called."""
    (tmp_path / "classes.txt").write_text("gear\nvalve\n")
    names = {"city a/p 0": 1, "city b/p 0": 2}
    for name, value in names.items():
        for place in ("images", "theirs"):
            (tmp_path / place / name).parent.mkdir(parents=True)
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"")
        write_mask(tmp_path / "theirs" / f"{name}.png", np.full((1, 2), value, np.uint8))
    images = [{"id": place, "file_name": f"data/{name}.jpg"} for place, name in enumerate(names)]
    annotations = [{"image_id": place, "category_id": value} for place, value in enumerate(names.values())]
    categories = [{"id": 1, "name": "gear"}, {"id": 2, "name": "valve"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    for source in ("theirs", "a.json"):
        import_labels([tmp_path / source], tmp_path / "labels.csv")
        assert (tmp_path / "labels.csv").read_text() == "id,labels\ncity a/p 0,gear\ncity b/p 0,valve\n"
        (tmp_path / "labels.csv").unlink()
