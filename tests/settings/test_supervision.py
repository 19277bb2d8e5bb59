"""The gate: masks of the asked split alone, and every one of them in the ledger. What methods see leads to none."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from settings.clean import Clean
from settings.dataset import Dataset
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.discovery import SETTINGS
from settings.errors import UserError
from settings.masks import write_mask
from settings.options import Options
from settings.records import EvalSet, WeakSet
from settings.setting import Offer, Target
from settings.supervision import Gate, LedgerEntry


def test_the_gate_hands_out_masks_of_the_asked_split_alone(voc: Any) -> None:
    dataset = voc.open()
    gate = Gate(dataset, "score_maps", "score")
    assert np.array_equal(gate.mask("train", "2007_a"), dataset.read_mask("2007_a"))
    for split, photo_id in (
        ("train", "2008_v"),
        ("val", "2007_a"),
        ("dev", "2007_a"),
        ("test", "2007_a"),
        ("val", "x"),
    ):
        with pytest.raises(UserError, match=f"tiny/{split}: found photo '{photo_id}'; expected an id of that split"):
            gate.mask(split, photo_id)
    assert [(entry.split, entry.ids) for entry in gate.entries()] == [("train", ("2007_a",))]


def test_the_ledger_has_an_entry_a_split(voc: Any) -> None:
    gate = Gate(voc.open(), "reveal", "train")
    assert gate.entries() == ()
    for split, photo_id in (("val", "2008_w"), ("train", "2007_b"), ("train", "2007_a"), ("train", "2007_b")):
        gate.mask(split, photo_id)
    assert gate.entries() == (
        LedgerEntry("mask", "train", "train", "reveal", ("2007_a", "2007_b")),
        LedgerEntry("mask", "val", "train", "reveal", ("2008_w",)),
    )
    assert [entry.count for entry in gate.entries()] == [2, 1]


def test_a_mask_that_is_not_the_planned_one_is_not_handed_out(voc: Any) -> None:
    dataset = voc.open()
    planned = {"2007_a": dataset.mask_content("2007_a")[:16]}
    gate = Gate(dataset, "score", "score", planned)
    mask_HW = gate.mask("train", "2007_a")
    write_mask(voc.mask_path("2007_a"), np.where(mask_HW == 255, mask_HW, 0).astype(np.uint8))
    with pytest.raises(UserError, match=r"2007_a\.png: found another content .*; put the file back, or plan again"):
        gate.mask("train", "2007_a")
    # Nothing is known of the others: planning by an older version saw none of them.
    assert gate.mask("train", "2007_b").shape == dataset.read_mask("2007_b").shape
    assert gate.entries() == (LedgerEntry("mask", "train", "score", "score", ("2007_a", "2007_b")),)


def test_a_mask_that_is_drawn_has_no_file_to_name() -> None:
    gate = Gate(Scenes(ScenesOptions(size=32)), "score", "score", {"train_00000": "of other knobs"})
    with pytest.raises(UserError, match="scenes: mask of photo 'train_00000': found another content"):
        gate.mask("train", "train_00000")


def test_an_unreadable_mask_is_not_in_the_ledger(voc: Any) -> None:
    gate = Gate(voc.open(), "score_maps", "score")
    voc.mask_path("2007_a").unlink()
    with pytest.raises(UserError, match=r"2007_a\.png: found no such file"):
        gate.mask("train", "2007_a")
    assert gate.entries() == ()


def test_entries_survive_json() -> None:
    entry = LedgerEntry("mask", "dev", "choose", "select", ("a", "b"))
    assert LedgerEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_clean_shows_train_and_dev_with_their_labels(voc: Any) -> None:
    weak = Clean(Options()).offer(Target.of(voc.open())).weak
    assert [photo.id for photo in weak.photos] == ["2007_a", "2007_b", "2009_c", "2009_d"]
    seen = [{weak.label_space.names[label] for label in photo.labels} for photo in weak.photos]
    assert seen == [{"dog", "cat"}, {"car"}, {"cat", "person"}, {"dog"}]
    assert {photo.source for photo in weak.photos} == {"target"}
    assert weak.fingerprint == Clean(Options()).offer(Target.of(voc.open())).weak.fingerprint


def reachable(root: object) -> Iterator[object]:
    """Everything that attributes, items, closures, partials and bound methods lead to from `root`."""
    queue, seen = [root], {id(root)}
    while queue:
        thing = queue.pop()
        yield thing
        for part in parts(thing):
            if id(part) not in seen and not isinstance(part, (type, ModuleType)):
                seen.add(id(part))
                queue.append(part)


def parts(thing: object) -> Iterator[object]:
    if isinstance(thing, dict):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from thing
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, FunctionType):
        yield from (cell.cell_contents for cell in thing.__closure__ or ())
        yield from (thing.__defaults__ or (), thing.__kwdefaults__ or {})
    elif not isinstance(thing, Path):
        yield vars(thing) if hasattr(thing, "__dict__") else ()
        yield from (getattr(thing, slot) for slot in getattr(type(thing), "__slots__", ()) if hasattr(thing, slot))


def leaks(root: object) -> list[object]:
    """What is a data set, or looks like the way to a mask."""
    found = []
    for thing in reachable(root):
        name = str(thing) if isinstance(thing, (str, Path)) else getattr(thing, "__name__", "")
        if isinstance(thing, (Dataset, Gate)) or "mask" in name.lower() or "Segmentation" in name:
            found.append(thing)
    return found


def sets(dataset: Dataset) -> tuple[WeakSet, EvalSet]:
    val = tuple(dataset.photo(photo_id).without_labels() for photo_id in dataset.splits["val"])
    return Clean(Options()).offer(Target.of(dataset)).weak, EvalSet(val, dataset.label_space)


def extra(kind: str, dataset: Dataset, root: Path) -> Offer:
    """What a setting with extra photos offers: rendered ones, noise included, or those of a tree."""
    noise = {"wrong_class": 0.3, "off_topic": 0.3, "style_shift": 0.5}
    source = {"name": "scenes", "photos_per_class": 4, "size": 32}
    if dataset.name != "scenes":
        source = {"name": "class_folders", "root": str(root)}
        for name in dataset.label_space.names[:2]:
            (root / name).mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(root / name / "a.png")
    setting = SETTINGS.load(kind)
    options = {"source": source, "noise": noise, "audit": {"near_duplicates": False}}
    return setting(setting.options_model(**options)).offer(Target.of(dataset))


def test_the_walk_sees_what_is_hidden() -> None:
    """The test below is worth something only if it finds these."""
    scenes = Scenes(ScenesOptions(size=32, train=1, dev=1, val=1))
    hidden = [
        {"x": [scenes]},
        functools.partial(print, scenes),
        lambda: scenes,
        scenes.photo,
        Gate(scenes, "s", "score"),
    ]
    for way in [*hidden, functools.partial(scenes.read_mask, "train_00000"), Path("/SegmentationClass/a.png")]:
        assert leaks(way), way
    assert not leaks([print, 1, "a", Path("/JPEGImages/a.jpg")])


@pytest.mark.parametrize("kind", ["voc12", "scenes"])
def test_nothing_that_methods_see_leads_to_a_mask(voc: Any, kind: str) -> None:
    dataset = voc.open() if kind == "voc12" else Scenes(ScenesOptions(size=32, train=2, dev=1, val=1))
    for seen in sets(dataset):
        for photo in seen.photos:
            photo.image()
        assert leaks(seen) == []


@pytest.mark.parametrize("setting", ["single_label", "web"])
@pytest.mark.parametrize("kind", ["voc12", "scenes"])
def test_no_setting_leads_to_a_mask(voc: Any, tmp_path: Path, kind: str, setting: str) -> None:
    """Neither what a setting is given, nor what it offers, extra photos with noise included."""
    dataset = voc.open() if kind == "voc12" else Scenes(ScenesOptions(size=32, train=2, dev=1, val=1))
    target, offer = Target.of(dataset), extra(setting, dataset, tmp_path / "tree")
    for photo in (*offer.declared, *target.evaluation):
        photo.image()
    assert offer.extra
    assert leaks(target) == []
    assert leaks(offer) == []
