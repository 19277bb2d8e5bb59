"""Anybody's folder of photos: lists, classes and labels with every oddity; readable ones are read rightly."""

import csv
import io
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from settings.datasets.folder import Folder, FolderOptions
from settings.masks import encode_mask
from tests.fuzz.judging import DAMAGE, Damage, damaged, folder, judge, names_in, seedbed, share

TEXTS = {
    "classes.txt": "cat\ndog\n",
    "train.txt": "a\nb\n",
    "dev.txt": "c\n",
    "val.txt": "d\n",
    "labels.csv": "id,labels\na,cat;dog\nb,dog\nc,cat\nd,\n",
}
PNG = encode_mask(np.zeros((2, 3), np.uint8))
SHOWN = {"a": [1, 2], "b": [2], "c": [1], "d": [1]}
"""The values in each photo's mask, beside 0."""
ODD_IDS = [*("../../etc/passwd", "/etc/passwd", "a\0b", "a", "..", ".hidden", "a/b", "a\\b", "a b", "é", "x" * 300)]
ODD_LABELS = ["cat", "dog", "cta", "", "cat;dog", "cat,dog", '"cat', "cat\x1b[2J", "\u202ecat", "Cat", "255"]


def fill(root: Path) -> None:
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for photo_id, values in SHOWN.items():
        mask_HW = np.zeros((2, 3), np.uint8)
        mask_HW[0, : len(values)] = values
        (root / "images" / f"{photo_id}.png").write_bytes(PNG)
        (root / "masks" / f"{photo_id}.png").write_bytes(encode_mask(mask_HW))


def opened(root: Path) -> Folder | None:
    return judge(lambda: Folder(FolderOptions(root=root, name="mine")))


def look_at(root: Path) -> None:
    """Everything that a run would read of it; nothing is written."""
    before = names_in(root)
    dataset = opened(root)
    if dataset is not None:
        ids = [photo_id for split in dataset.splits.values() for photo_id in split]
        assert len(set(ids)) == len(ids)
        for photo_id in ids[:8]:
            assert not set(photo_id) & set("/\\\0") and not photo_id.startswith(".")
            judge(lambda photo_id=photo_id: dataset.photo(photo_id).image())
            judge(lambda photo_id=photo_id: dataset.read_mask(photo_id))
    assert names_in(root) == before


@given(name=st.sampled_from(sorted(TEXTS)), damage=DAMAGE)
@share(0.06)
def test_damaged_texts(name: str, damage: Damage) -> None:
    with folder() as root:
        fill(root)
        (root / name).write_bytes(damaged(TEXTS[name].encode(), damage))
        look_at(root)


@given(
    ids=st.lists(st.one_of(st.sampled_from(ODD_IDS), st.text(max_size=6)), min_size=1, max_size=3),
    labels=st.lists(st.one_of(st.sampled_from(ODD_LABELS), st.text(max_size=6)), min_size=3, max_size=3),
    listed=st.sampled_from(["train.txt", "val.txt", "dev.txt"]),
)
@share(0.06)
def test_odd_ids_and_labels(ids: list[str], labels: list[str], listed: str) -> None:
    with folder() as root:
        fill(root)
        (root / listed).write_bytes("\n".join(ids).encode("utf-8", "surrogatepass"))
        rows = "".join(f"{photo_id},{label}\n" for photo_id, label in zip([*"abc", *ids], labels * 2, strict=False))
        (root / "labels.csv").write_bytes(("id,labels\n" + rows).encode("utf-8", "surrogatepass"))
        look_at(root)


@given(
    table=st.dictionaries(
        st.sampled_from(["a", "b", "c", "x.1", "é"]), st.sets(st.sampled_from([0, 1, 2])), max_size=5
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    bom=st.sampled_from(["", "\ufeff"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blank=st.booleans(),
)
@share(0.06)
def test_readable_oddities_are_read_rightly(
    table: dict[str, set[int]], end: str, bom: str, quoting: int, blank: bool
) -> None:
    """Labels that come back are those that were written, in classes' order."""
    classes = ["cat", 'a "quoted", one', "é"]
    table = {**{photo_id: {0} for photo_id in "abc"}, **table}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=end, quoting=quoting)
    rows = [[photo_id, " ; ".join(classes[i] for i in sorted(ids, reverse=True))] for photo_id, ids in table.items()]
    writer.writerows([["ID", " Labels"], *rows])
    with folder() as root:
        fill(root)
        (root / "classes.txt").write_bytes((bom + end.join(classes) + end * (1 + blank)).encode())
        (root / "labels.csv").write_bytes((bom + buffer.getvalue() + end * blank).encode())
        dataset = opened(root)
        assert dataset is not None and dataset.training_ids == ("a", "b", "c")
        assert all(dataset.photo(photo_id).labels == tuple(sorted(table[photo_id])) for photo_id in "abc")


@given(
    name=st.sampled_from(["images/a.png", "masks/a.png", "labels.csv", "classes.txt", "dev.txt"]),
    target=st.sampled_from(["/etc/passwd", "/dev/zero", "..", ".", "nowhere", "a.png", "../../..", "/proc/self/mem"]),
)
@share(0.02)
def test_links(name: str, target: str) -> None:
    with folder() as root:
        fill(root)
        (root / name).unlink()
        (root / name).symlink_to(target)
        look_at(root)


@given(
    name=st.sampled_from(["images/a.png", "masks/a.png", *sorted(TEXTS)]),
    damage=st.one_of(st.none(), DAMAGE),
    verb=st.sampled_from(["check", "check", "check", "check", "check", "check", "check", "show"]),
)
@share(0.02)
def test_check_and_show(name: str, damage: Damage | None, verb: str) -> None:
    """The verbs tell a whole folder from a broken one."""
    with folder() as root:
        data = root / "data"
        data.mkdir()
        fill(data)
        if damage:
            (data / name).write_bytes(damaged((data / name).read_bytes(), damage))
        output = ["--output", root / "sheet.png"] if verb == "show" else []
        ended = seedbed("data", verb, data, "--set", "name=mine", *output)
        assert damage or ended.code == 0
        made = names_in(root) - {f"data/{name}" for name in names_in(data)} - {"data"}
        assert made <= {"sheet.png"}
