"""What every source of extra photos has to keep, by being there.

A source that cannot be built from its defaults needs an entry in SAMPLES: its options for photos of `bee` and `wasp`,
in a folder that it may fill.
"""

import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from settings.aliases import Aliases
from settings.discovery import SOURCES
from settings.errors import UserError
from settings.noise import NoiseOptions, with_noise
from settings.options import Options
from settings.records import LabelSpace
from settings.source import ExtraSource, Kind

SPACE = LabelSpace(("bee", "wasp"))


def class_folders_sample(root: Path) -> dict[str, Any]:
    for index, name in enumerate(("wasp/a.jpg", "bee/b.jpg", "bee/a.png", "Bee/a b.jpg")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB", (9, 8), (40 * index, 90, 30)).save(root / name)
    return {"root": root}


def folder_sample(root: Path) -> dict[str, Any]:
    (root / "images").mkdir(parents=True)
    labels = {"d": "bee", "a": "wasp", "c": "bee", "v": "wasp"}
    for index, photo_id in enumerate(labels):
        PillowImage.new("RGB", (9, 8), (40 * index, 90, 30)).save(root / "images" / f"{photo_id}.png")
    texts = {"classes.txt": "bee\nwasp\n", "train.txt": "d\na\n", "dev.txt": "c\n", "val.txt": "v\n"}
    texts["labels.csv"] = "id,labels\n" + "".join(f"{photo_id},{name}\n" for photo_id, name in labels.items())
    for name, text in texts.items():
        (root / name).write_text(text)
    return {"root": root}


SAMPLES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "class_folders": class_folders_sample,
    "folder": folder_sample,
    "scenes": lambda root: {"photos_per_class": 5, "size": 32},
}


@pytest.fixture(params=SOURCES.names())
def extra(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], ExtraSource]:
    """The source over its sample, written anew below the folder of that name."""

    def build(place: str) -> ExtraSource:
        kind = SOURCES.load(request.param)
        prepared = SAMPLES.get(request.param)
        built: ExtraSource = kind(kind.options_model(**prepared(tmp_path / place) if prepared else {}))
        return built

    return build


@pytest.fixture(params=["single_label", "web"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.mark.parametrize("name", SOURCES.names())
def test_it_declares_itself(name: str) -> None:
    kind = SOURCES.load(name)
    assert isinstance(kind.version, int) and kind.version >= 1
    assert kind.__doc__ and kind.__doc__.strip().endswith(".")
    assert issubclass(kind.options_model, Options)
    with pytest.raises(ValueError, match="no_such_option"):
        kind.options_model.model_validate({"no_such_option": 1})


def test_extra_photos_have_one_class_and_ids_that_are_file_names(
    extra: Callable[[str], ExtraSource], kind: Kind
) -> None:
    photos = extra("here").photos(kind, SPACE, Aliases())
    ids = [photo.id for photo in photos]
    assert ids == sorted(set(ids)) and len(ids) > 2
    assert all(re.fullmatch(rf"{kind}\.\w[\w.-]*", photo_id) and len(photo_id) < 250 for photo_id in ids)
    assert {photo.labels for photo in photos} == {(0,), (1,)}
    assert {photo.source for photo in photos} == {kind}


def test_extra_photos_are_the_same_at_every_look_here_and_elsewhere(
    extra: Callable[[str], ExtraSource], kind: Kind
) -> None:
    here, there = extra("here"), extra("quite/elsewhere")
    photos, others = (source.photos(kind, SPACE, Aliases()) for source in (here, there))
    assert photos == others == here.photos(kind, SPACE, Aliases())
    assert [photo.place for photo in photos] == [photo.place for photo in others]
    assert here.identity() == there.identity()
    assert json.loads(json.dumps(here.identity()))["version"] == here.version
    for photo, other in zip(photos, others, strict=True):
        image = pickle.loads(pickle.dumps(photo)).image()
        assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
        assert np.array_equal(image, photo.image()) and np.array_equal(image, other.image())


def test_contents_identify_the_pixels_of_extra_photos(extra: Callable[[str], ExtraSource], kind: Kind) -> None:
    photos = extra("here").photos(kind, SPACE, Aliases())
    noisy, _ = with_noise(photos, SPACE, NoiseOptions(wrong_class=0.3, off_topic=0.4, style_shift=0.5))
    pixels = {(photo.content, photo.image().tobytes()) for photo in (*photos, *noisy)}
    assert len({content for content, _ in pixels}) == len(pixels) > len(photos)


def test_the_truth_of_extra_photos_is_about_them_all(extra: Callable[[str], ExtraSource], kind: Kind) -> None:
    source = extra("here")
    truth = source.truth(kind, SPACE, Aliases())
    if truth is not None:
        assert list(truth) == [photo.id for photo in source.photos(kind, SPACE, Aliases())]
        assert set(truth.values()) <= {(), (0,), (1,)}


def test_an_unknown_class_is_refused_or_left_out(extra: Callable[[str], ExtraSource], kind: Kind) -> None:
    with pytest.raises(UserError) as error:
        extra("here").photos(kind, LabelSpace(("no such class",)), Aliases())
    assert str(error.value).isprintable()


def test_what_is_passed_over_is_told_by_name(extra: Callable[[str], ExtraSource]) -> None:
    assert extra("here").passed_over() == ()
