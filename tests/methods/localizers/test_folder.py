"""Maps that another program made: taken as they are, or refused by the name of their file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from harness.suites.recipes import files_identity
from methods.base import Surroundings
from methods.localizers.folder import Folder, FolderOptions
from settings.components import validated_options
from settings.errors import UserError
from settings.records import LabelSpace, Photo

SPACE = LabelSpace(("cat", "dog", "potted plant"))
MAPS = np.random.default_rng(0).random((2, 3, 5)).astype(np.float32)
KEYS = np.array([2, 0])
PIXELS = np.zeros((20, 30, 3), np.uint8)


def photo(photo_id: str = "p", labels: tuple[int, ...] = (0, 2)) -> Photo:
    return Photo(photo_id, labels, "content", lambda: PIXELS)


def folder(root: Path, **options: Any) -> Folder:
    return Folder(FolderOptions(root=root, **{"supervision": "I", **options}))


def applied(root: Path, *photos: Photo, **options: Any) -> list[Any]:
    """Without a bank, since there is none."""
    return list(folder(root, **options).apply(photos, Surroundings(SPACE)))


def write(root: Path, name: str = "p", **arrays: Any) -> None:
    path = root / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{"keys": KEYS, "maps": MAPS, **arrays})


def write_png(path: Path, map_HW: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(map_HW).save(path)


def test_maps_of_the_labels_in_their_order(tmp_path: Path) -> None:
    write(tmp_path)
    (record,) = applied(tmp_path, photo())
    assert (record.photo_id, record.class_ids, record.image_size) == ("p", (0, 2), (20, 30))
    assert record.upsampling == "bilinear"
    assert record.maps_CHW.dtype == np.float32
    assert np.array_equal(record.maps_CHW, MAPS[[1, 0]])


def test_maps_of_other_classes_are_dropped_and_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, maps=MAPS / 3)
    one, none = applied(tmp_path, photo(labels=(2,)), photo(labels=()), upsampling="nearest")
    assert np.array_equal(one.maps_CHW, MAPS[:1] / np.float32(3))
    assert (one.upsampling, none.maps_CHW.shape[0]) == ("nearest", 0)


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4"])
def test_other_floats_become_float32(kind: Any, tmp_path: Path) -> None:
    write(tmp_path, maps=MAPS.astype(kind))
    (record,) = applied(tmp_path, photo())
    assert record.maps_CHW.dtype == np.float32
    assert np.array_equal(record.maps_CHW, MAPS[[1, 0]].astype(kind).astype(np.float32))


def test_8_bits_are_shares_of_255_in_both_layouts(tmp_path: Path) -> None:
    grey = np.array([[[0, 51, 255]], [[102, 1, 204]]], np.uint8)
    write(tmp_path, maps=grey)
    for name, map_HW in zip(("potted plant", "cat", "dog", "stray"), (*grey, grey[0], grey[0]), strict=True):
        write_png(tmp_path / "q" / f"{name}.png", map_HW)
    npz, png = applied(tmp_path, photo(), photo("q"))
    expected = np.array([[[0.4, 1 / 255, 0.8]], [[0, 0.2, 1]]], np.float32)
    assert np.array_equal(npz.maps_CHW, expected)
    assert np.array_equal(png.maps_CHW, expected)


def test_ids_of_extra_sources_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "web.1/p.q")
    part = folder(tmp_path)
    assert part.files(photo("web.1/p.q")) == (tmp_path / "web.1" / "p.q.npz",)
    assert len(applied(tmp_path, photo("web.1/p.q"))) == 1


@pytest.mark.parametrize("photo_id", ["../p", "a/../../p", "/etc/passwd", "a//b", ".", "..", "", "a\\b", "a\0b", "./p"])
def test_no_id_leads_out_of_the_folder(photo_id: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "root").mkdir()
    with pytest.raises(UserError, match="inside the folder"):
        folder(tmp_path / "root").files(photo(photo_id))


def test_files_are_named_where_they_are_missing_or_doubtful(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.npz: found neither.*photo 'p'$"):
        folder(tmp_path).files(photo())
    (tmp_path / "p_0.png").touch()
    with pytest.raises(UserError, match=r"convert p_0\.png and its like: seedbed data import-maps"):
        folder(tmp_path).files(photo())
    (tmp_path / "p.npy").touch()
    with pytest.raises(UserError, match=r"convert the \.npy files: seedbed data import-maps"):
        folder(tmp_path).files(photo())
    write(tmp_path)
    write_png(tmp_path / "p" / "cat.png", PIXELS[..., 0])
    with pytest.raises(UserError, match=r"p\.npz: found both"):
        folder(tmp_path).files(photo())
    with pytest.raises(UserError, match="nowhere: found no folder"):
        folder(tmp_path / "nowhere").files(photo())


def test_contents_count_and_places_do_not(tmp_path: Path) -> None:
    for name, maps in (("a", MAPS), ("b", MAPS), ("c", MAPS / 2)):
        write(tmp_path / name, maps=maps)
    a, b, c = (files_identity(folder(tmp_path / name), [photo()]) for name in "abc")
    assert a == b != c
    assert folder(tmp_path).place_options == {"root"}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"keys": np.array([0, 1])}, r"keys \[0, 1\].*'potted plant' \(class id 2\)"),
        ({"keys": np.array([2, 2])}, r"keys of type int64 and shape \(2,\): \[2, 2\]"),
        ({"keys": np.array([2.0, 0.0])}, "keys of type float64"),
        ({"keys": np.arange(255)}, r"keys of type int64 and shape \(255,\): \[0, 1"),
        ({"keys": KEYS[None]}, r"keys .* shape \(1, 2\)"),
        ({"keys": np.array([0, 1, 2])}, r"maps of shape \(2, 3, 5\) for 3 keys"),
        ({"maps": MAPS[0]}, r"maps of shape \(3, 5\)"),
        ({"maps": MAPS[:, :0]}, r"maps of shape \(2, 0, 5\)"),
        ({"maps": MAPS.astype(np.int32)}, "maps of type int32"),
        ({"maps": MAPS * np.nan}, "not finite"),
        ({"maps": MAPS + np.float32(np.inf)}, "not finite"),
        ({"maps": MAPS * 2}, "values from .* to "),
        ({"maps": MAPS - 0.5}, "values from -"),
        ({"maps": np.array([[{}]], object)}, "pickled objects"),
    ],
)
def test_odd_files_are_one_line_that_names_them(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    write(tmp_path, **arrays)
    with pytest.raises(UserError, match=words) as error:
        applied(tmp_path, photo())
    assert "p.npz" in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda at: (at / "cat.png").unlink(), r"p: found maps of potted plant\.png.*'cat' \(class id 0\)"),
        (
            lambda at: write_png(at / "cat.png", np.zeros((3, 4), np.uint8)),
            r"potted plant\.png: found 5×3 pixels; expected 4×3",
        ),
        (lambda at: write_png(at / "cat.png", np.zeros((3, 5, 3), np.uint8)), r"cat\.png: found mode RGB"),
        (lambda at: (at / "cat.png").write_bytes(b"no image"), r"cat\.png: found an unreadable image"),
    ],
)
def test_odd_pngs_are_named(change: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    for name in ("cat", "potted plant"):
        write_png(tmp_path / "p" / f"{name}.png", np.zeros((3, 5), np.uint8))
    assert applied(tmp_path, photo())[0].maps_CHW.shape == (2, 3, 5)
    change(tmp_path / "p")
    with pytest.raises(UserError, match=words):
        applied(tmp_path, photo())


def test_supervision_must_be_declared_and_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"localizer\.supervision.*I image-level labels, S a salient-object network"):
        validated_options(FolderOptions, {"root": tmp_path}, "localizer")
    for odd in ("image", "I,S", "i", "I+"):
        with pytest.raises(ValidationError):
            folder(tmp_path, supervision=odd)
    assert folder(tmp_path, supervision="I+S").supervision == "I+S"


def test_a_relative_root_counts_from_where_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    part = folder(Path("maps"))
    monkeypatch.chdir("/")
    assert part.options.root == tmp_path / "maps"


def test_nothing_is_trained_and_no_feature_is_read(tmp_path: Path) -> None:
    part = folder(tmp_path)
    assert (part.trained, part.fit_features(), part.apply_features()) == (False, (), ())
