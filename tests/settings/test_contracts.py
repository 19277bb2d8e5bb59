"""What every data set, every setting and every web filter has to keep, by being there.

A data set needs an entry in SAMPLES: a few photos in a folder that the test gives. A setting that cannot be built from
its defaults needs one in PREPARED. A filter is tried on queries of one class.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image as PillowImage

from settings.dataset import Dataset
from settings.datasets.folder import Folder, FolderOptions
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.discovery import DATASETS, FILTERS, SETTINGS, Registry
from settings.errors import UserError
from settings.filter import Filter
from settings.masks import write_mask
from settings.options import Options
from settings.records import UNKNOWN, Photo, WeakSet
from settings.setting import Setting, Target
from tests.settings.conftest import VocFolder
from tests.settings.queries import QUERIES, Queries

COMPONENTS = [(registry, name) for registry in (DATASETS, SETTINGS, FILTERS) for name in registry.names()]


def scenes_sample(root: Path) -> Dataset:
    return Scenes(ScenesOptions(classes=4, size=32, train=5, dev=3, val=3))


def voc12_sample(root: Path) -> Dataset:
    voc = VocFolder(root)
    voc.write()
    return voc.open("cat", "car", "dog", "person")


def folder_sample(root: Path) -> Dataset:
    """Photos of their own sizes; photo i shows class i modulo 2 beside background and unknown pixels."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    ids = {"train": ["d", "a"], "dev": ["c"], "val": ["z", "b"]}
    labels = {photo_id: index % 2 for index, photo_id in enumerate(chain(*ids.values()))}
    for index, (photo_id, label) in enumerate(labels.items()):
        mask_HW = np.zeros((9 + index, 12), np.uint8)
        mask_HW[2:5], mask_HW[7] = label + 1, UNKNOWN
        write_mask(root / "masks" / f"{photo_id}.png", mask_HW)
        PillowImage.new("RGB", mask_HW.shape[::-1], (40 * index, 90, 30)).save(root / "images" / f"{photo_id}.png")
    for split, members in ids.items():
        (root / f"{split}.txt").write_text("".join(f"{photo_id}\n" for photo_id in members))
    (root / "classes.txt").write_text("cat\ndog\n")
    rows = "".join(f"{photo_id},{'dog' if label else 'cat'}\n" for photo_id, label in labels.items())
    (root / "labels.csv").write_text(f"id,labels\n{rows}")
    return Folder(FolderOptions(root=root, name="sample"))


SAMPLES: Mapping[str, Callable[[Path], Dataset]] = {
    "scenes": scenes_sample,
    "voc12": voc12_sample,
    "folder": folder_sample,
}


def extra_sample(root: Path, dataset: Dataset) -> dict[str, Any]:
    """A tree of class folders with three photos for each of the first two classes."""
    rng = np.random.default_rng(0)
    for name in dataset.label_space.names[:2]:
        (root / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (160, 160, 3), np.uint8)
            PillowImage.fromarray(pixels).save(root / name / f"{number}.png")
    return {"source": {"name": "class_folders", "root": str(root)}}


PREPARED: Mapping[str, Callable[[Path, Dataset], dict[str, Any]]] = {"single_label": extra_sample, "web": extra_sample}
"""Options of the settings that have none by default, from a folder that they may fill, for a data set."""


@pytest.fixture(params=DATASETS.names())
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Dataset]:
    """The data set's sample, written anew below the folder of that name."""
    return lambda place: SAMPLES[request.param](tmp_path / place)


@pytest.fixture
def dataset(opened: Callable[[str], Dataset]) -> Dataset:
    return opened("here")


def every_photo(dataset: Dataset) -> list[Photo]:
    return [dataset.photo(photo_id) for ids in dataset.splits.values() for photo_id in ids]


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=lambda value: getattr(value, "kind", value))
def test_it_declares_itself(registry: Registry, name: str) -> None:
    kind = registry.load(name)
    assert isinstance(kind.version, int)
    assert kind.version >= 1
    assert kind.__doc__ and kind.__doc__.strip().endswith(".")
    assert issubclass(kind.options_model, Options)
    with pytest.raises(ValueError, match="no_such_option"):
        kind.options_model.model_validate({"no_such_option": 1})


def test_splits_are_disjoint_and_ascending(dataset: Dataset) -> None:
    assert set(dataset.splits) == {"train", "dev", "val"}
    ids = [photo_id for members in dataset.splits.values() for photo_id in members]
    assert len(ids) == len(set(ids)) > 3
    assert all(list(members) == sorted(members) and members for members in dataset.splits.values())
    assert all(re.fullmatch(r"\w[\w.-]*", photo_id) for photo_id in ids)
    assert dataset.training_ids == tuple(sorted({*dataset.splits["train"], *dataset.splits["dev"]}))


