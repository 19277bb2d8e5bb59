"""`seedbed data`: what a data set holds, all that is odd about it, and a picture of it."""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import typer
from PIL import Image

from harness.commands import progress
from harness.commands.data import data_app
from harness.commands.progress import watched
from harness.drawing.overlays import mask_colours
from harness.inspection.check import Finding, describe, find, gather_facts, to_lines
from harness.suites.data import open_dataset
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.errors import UserError
from settings.masks import PALETTE, read_mask, write_mask
from settings.unread import Unread

LABELS = {"t1": "cat", "t2": "dog", "t3": "cat;dog", "d1": "cat", "v1": "", "v2": "dog"}
LISTS = {"train": ("t1", "t2", "t3"), "dev": ("d1",), "val": ("v1", "v2")}
MASKS = {"t1": (1,), "t2": (2,), "t3": (1, 2), "d1": (1,), "v1": (1,), "v2": (2,)}


class Files:
    """Two classes, six photos of 20 × 30 pixels whose masks agree with their labels: nothing is odd about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        (root / "classes.txt").write_text("cat\ndog\n")
        self.write_labels(**LABELS)
        for split, ids in LISTS.items():
            (root / f"{split}.txt").write_text("\n".join(ids))
        for i, photo_id in enumerate(MASKS):
            Image.new("RGB", (30, 20), (40 * i, 0, 0)).save(self.photo(photo_id))
            self.write_mask(photo_id, *MASKS[photo_id])

    def photo(self, photo_id: str) -> Path:
        return self.root / "images" / f"{photo_id}.png"

    def mask(self, photo_id: str) -> Path:
        return self.root / "masks" / f"{photo_id}.png"

    def write_mask(self, photo_id: str, *values: int) -> None:
        mask_HW = np.zeros((20, 30), np.uint8)
        for i, value in enumerate(values):
            mask_HW[:, 6 * i : 6 * i + 6] = value
        write_mask(self.mask(photo_id), mask_HW)

    def write_labels(self, **names: str) -> None:
        rows = [f"{photo_id},{text}\n" for photo_id, text in names.items()]
        (self.root / "labels.csv").write_text("id,labels\n" + "".join(rows))

    def add_negative(self, *values: int) -> None:
        """A photo of train whose row says that it shows no class, with a mask of these values."""
        for name, line in (("train.txt", "\nblank"), ("labels.csv", "blank,\n")):
            (self.root / name).write_text((self.root / name).read_text() + line)
        Image.new("RGB", (30, 20), (0, 200, 0)).save(self.photo("blank"))
        self.write_mask("blank", *values)

    def findings(self) -> list[Finding]:
        dataset = open_dataset(str(self.root))
        return find(dataset, gather_facts(dataset))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "mine")


def run(*arguments: object) -> int:
    """As harness.commands.main calls it: the exit code, or the UserError that the command line prints."""
    app = typer.Typer()
    app.add_typer(data_app)
    return int(app(["data", *map(str, arguments)], standalone_mode=False) or 0)


def texts(files: Files, fails: bool) -> list[str]:
    return [finding.text for finding in files.findings() if finding.fails == fails]


def test_counts_and_class_balance(files: Files) -> None:
    dataset = open_dataset(str(files.root))
    assert describe(dataset, gather_facts(dataset)) == [
        "mine: 2 classes, 6 photos",
        "train: 3 photos · 3 readable masks · 30×20",
        "dev: 1 photo · 1 readable mask · 30×20",
        "val: 2 photos · 2 readable masks · 30×20",
        # A stripe is a fifth of a photo: cat has one in t1, t3, d1, v1 of six, dog in t2, t3, v2.
        f"class cat: labels of 2 train, 1 dev, 0 val · {4 / 30:.1%} of the known pixels",
        f"class dog: labels of 2 train, 0 dev, 1 val · {3 / 30:.1%} of the known pixels",
    ]


def test_a_sound_folder_has_no_findings(files: Files) -> None:
    assert files.findings() == []


def test_photos_that_show_no_class_are_counted_and_are_no_finding(files: Files) -> None:
    files.add_negative()
    dataset = open_dataset(str(files.root))
    lines = describe(dataset, gather_facts(dataset))
    assert lines[1] == "train: 4 photos · 1 without a class · 4 readable masks · 30×20"
    assert lines[3] == "val: 2 photos · 2 readable masks · 30×20", "of val labels need not be given"
    assert files.findings() == []
    files.write_mask("blank", 2)
    assert texts(files, fails=False) == ["train: photo 'blank' is labelled with no class, its mask shows dog"]


def test_a_class_that_labels_every_photo_cannot_be_learned(files: Files) -> None:
    files.write_labels(t1="cat", t2="cat;dog", t3="cat;dog", d1="cat")
    (text,) = [text for text in texts(files, fails=False) if "no classifier" in text]
    assert text.startswith("'cat' as label of all 4 photos to train on: no classifier can learn what it is not; add ")
    assert texts(files, fails=True) == []
    files.add_negative()
    assert not [text for text in texts(files, fails=False) if "no classifier" in text]


def test_an_only_class_that_labels_every_photo_fails(files: Files) -> None:
    (files.root / "classes.txt").write_text("cat\n")
    files.write_labels(t1="cat", t2="cat", t3="cat", d1="cat")
    for photo_id in MASKS:
        files.write_mask(photo_id, 1)
    (text,) = texts(files, fails=True)
    assert text.startswith("'cat' as label of all 4 photos to train on: no classifier can learn what it is not; add ")
    files.add_negative()
    assert files.findings() == []


def test_any_data_set_may_tell_of_photos_left_out_and_of_what_nothing_reads() -> None:
    class Meadows(Scenes):
        left_out = MappingProxyType({"dev": ("x", "y")})

        def unread(self) -> tuple[Unread, ...]:
            return (Unread("file", "in herbs/", ("thyme.txt",), "move it"),)

    dataset = Meadows(ScenesOptions(classes=2, size=32, train=8, dev=2, val=4))
    found = [finding.text for finding in find(dataset, gather_facts(dataset))]
    assert found[:2] == [
        "dev: 2 of 4 photos (x, y) without a class, left out",
        "nothing reads 1 file in herbs/ ('thyme.txt'); move it",
    ]


def test_photos_and_masks_that_cannot_be_read(files: Files) -> None:
    files.photo("t1").unlink()
    files.photo("t2").write_bytes(files.photo("t2").read_bytes()[:60])
    write_mask(files.mask("d1"), np.zeros((30, 20), np.uint8))
    files.write_mask("v1", 3)
    Image.new("RGB", (30, 20)).save(files.mask("v2"))
    found = texts(files, fails=True)
    expected = ("t1.jpg: found no such file", "t2.png: found an unreadable", "d1.png: found 20×30 pixels")
    for words, text in zip((*expected, "v1.png: found mask value 3", "v2.png: found mode RGB"), found, strict=True):
        assert words in text


def test_labels_against_masks(files: Files) -> None:
    files.write_mask("t1", 2)
    files.write_mask("d1")
    files.write_mask("v1", 1, 2)
    assert texts(files, fails=False) == [
        "train: photo 't1' is labelled cat, its mask shows dog",
        "dev: photo 'd1' is labelled cat, its mask shows nothing",
    ]


def test_masks_that_are_missing(files: Files) -> None:
    """Train may lack some; of val all or none."""
    files.mask("t1").unlink()
    assert "train: 1 of 3 photos (t1) without a mask" in texts(files, fails=False)
    files.mask("v1").unlink()
    assert [text[:45] for text in texts(files, fails=True)] == ["val: photo 'v1' has no mask, which others of "]
    files.mask("v2").unlink()
    assert texts(files, fails=True) == []
    assert "val: no photo has a mask: there is nothing to score on it" in texts(files, fails=False)


def test_a_folder_without_masks_has_nothing_to_score(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    for photo_id in MASKS:
        files.mask(photo_id).unlink()
    assert run("check", files.root) == 0
    shown = capsys.readouterr().out
    assert "no photo has a mask: there is nothing to score" in shown
    assert shown.endswith("nothing found that a run would fail on\n")


def test_what_nothing_reads_is_told_one_line_a_kind(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    for photo_id in MASKS:
        files.mask(photo_id).rename(files.mask(photo_id).with_suffix(".jpg"))
    (files.root / "images" / "new.png").write_bytes(b"never opened")
    (files.root / "images" / "new.webp").touch()
    (files.root / "images" / ".DS_Store").touch()
    (files.root / "tests.txt").write_text("new\n")
    (files.root / "labels.csv").write_text((files.root / "labels.csv").read_text() + "new,cat\nolder,dog\n")
    lists = "list their ids in train.txt, dev.txt or val.txt if they are wanted"
    assert [finding.text for finding in files.findings() if finding.kind == "kinds of files that nothing reads"] == [
        "nothing reads 1 file of another kind than JPEG and PNG in images/ ('new.webp'); convert them",
        f"nothing reads 1 file of no listed id in images/ ('new.png'); {lists}",
        "nothing reads 6 files of another kind than PNG in masks/ ('d1.jpg'); "
        "save masks as <id>.png, with class indices as values (`seedbed data import-masks` makes them of JSON)",
        "nothing reads 1 file beside the lists ('tests.txt'); the lists are train.txt, dev.txt, val.txt, test.txt",
        f"nothing reads 2 rows of labels.csv, of no listed id ('new'); {lists}",
    ]
    assert run("check", files.root) == 0
    assert "no photo has a mask" in capsys.readouterr().out


def test_masks_under_almost_their_name_or_in_another_folder_are_told(files: Files) -> None:
    for photo_id in MASKS:
        files.mask(photo_id).rename(files.mask(f"{photo_id}_mask"))
    (files.root / "images" / "Thumbs.db").touch()
    (text,) = [finding.text for finding in files.findings() if finding.kind == "kinds of files that nothing reads"]
    assert (
        "6 files of no listed id in masks/ ('d1_mask.png'); 6 files of almost that name: rename d1_mask.png to" in text
    )
    (files.root / "masks").rename(files.root / "SegmentationClass")
    for path in (files.root / "SegmentationClass").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "")))
    (text,) = [finding.text for finding in files.findings() if finding.kind == "kinds of files that nothing reads"]
    assert text == (
        "nothing reads 1 folder of pictures of listed photos ('SegmentationClass'); masks are read from masks/"
    )


def test_labels_of_photos_that_cannot_be_opened_are_not_missed(files: Files) -> None:
    """Dog is taught by t2 and t3 alone."""
    for photo_id in ("t2", "t3"):
        files.photo(photo_id).unlink()
    assert ["no such file" in text for text in texts(files, fails=True)] == [True, True]


def test_val_without_a_known_pixel_fails(files: Files) -> None:
    write_mask(files.mask("v1"), np.full((20, 30), 255, np.uint8))
    assert texts(files, fails=True) == []
    write_mask(files.mask("v2"), np.full((20, 30), 255, np.uint8))
    (text,) = texts(files, fails=True)
    assert text.startswith("val: no mask has a known pixel, all are 255: nothing can be scored")


def test_classes_that_nothing_teaches_or_scores(files: Files) -> None:
    (files.root / "classes.txt").write_text("cat\ndog\nemu\n")
    assert texts(files, fails=True) == ["class 'emu' is no label of any photo of train and dev"]
    assert texts(files, fails=False) == ["class 'emu' is in no mask of val: its IoU is 0 or undefined"]


def test_a_background_among_the_classes_is_two_errors(files: Files) -> None:
    """Background under a name that no program has: all masks are one value below what classes.txt says."""
    (files.root / "classes.txt").write_text("ground\ncat\ndog\n")
    shifted, untaught = texts(files, fails=True)
    assert shifted.endswith('the data set\'s option map: "1:2,2:3" reads them rightly')
    assert untaught.startswith(
        "class 'ground' is no label of any photo of train and dev; if it is the background, take"
    )


def test_void_masks_and_equal_photos(files: Files) -> None:
    write_mask(files.mask("t2"), np.full((20, 30), 255, np.uint8))
    files.photo("v2").write_bytes(files.photo("t3").read_bytes())
    found = texts(files, fails=False)
    assert "train: mask 't2' is all 255" in found
    assert "photos 't3' (train), 'v2' (val) are one file; what is scored was trained on" in found


def test_many_findings_of_one_kind_are_counted() -> None:
    findings = [Finding("bad photos", f"photo {i}", True) for i in range(5)] + [Finding("odd masks", "m")]
    assert to_lines(findings, 2) == ["error: photo 0", "error: photo 1", "… and 3 more bad photos", "note: m"]
    assert len(to_lines(findings, 5)) == 6


def test_check_ends_with_2_where_a_run_would_fail(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", files.root) == 0
    files.photo("t1").unlink()
    assert run("check", files.root) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "a run would fail: 1 error"
    assert any(line.startswith("error: ") and "t1.jpg: found no such file" in line for line in lines)


def test_known_data_sets_take_options() -> None:
    dataset = open_dataset("scenes", ["train=3", "dev=0", "val=2", "size=32"])
    assert [len(dataset.splits[split]) for split in ("train", "dev", "val")] == [3, 0, 2]
    assert gather_facts(dataset)[0].place == ("train", "train_00000")
    with pytest.raises(UserError, match=r"dataset\.trian: found unknown key .*did you mean 'train'"):
        open_dataset("scenes", ["trian=3"])
    with pytest.raises(UserError, match=r"unknown name or folder 'scenees'; .*did you mean 'scenes'"):
        open_dataset("scenees")


def test_rendered_scenes_have_nothing_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "scenes", "--set", "train=4", "--set", "dev=2", "--set", "val=2", "--set", "size=32") == 0
    assert "train: 4 photos · 4 readable masks · 32×32" in capsys.readouterr().out


def test_list_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert any(line.startswith("scenes  The embedded data set") for line in lines)


def test_show_draws_masks_over_photos(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.photo("t2").unlink()
    output = tmp_path / "sheet.png"
    assert run("show", files.root, "--output", output) == 0
    assert str(output) in capsys.readouterr().out
    pixels = np.asarray(Image.open(output).convert("RGB")).reshape(-1, 3).astype(int)
    colour = mask_colours()[1].astype(int)
    # 65 % of cat's colour over t1's black photo: all those pixels are of the sheet's mask, none of its legend.
    assert (abs(pixels - 0.65 * colour).max(1) < 3).sum() > 500
    assert (abs(pixels - 200).max(1) < 2).sum() > 500, "the missing photo is a grey cell"
    assert read_mask(files.mask("t1")).max() == 1


@pytest.mark.parametrize(
    ("output", "words"), [("sheet.jpg", "ends with .png"), ("nowhere/sheet.png", "cannot be written")]
)
def test_a_sheet_that_cannot_be_written(files: Files, tmp_path: Path, output: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run("show", files.root, "--output", tmp_path / output, "--photos", 2)
    assert not (tmp_path / output).exists()


def test_long_work_is_told_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    assert list(watched("abc")) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["0/3", "1/3", "2/3"] and shown.out == ""


def test_only_voc_is_fetched() -> None:
    with pytest.raises(UserError, match=r"found 'scenes'; expected voc12; no other data set is downloaded"):
        run("fetch", "scenes")


def swap(files: Files) -> None:
    """The masks of all photos, their two classes exchanged."""
    for photo_id, values in MASKS.items():
        files.write_mask(photo_id, *(3 - value for value in values))


def test_classes_in_another_order_are_one_error(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    swap(files)
    (text,) = texts(files, fails=True)
    assert text == (
        "labels and masks that contradict each other in the same way in 4 of 5 photos: where 'cat' is the label, masks "
        "hold 2, the value of 'dog'; the data set's option map: \"1:2,2:1\" reads them rightly"
    )
    assert not any("is labelled" in text for text in texts(files, fails=False))
    assert run("check", files.root) == 2
    assert run("check", files.root, "--set", "map=1:2,2:1") == 0
    assert "nothing found that a run would fail on" in capsys.readouterr().out


def test_one_split_of_other_masks_is_an_error(tmp_path: Path) -> None:
    """Masks of dev that come from elsewhere: classes exchanged, or all of them void."""
    files = Files(tmp_path / "mine")
    names = {"train": "abcdefgh", "dev": "ijkl", "val": "mnop"}
    rows = []
    for split, ids in names.items():
        (files.root / f"{split}.txt").write_text("\n".join(ids))
        for number, photo_id in enumerate(ids):
            Image.new("RGB", (30, 20), (10 * number, len(split), 0)).save(files.photo(photo_id))
            files.write_mask(photo_id, number % 2 + 1)
            rows.append(f"{photo_id},{('cat', 'dog')[number % 2]}")
    (files.root / "labels.csv").write_text("\n".join(["id,labels", *rows]))
    assert texts(files, fails=True) == []
    for number, photo_id in enumerate(names["dev"]):
        files.write_mask(photo_id, 2 - number % 2)
    (text,) = texts(files, fails=True)
    assert text.startswith("dev: labels and masks that contradict each other in the same way in 4 of 4 photos")
    for photo_id in names["dev"]:
        files.write_mask(photo_id, 255)
    (text,) = texts(files, fails=True)
    assert text.startswith("dev: labels and masks of 4 of 4 photos without a class in common")
    # What is wrong elsewhere is told as it would be without that.
    files.write_mask("m", 7)
    assert any("'m'" in text or "m.png" in text for text in texts(files, fails=True)[1:])


def test_values_beyond_the_classes_are_compared_too(files: Files) -> None:
    """Category ids with gaps: cat is 17 and dog 18."""
    for photo_id, values in MASKS.items():
        files.write_mask(photo_id, *(16 + value for value in values))
    (text,) = texts(files, fails=True)
    assert "where 'cat' is the label, masks hold 17, a value of no class" in text and 'map: "17:1,18:2"' in text
    # A stray value here and there is told by photo.
    for photo_id, values in MASKS.items():
        files.write_mask(photo_id, *values)
    files.write_mask("d1", 17)
    assert ["found mask value 17" in text for text in texts(files, fails=True)] == [True]


def test_masks_of_0_and_255(files: Files) -> None:
    (files.root / "classes.txt").write_text("cat\n")
    files.write_labels(**{**dict.fromkeys(MASKS, "cat"), "d1": ""})
    for photo_id in MASKS:
        files.write_mask(photo_id, 255)
    mend = 'masks of 0/255 must become 0/1, by the data set\'s option map: "255:1"'
    found = "no true mask with a pixel of any class but background; 20.0% of the pixels are 255, which is void"
    assert texts(files, fails=True) == [f"{split}: {found} and no class; {mend}" for split in ("train", "val")]


@pytest.mark.parametrize("classes", [1, 2])
def test_palettes_in_another_order(files: Files, classes: int) -> None:
    """Another order in each file: no map mends it, colours do. Of one class, labels cannot tell it from background."""
    if classes == 1:
        (files.root / "classes.txt").write_text("cat\n")
        files.write_labels(**dict.fromkeys(LABELS, "cat"))
    for photo_id, values in MASKS.items():
        colours = [min(values[0], classes), 0, *values[1:classes]]
        files.write_mask(photo_id, *(min(value, classes) for value in values[:classes]))
        picture = Image.fromarray(np.vectorize(colours.index)(read_mask(files.mask(photo_id))).astype(np.uint8))
        picture.putpalette(b"".join(PALETTE[3 * value : 3 * value + 3] for value in colours))
        picture.save(files.mask(photo_id))
    assert texts(files, fails=True)[0] == (
        "palettes in another order: 6 masks are right by VOC's colours and wrong by their values; "
        "`seedbed data import-masks` makes class indices of colours"
    )
