"""Anyone's folder: splits, labels, masks; readable oddities are read rightly, mistakes are refused by file and line."""

import csv
import io
import os
import pickle
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from settings.clean import Clean
from settings.datasets.folder import DEV_SHARE, Folder, FolderOptions
from settings.discovery import DATASETS
from settings.errors import UserError
from settings.lists import read_labels
from settings.masks import write_mask
from settings.options import Options
from settings.setting import Target

TEXTS = {
    "classes.txt": "cat\ndog\nmy car\n",
    "train.txt": "b\na\nnone\n",
    "dev.txt": "c\n",
    "val.txt": "w\nv\n",
    "labels.csv": "id,labels\na,dog;cat\nb,my car\nc,cat\nnone,\nw,\nelse,dog\n",
}
IDS = ("a", "b", "c", "none", "v", "w")


class Files:
    """A folder under `root`; photo i is (8 + i) × 10 pixels, its mask i in the middle, 255 at the right."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        for name, text in TEXTS.items():
            self.write(name, text)
        for i, photo_id in enumerate(IDS):
            Image.new("RGB", (10, 8 + i), (20 * i, 90, 30)).save(root / "images" / f"{photo_id}.jpg")
            write_mask(root / "masks" / f"{photo_id}.png", self.mask(photo_id))

    def mask(self, photo_id: str) -> np.ndarray:
        i = IDS.index(photo_id)
        mask_HW = np.zeros((8 + i, 10), np.uint8)
        mask_HW[:, 3:6], mask_HW[:, 9] = i % 4, 255
        return mask_HW

    def write(self, name: str, content: str | bytes) -> None:
        (self.root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def open(self, **options: object) -> Folder:
        return Folder(FolderOptions.model_validate({"root": self.root, "name": "mine", **options}))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "My photos")


def refused(files: Files, message: str, **options: object) -> None:
    with pytest.raises(UserError, match=message) as error:
        files.open(**options)
    assert "\n" not in str(error.value)


def test_splits_labels_and_masks(files: Files) -> None:
    dataset = files.open()
    assert DATASETS.load("folder") is Folder and not Folder.photos_are_ours
    assert dataset.splits == {"train": ("a", "b", "none"), "dev": ("c",), "val": ("v", "w")}
    assert not dataset.left_out
    assert dataset.label_space.names == ("cat", "dog", "my car")
    assert [dataset.photo(i).labels for i in IDS] == [(0, 1), (2,), (0,), (), (), ()]
    for photo_id in IDS:
        photo, path = dataset.photo(photo_id), files.root / "masks" / f"{photo_id}.png"
        assert photo.image().shape == (*files.mask(photo_id).shape, 3)
        assert photo.content == sha256((files.root / "images" / f"{photo_id}.jpg").read_bytes()).hexdigest()
        assert np.array_equal(dataset.read_mask(photo_id), files.mask(photo_id))
        assert dataset.mask_content(photo_id) == sha256(path.read_bytes()).hexdigest()
    weak = Clean(Options()).offer(Target.of(dataset)).weak
    assert [photo.id for photo in weak.photos] == ["a", "b", "c", "none"]
    assert weak.labels_NK().tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_identity_names_no_path_and_data_sets_travel(files: Files) -> None:
    dataset = files.open()
    names = ("cat", "dog", "my car")
    assert dataset.identity() == {"layout": "folder", "name": "mine", "version": 1, "classes": names}
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.splits == dataset.splits and copy.photo("a") == dataset.photo("a")
    assert np.array_equal(copy.read_mask("v"), dataset.read_mask("v"))


def test_names(files: Files) -> None:
    assert files.open(name="").name == "My-photos"
    refused(files, r"dataset\.name: found 'voc12'; expected a name that no other data set has", name="voc12")
    with pytest.raises(ValueError, match="name"):
        FolderOptions(root=files.root, name="a/b")


def test_dev_is_a_fixed_share_of_train_where_it_is_not_listed(files: Files) -> None:
    ids = [f"p{i}" for i in range(1000)]
    (files.root / "dev.txt").unlink()
    files.write("train.txt", "\n".join(ids))
    files.write("labels.csv", "id,labels\n" + "".join(f"{i},cat\n" for i in ids))
    splits = files.open().splits
    assert set(splits["train"]) | set(splits["dev"]) == set(ids) and not set(splits["train"]) & set(splits["dev"])
    assert abs(len(splits["dev"]) - 1000 * DEV_SHARE) < 4 * (1000 * DEV_SHARE * (1 - DEV_SHARE)) ** 0.5
    assert files.open(dev_share=0).splits["dev"] == ()
    assert set(files.open(dev_share=0.5).splits["dev"]) > set(splits["dev"])
    files.write("train.txt", "\n".join(ids[:500]))
    assert files.open().splits["dev"] == tuple(i for i in splits["dev"] if i in ids[:500]), "further photos move none"


def test_a_listed_dev_and_a_share_exclude_each_other(files: Files) -> None:
    refused(files, r"dataset\.dev_share: found a share although there is dev\.txt", dev_share=0.2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", b"\xef\xbb\xbfid,labels\r\na,dog;cat\r\nb,my car\r\nc,cat\r\nnone,\r\n"),
        ("labels.csv", b'"id","labels"\n"a"," cat ; dog;"\n\nb,"my car"\n c ,cat\nnone,""\n,\n'),
        ("labels.csv", b"ID, Labels\ra,cat;dog;cat\rb,my car\rc,cat\rnone,;\r"),
        ("labels.csv", b"id,labels\na,cat;dog\nb,my car\nc,cat\nnone, None\n"),
        ("classes.txt", b"\xef\xbb\xbfcat\r\n\r\n dog \r\nmy car"),
        ("train.txt", b"\xef\xbb\xbfb\r\na\r\nnone\r\n\r\n"),
    ],
)
def test_readable_oddities_are_read_rightly(files: Files, name: str, content: bytes) -> None:
    usual = files.open()
    files.write(name, content)
    dataset = files.open()
    assert dataset.splits == usual.splits and dataset.label_space == usual.label_space
    assert [dataset.photo(i).labels for i in dataset.training_ids] == [(0, 1), (2,), (0,), ()]


def test_rows_and_lists_may_name_photos_by_their_files(files: Files) -> None:
    usual = files.open()
    files.write("labels.csv", "id,labels\na.jpg,dog;cat\nimages/b.jpg,my car\nc,cat\nnone.JPG,\n")
    files.write("train.txt", "/images/b.jpg /masks/b.png\n/images/a.jpg /masks/a.png \nnone\n")
    dataset = files.open()
    assert dataset.splits == usual.splits
    assert [dataset.photo(i).labels for i in dataset.training_ids] == [(0, 1), (2,), (0,), ()]
    assert not [one for one in dataset.unread() if "labels.csv" in str(one)]


def test_a_row_of_almost_the_id_is_proposed(files: Files) -> None:
    files.write("labels.csv", "id,labels\nA,cat\nb,dog\nc,cat\nnone,\n")
    refused(files, r"labels\.csv: found no row for photo 'a' of train\.txt .*is it the row 'A'\?")


def test_a_class_may_be_called_none(files: Files) -> None:
    files.write("classes.txt", "cat\ndog\nnone\nmy car\n")
    files.write("labels.csv", "id,labels\na,cat\nb,none\nc,my car\nnone,\n")
    assert [files.open().photo(i).labels for i in ("a", "b", "c", "none")] == [(0,), (2,), (3,), ()]
    files.write("classes.txt", "cat\ndog\nNone\nmy car\n")
    refused(files, r"labels\.csv:3: found unknown class 'none'.*did you mean 'None'")


def test_extensions_of_any_case(files: Files) -> None:
    images, masks = files.root / "images", files.root / "masks"
    (images / "a.jpg").rename(images / "a.JPG")
    (images / "b.jpg").rename(images / "b.Jpeg")
    Image.open(images / "c.jpg").save(images / "c.PNG")
    (images / "c.jpg").unlink()
    (masks / "a.png").rename(masks / "a.PNG")
    dataset = files.open()
    assert [dataset.photo(i).image().shape[0] for i in ("a", "b", "c")] == [8, 9, 10]
    assert np.array_equal(dataset.read_mask("a"), files.mask("a"))


def test_photos_may_lack_masks(files: Files) -> None:
    (files.root / "masks" / "a.png").unlink()
    dataset = files.open()
    assert [dataset.has_mask(i) for i in ("a", "b")] == [False, True]
    for read in (dataset.read_mask, dataset.mask_content):
        with pytest.raises(UserError, match=r"masks/a\.png: found no such file; expected a \.png file for photo 'a'"):
            read("a")
    for path in (files.root / "masks").iterdir():
        path.unlink()
    (files.root / "masks").rmdir()
    assert not any(files.open().has_mask(i) for i in IDS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", "", r"classes\.txt: found no class; expected class names"),
        ("classes.txt", "cat\n\ndog\ncat\n", r"classes\.txt:4: found class 'cat' again; expected each once \(line 1\)"),
        ("classes.txt", "Background\ncat\n", r"classes\.txt:1: found class 'Background'.*delete the line"),
        (
            "classes.txt",
            "cat\n_background_\n",
            r"classes\.txt:2: found class '_background_'.*delete the line.* 0 is implied",
        ),
        (
            "classes.txt",
            "__ignore__\ncat\n",
            r"classes\.txt:1: found class '__ignore__'.*delete the line.* 255 is implied",
        ),
        ("classes.txt", "BG\ncat\n", r"classes\.txt:1: found class 'BG'.*delete the line"),
        ("classes.txt", "cat\nUnlabeled\n", r"classes\.txt:2: found class 'Unlabeled'.*delete the line"),
        ("classes.txt", "void\ncat\n", r"classes\.txt:1: found class 'void'.*delete the line"),
        ("classes.txt", "cat;dog\n", r"classes\.txt:1: found class 'cat;dog'"),
        ("classes.txt", "ca\0t\n", r"classes\.txt:1: found class 'ca\\x00t'"),
        ("classes.txt", "\n".join(map(str, range(255))), r"classes\.txt: found 255 classes; expected at most 254"),
        (
            "classes.txt",
            b"cat\nd\xf6g\n",
            r"classes\.txt: found an unreadable .* \(line 2 is not UTF-8\).*save it as UTF-8",
        ),
        ("labels.csv", b"id,labels\na,d\xf6g\n", r"labels\.csv: found an unreadable .* \(line 2 is not UTF-8\)"),
        ("labels.csv", "id,labels\na,cat\nb,dgo\n", r"labels\.csv:3: found unknown class 'dgo'.*did you mean 'dog'\?"),
        (
            "labels.csv",
            'id,labels\na,"cat,dog"\n',
            r"labels\.csv:2: found the labels 'cat,dog'.*separate names by ';': cat;dog$",
        ),
        (
            "labels.csv",
            "id,labels\na,\"['my car', 'dog']\"\n",
            r"labels\.csv:2: found the labels .*separate names by ';': my car;dog$",
        ),
        (
            "labels.csv",
            "id,labels\na,cat dog\n",
            r"labels\.csv:2: found the labels 'cat dog'.*separate names by ';': cat;dog$",
        ),
        ("labels.csv", "id,labels\na,[]\n", r"labels\.csv:2: found the labels '\[\]'.*leave it empty"),
        (
            "labels.csv",
            "id,labels\na,1;2\n",
            r"labels\.csv:2: found class '1'.*'cat'; write the classes' names, not their numbers",
        ),
        ("labels.csv", "id,labels\na,background;cat\n", r"labels\.csv:2: found class 'background'.*leave it out"),
        (
            "labels.csv",
            "id,labels\na,cat\na,dog\n",
            r"labels\.csv:3: found id 'a' again.*write the names of all its objects",
        ),
        ("labels.csv", "id,labels\na,cat\na,dog\n", r"labels\.csv:3: found id 'a' again; expected one row .*line 2"),
        ("labels.csv", "id,labels\na,cat,dog\n", r"labels\.csv:2: found 3 columns; expected two: id,labels; separate"),
        ("labels.csv", "id;labels\na;cat\n", r"labels\.csv:1: found the header 'id;labels'.*columns by commas"),
        ("labels.csv", "", r"labels\.csv:1: found the header ''; expected 'id,labels'"),
        ("labels.csv", 'id,labels\na,"cat"x\n', r"labels\.csv:2: found unreadable CSV"),
        ("labels.csv", 'id,labels\na,"cat\n', r"labels\.csv:2: found unreadable CSV"),
        ("labels.csv", "id,labels\na,\x1b[2J\n", r"labels\.csv:2: found the control character '\\x1b'"),
        (
            "labels.csv",
            "id,labels\na,cat\n",
            r"labels\.csv: found no row for photo 'b' of train\.txt \(2 such photos\)",
        ),
        ("labels.csv", "id,labels\na,none;cat\n", r"labels\.csv:2: found unknown class 'none'"),
        ("train.txt", "", r"train\.txt: found no photo to use; expected at least one"),
        ("train.txt", "a\n../../etc/passwd\n", r"train\.txt:2: found id '\.\./\.\./etc/passwd'"),
        ("train.txt", "/etc/passwd\n", r"train\.txt:1: found id '/etc/passwd'"),
        ("train.txt", "a\0b\n", r"train\.txt:1: found id 'a\\x00b'"),
        ("train.txt", "a\nb\na\n", r"train\.txt:3: found id 'a' again"),
        ("val.txt", "v\na\nb\n", r"val\.txt: found photo 'a' of train\.txt again \(2 such photos\)"),
        ("dev.txt", "v\n", r"dev\.txt: found photo 'v' of val\.txt again \(1 such photo\)"),
        ("val.txt", "\n", r"val\.txt: found no photo to use; expected at least one"),
    ],
)
def test_texts_that_are_refused(files: Files, name: str, content: str | bytes, message: str) -> None:
    files.write(name, content)
    refused(files, message)


@pytest.mark.parametrize("name", ["classes.txt", "train.txt", "val.txt", "labels.csv"])
def test_texts_that_are_missing_or_no_files(files: Files, name: str) -> None:
    (files.root / name).unlink()
    refused(files, rf"{name}: found .*[Nn]o such file")
    os.mkfifo(files.root / name)
    refused(files, rf"{name}: found an unreadable .* \(a pipe\)")


def test_a_root_that_is_no_folder(files: Files) -> None:
    for root in ("/nowhere", files.root / "classes.txt", "a\0b"):
        refused(files, r"dataset\.root: found no folder '.*'; expected a folder", root=root)


def test_254_classes_are_allowed(files: Files) -> None:
    files.write("classes.txt", "cat\ndog\nmy car\n" + "\n".join(map(str, range(251))))
    write_mask(files.root / "masks" / "v.png", np.full((12, 10), 254, np.uint8))
    assert files.open().read_mask("v").max() == 254


@pytest.mark.parametrize("name", ["images/a.jpg", "masks/a.png", "labels.csv", "images", "masks"])
def test_links_that_leave_the_folder(files: Files, tmp_path: Path, name: str) -> None:
    inside, outside = files.root / name, tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)

    def read(**options: object) -> None:
        dataset = files.open(**options)
        dataset.photo("a"), dataset.read_mask("a")

    with pytest.raises(UserError, match=rf"{name}: found a link to '.*outside'; .*follow_links=true"):
        read()
    read(follow_links=True)


def test_links_inside_the_folder_and_to_themselves(files: Files) -> None:
    images = files.root / "images"
    (images / "a.jpg").rename(files.root / "elsewhere.jpg")
    (images / "a.jpg").symlink_to("../elsewhere.jpg")
    assert files.open().photo("a").image().shape == (8, 10, 3)
    (images / "a.jpg").unlink()
    (images / "a.jpg").symlink_to("a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg: found a link that leads nowhere"):
        files.open().photo("a")


def test_photos_that_are_not_one_file(files: Files) -> None:
    images = files.root / "images"
    for name in ("a.png", "b.webp"):
        (images / name).touch()
    for name in ("b.jpg", "c.jpg", "v.jpg"):
        (images / name).unlink()
    (images / "C.jpg").touch()
    os.mkfifo(images / "v.jpg")
    dataset = files.open()
    for photo_id, message in {
        "a": r"images: found a\.jpg and a\.png; expected one file for photo 'a'",
        "b": r"b\.jpg: found no such file; expected a \.jpg, \.jpeg or \.png file for photo 'b'; convert b\.webp",
        "c": r"c\.jpg: found no such file; .*did you mean 'C'\?",
        "v": r"v\.jpg: found a pipe",
        "../a": r"mine: found photo '\.\./a'; expected an id of train, dev or val",
    }.items():
        with pytest.raises(UserError, match=message):
            dataset.photo(photo_id)


def test_tables_of_other_forms_are_told_what_to_do(files: Files) -> None:
    for header, mend in {
        "image,label": "the first line names the columns: id,labels",
        "id,cat,dog": "import-labels",
    }.items():
        files.write("labels.csv", f"{header}\n")
        refused(files, rf"found the header '{header}'; expected 'id,labels'; .*{mend}")


def test_ids_with_an_extension_mean_the_photo(files: Files) -> None:
    files.write("val.txt", "v.jpg\n")
    assert files.open().splits["val"] == ("v",)


def moved_into_subfolders(files: Files) -> None:
    """The same data set with photos in folders and blanks in their names: `city 1/a x`."""
    for folder, extension in (("images", "jpg"), ("masks", "png")):
        for i, photo_id in enumerate(IDS):
            place = files.root / folder / f"city {i % 2}" / f"{photo_id} x.{extension}"
            place.parent.mkdir(exist_ok=True)
            (files.root / folder / f"{photo_id}.{extension}").rename(place)
    files.write("train.txt", "city 1/b x\nimages/city 0/a x.jpg masks/city 0/a x.png\ncity 1/none x\n")
    files.write("dev.txt", "city 0\\c x.jpg\n")
    files.write("val.txt", "city 0/v x\n/somewhere/images/city 1/w x.jpg\n")
    files.write(
        "labels.csv", 'id,labels\ncity 0/a x,dog\ncity 1/b x.jpg,my car\n"images/city 0/c x.jpg",cat\ncity 1/none x,\n'
    )


def test_photos_in_subfolders_with_blanks_in_their_names(files: Files) -> None:
    moved_into_subfolders(files)
    dataset = files.open()
    assert dict(dataset.splits) == {
        "train": ("city 0/a x", "city 1/b x", "city 1/none x"),
        "dev": ("city 0/c x",),
        "val": ("city 0/v x", "city 1/w x"),
    }
    assert [dataset.photo(photo_id).labels for photo_id in dataset.training_ids] == [(1,), (0,), (2,), ()]
    for photo_id in (*dataset.training_ids, *dataset.splits["val"]):
        old = photo_id.split("/")[1].removesuffix(" x")
        assert np.array_equal(dataset.read_mask(photo_id), files.mask(old))
        assert dataset.photo(photo_id).image().shape[0] == 8 + IDS.index(old)
    assert dataset.unread() == ()


def test_files_in_subfolders_that_no_list_names_are_told(files: Files) -> None:
    (files.root / "images" / "more").mkdir()
    (files.root / "images" / "a.jpg").rename(files.root / "images" / "more" / "a.jpg")
    (files.root / "masks" / "more").mkdir()
    (files.root / "masks" / "more" / "x.png").write_bytes(b"")
    dataset = files.open()
    told = [str(unread) for unread in dataset.unread()]
    assert any("1 file of no listed id in images/ ('more/a.jpg')" in line for line in told)
    assert any("1 file of no listed id in masks/ ('more/x.png')" in line for line in told)
    with pytest.raises(
        UserError, match=r"images/a\.jpg: found no such file; .*'more/a\.jpg'\? Then move it, or list the id 'more/a'"
    ):
        dataset.photo("a")


def test_a_subfolder_behind_a_link_is_read_where_links_are_followed(files: Files, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (files.root / "images" / "v.jpg").rename(tmp_path / "elsewhere" / "v.jpg")
    (files.root / "images" / "city").symlink_to(tmp_path / "elsewhere")
    files.write("val.txt", "city/v\n")
    with pytest.raises(
        UserError, match=r"city/v\.jpg: found no such file; .*images/city is a link: .*follow_links=true"
    ):
        files.open().photo("city/v")
    assert files.open(follow_links=True).photo("city/v").image().shape == (12, 10, 3)


@pytest.mark.parametrize(
    "odd", ["../a", "/etc/passwd", "city/../a", "city//a", "city\\..\\..\\a", "~/a", "a.png/b", "C:\\a", "city/.a"]
)
def test_ids_that_lead_elsewhere_are_refused_with_their_line(files: Files, odd: str) -> None:
    files.write("val.txt", f"v\n{odd}\n")
    with pytest.raises(UserError, match=r"val\.txt:2: found id '.*'; expected letters, digits, blanks"):
        files.open()


def test_ids_of_two_lists_whose_files_are_one_on_some_systems(files: Files) -> None:
    files.write("val.txt", "v\nA\n")
    with pytest.raises(UserError, match=r"found photos 'a' and 'A'; expected ids that differ in more than case"):
        files.open()


def test_masks_that_do_not_fit(files: Files) -> None:
    dataset, path = files.open(), files.root / "masks" / "a.png"
    for size, mend in {(10, 8): "the mask lies on its side: turn it", (9, 10): "make the mask at"}.items():
        write_mask(path, np.zeros(size, np.uint8))
        found = rf"a\.png: found {size[1]}×{size[0]} pixels; expected the photo's 10×8; {mend}"
        with pytest.raises(UserError, match=found):
            dataset.read_mask("a")
    write_mask(path, np.full((8, 10), 4, np.uint8))
    with pytest.raises(UserError, match=r"a\.png: found mask value 4; expected 0\.\.3 or 255; correct the mask"):
        dataset.read_mask("a")
    for mode, mend in {
        "RGB": "makes class indices of colours",
        "1": "of black and white",
        "LA": "grey with alpha",
    }.items():
        Image.new(mode, (10, 8)).save(path)
        with pytest.raises(UserError, match=rf"a\.png: found mode {mode};.*`seedbed data import-masks`.*{mend}"):
            dataset.read_mask("a")
    for broken in (b"", path.read_bytes()[:40], b"text"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"a\.png: found an unreadable image"):
            dataset.read_mask("a")


def test_a_map_of_mask_values(files: Files) -> None:
    """Read before the limits; part of the identity only where it is given."""
    theirs = (files.mask("a") + 99).astype(np.uint8)
    path = files.root / "masks" / "a.png"
    write_mask(path, theirs)
    with pytest.raises(UserError, match=r"a\.png: found mask value 98; .*by a map"):
        files.open().read_mask("a")
    dataset = files.open(map="99:0,100:1,101:2,102:3,98:255")
    assert np.array_equal(dataset.read_mask("a"), files.mask("a"))
    assert np.array_equal(dataset.read_mask("b"), files.mask("b")), "values that are not named stay"
    assert dataset.identity() == {**files.open().identity(), "map": "98:255,99:0,100:1,101:2,102:3"}
    assert files.open(map={}).identity() == files.open().identity()


NAMES = st.lists(st.sampled_from(["cat", "dog", "my car", 'a "quoted", one', "é"]), max_size=4, unique=True)
TABLE = st.dictionaries(st.from_regex(r"\w[\w.-]{0,8}", fullmatch=True).map(str.strip).filter(bool), NAMES, max_size=8)


@given(TABLE, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]), st.sampled_from([0, 1]))
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_csv_writes_is_read(
    tmp_path: Path, table: dict[str, list[str]], end: str, bom: str, quote: int
) -> None:
    classes = ("cat", "dog", "my car", 'a "quoted", one', "é")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=end, quoting=quote)
    writer.writerows([["id", "labels"], *([photo_id, ";".join(names)] for photo_id, names in table.items())])
    path = tmp_path / "labels.csv"
    path.write_bytes((bom + buffer.getvalue()).encode())
    expected = {photo_id: tuple(sorted(map(classes.index, names))) for photo_id, names in table.items()}
    assert read_labels(path, classes) == expected


@given(
    st.sampled_from(sorted(TEXTS)),
    st.one_of(st.binary(max_size=40), st.text(max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass"))),
)
@example("labels.csv", b"id,labels\n" + b"a" * 200_000)
@hypothesis_settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    root = tmp_path / "photos"
    files = Files(root) if not root.exists() else object.__new__(Files)
    files.root = root
    for other, text in TEXTS.items():
        files.write(other, text)
    files.write(name, content)
    try:
        dataset = files.open()
    except UserError as error:
        line = str(error)
        assert str(root) in line and "; expected " in line and line.isprintable()
    else:
        assert all(re.fullmatch(r"\w[\w.-]*", i) for ids in dataset.splits.values() for i in ids)


@pytest.mark.parametrize(("other", "source"), [("cls_labels.npy", "cls_labels.npy"), ("notes.md", "masks")])
def test_a_folder_without_labels_is_told_how_they_are_made(other: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / other).write_text("")
    with pytest.raises(UserError, match=rf"import-labels \S*/{source} \S*/labels\.csv makes it"):
        Folder(FolderOptions(root=tmp_path))


def test_photos_of_the_test_set_are_listed_and_no_run_reads_them(files: Files) -> None:
    before = files.open()
    assert before.test_ids() == ()
    files.write("test.txt", "t2\nt1\n")
    for photo_id in ("t1", "t2"):
        Image.new("RGB", (10, 8)).save(files.root / "images" / f"{photo_id}.jpg")
    dataset = files.open()
    assert dataset.test_ids() == ("t1", "t2") and "test" not in dataset.splits
    assert [photo.labels for photo in dataset.eval_set("test").photos] == [(), ()]
    assert dataset.unread() == before.unread()
    with pytest.raises(UserError, match="an id of train, dev or val"):
        dataset.photo("t3")