def test_what_is_left_out_is_in_no_split_and_a_sound_data_set_has_nothing_unread(dataset: Dataset) -> None:
    assert set(dataset.left_out) <= set(dataset.splits)
    for members in dataset.left_out.values():
        assert list(members) == sorted(members)
        assert set(members).isdisjoint(chain(*dataset.splits.values()))
    assert dataset.unread() == ()


def test_photos_bear_labels_of_the_label_space(dataset: Dataset) -> None:
    assert len(set(dataset.label_space.names)) == dataset.label_space.foreground > 1
    for photo in every_photo(dataset):
        assert list(photo.labels) == sorted(set(photo.labels))
        assert all(0 <= label < dataset.label_space.foreground for label in photo.labels)
    assert all(dataset.photo(photo_id).labels for photo_id in dataset.training_ids)


def test_photos_are_the_same_at_every_look(dataset: Dataset) -> None:
    for photo in every_photo(dataset):
        image = photo.image()
        assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
        assert np.array_equal(image, photo.image())
        assert dataset.photo(photo.id) == photo
        assert np.array_equal(dataset.photo(photo.id).image(), image)


def test_masks_fit_their_photos(dataset: Dataset) -> None:
    for photo in filter(lambda photo: dataset.has_mask(photo.id), every_photo(dataset)):
        mask_HW = dataset.read_mask(photo.id)
        assert (mask_HW.shape, mask_HW.dtype) == (photo.image().shape[:2], np.uint8)
        shown = set(np.unique(mask_HW).tolist()) - {0, UNKNOWN}
        assert shown <= {label + 1 for label in range(dataset.label_space.foreground)}
        if photo.id in dataset.training_ids:
            assert shown <= {label + 1 for label in photo.labels}


def test_contents_identify_pixels(dataset: Dataset) -> None:
    """Keys rest on this: other pixels, another content, of photos and of masks."""
    photos = every_photo(dataset)
    pixels = {photo.id: photo.image().tobytes() for photo in photos}
    masks = {photo.id: (dataset.read_mask(photo.id).shape, dataset.read_mask(photo.id).tobytes()) for photo in photos}
    assert len(set(pixels.values())) > 1 and len(set(masks.values())) > 1
    for one in photos:
        for other in photos:
            assert one.content != other.content or pixels[one.id] == pixels[other.id]
            same = dataset.mask_content(one.id) == dataset.mask_content(other.id)
            assert not same or masks[one.id] == masks[other.id]


def test_the_same_data_elsewhere_are_the_same_to_every_key(opened: Callable[[str], Dataset]) -> None:
    here, there = opened("here"), opened("quite/elsewhere")
    assert here.identity() == there.identity()
    assert json.loads(json.dumps(here.identity()))["version"] == here.version
    assert here.name == there.name
    assert here.splits == there.splits
    for photo_id in here.training_ids + here.splits["val"]:
        assert here.photo(photo_id) == there.photo(photo_id)
        assert here.mask_content(photo_id) == there.mask_content(photo_id)


def test_an_evaluation_shows_no_label(dataset: Dataset) -> None:
    for split, ids in dataset.splits.items():
        shown = dataset.eval_set(split)
        assert [photo.id for photo in shown.photos] == list(ids)
        assert not any(photo.labels for photo in shown.photos)
        assert shown.label_space == dataset.label_space


@pytest.mark.parametrize("photo_id", ["no_such_photo", "", "../a", "a\0b", "x" * 5000])
def test_an_unknown_photo_is_refused_in_one_line(dataset: Dataset, photo_id: str) -> None:
    for look in (dataset.photo, dataset.read_mask, dataset.mask_content):
        with pytest.raises(UserError) as error:
            look(photo_id)
        assert "\n" not in str(error.value)


@pytest.fixture(params=SETTINGS.names())
def setting(request: pytest.FixtureRequest, tmp_path: Path, dataset: Dataset) -> Setting:
    kind = SETTINGS.load(request.param)
    prepared = PREPARED.get(request.param)
    built: Setting = kind(kind.options_model(**prepared(tmp_path / "setting", dataset) if prepared else {}))
    return built


def test_a_setting_never_shows_val(setting: Setting, dataset: Dataset) -> None:
    val = {dataset.photo(photo_id).content for photo_id in dataset.splits["val"]}
    weak = setting.offer(Target.of(dataset)).weak
    assert not val & {photo.content for photo in weak.photos}
    assert {photo.id for photo in weak.photos if photo.source == "target"} <= set(dataset.training_ids)


def test_a_setting_shows_photos_in_order_with_labels_of_the_label_space(setting: Setting, dataset: Dataset) -> None:
    weak = setting.offer(Target.of(dataset)).weak
    assert weak.label_space == dataset.label_space
    places = [(photo.source, photo.id) for photo in weak.photos]
    assert len(set(places)) == len(places) > 0
    for source in {photo.source for photo in weak.photos}:
        ids = [photo.id for photo in weak.photos if photo.source == source]
        assert ids == sorted(ids)
    for photo in weak.photos:
        assert photo.labels and list(photo.labels) == sorted(set(photo.labels))
        assert max(photo.labels) < weak.label_space.foreground


def test_a_setting_gives_the_same_photos_every_time(setting: Setting, opened: Callable[[str], Dataset]) -> None:
    weak: list[WeakSet] = [setting.offer(Target.of(opened(place))).weak for place in ("one", "two")]
    assert weak[0].fingerprint == weak[1].fingerprint
    assert weak[0].photos == weak[1].photos


@pytest.fixture(params=FILTERS.names(), scope="module")
def web_filter(request: pytest.FixtureRequest) -> Filter:
    kind = FILTERS.load(request.param)
    built: Filter = kind(kind.options_model())
    return built


@given(queries=QUERIES)
def test_a_filter_tells_of_each_photo_whatever_the_order(web_filter: Filter, queries: Queries) -> None:
    probabilities_NK, labels_NK, order = queries
    before = probabilities_NK.copy(), labels_NK.copy()
    keep_N = web_filter.keep(probabilities_NK, labels_NK)
    assert (keep_N.shape, keep_N.dtype) == (labels_NK.shape[:1], np.bool_)
    assert np.array_equal(before[0], probabilities_NK) and np.array_equal(before[1], labels_NK)
    assert np.array_equal(web_filter.keep(probabilities_NK[order], labels_NK[order]), keep_N[order])
    assert not keep_N[labels_NK.sum(1) == 0].any(), "a photo without a label is never kept"
    shown_NK = labels_NK.astype(np.bool_)
    assert np.array_equal(web_filter.keep(probabilities_NK, shown_NK), keep_N)


def test_a_filter_keeps_what_is_certainly_right(web_filter: Filter) -> None:
    labels_NK = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 2]]
    for kind in (np.float32, np.float64):
        assert web_filter.keep(labels_NK.astype(kind), labels_NK).tolist() == [True] * 7


def test_a_filter_takes_no_photo_and_a_single_class(web_filter: Filter) -> None:
    for classes in (1, 3):
        assert web_filter.keep(np.zeros((0, classes), np.float32), np.zeros((0, classes), np.float32)).shape == (0,)
    kept = web_filter.keep(np.array([[0.9], [0.8], [0.9]], np.float32), np.array([[1], [1], [0]], np.float32))
    assert kept.tolist() == [True, True, False]


def test_a_filter_refuses_what_are_no_probabilities(web_filter: Filter) -> None:
    labels_NK = np.eye(2, dtype=np.float32)
    if not web_filter.needs_probabilities:
        assert web_filter.keep(None, labels_NK).shape == (2,)
        return
    for wrong in (np.nan, -0.1, 1.1, np.inf):
        with pytest.raises(ValueError, match="probabilities outside"):
            web_filter.keep(np.array([[0.5, wrong], [0.5, 0.5]], np.float32), labels_NK)
    with pytest.raises(ValueError, match=r"probabilities \(2, 3\) for labels \(2, 2\)"):
        web_filter.keep(np.zeros((2, 3), np.float32), labels_NK)
    with pytest.raises(ValueError, match="no probabilities"):
        web_filter.keep(None, labels_NK)


@pytest.mark.parametrize("wrong", [np.nan, 0.5, 2.0, -1.0])
def test_a_filter_refuses_what_are_no_labels(web_filter: Filter, wrong: float) -> None:
    half_NK = np.full((1, 2), 0.5, np.float32)
    with pytest.raises(ValueError, match="labels other than 0 and 1"):
        web_filter.keep(half_NK, np.array([[0, wrong]], np.float32))
    with pytest.raises(ValueError, match="shape"):
        web_filter.keep(half_NK[0], np.zeros(2, np.float32))
