"""A tree of class folders: ids, joined folders, and whatever else lies about in such trees."""

import os
import pickle
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from settings.aliases import Aliases
from settings.discovery import SOURCES
from settings.errors import UserError
from settings.records import LabelSpace, Photo
from settings.source import Kind
from settings.sources.class_folders import ClassFolders, ClassFoldersOptions

SPACE = LabelSpace(("aeroplane", "cat", "dog", "my car"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "tree"


def fill(tree: Path, *names: str) -> None:
    """Photos of 6 × 4 pixels in one colour each."""
    for index, name in enumerate(names):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (index, 90, 30)).save(tree / name, format="PNG")


def opened(tree: Path, **options: object) -> ClassFolders:
    return ClassFolders(ClassFoldersOptions.model_validate({"root": tree, **options}))


def photos(tree: Path, kind: Kind = "web", **options: object) -> tuple[Photo, ...]:
    return opened(tree, **options).photos(kind, SPACE, Aliases())


def refused(tree: Path, message: str, **options: object) -> None:
    with pytest.raises(UserError, match=message) as error:
        photos(tree, **options)
    assert str(error.value).isprintable()


def test_photos_of_each_class(tree: Path) -> None:
    fill(tree, "dog/b.jpg", "cat/a.jpg", "dog/a.jpg")
    assert SOURCES.load("class_folders") is ClassFolders
    found = photos(tree, "single_label")
    assert [photo.id for photo in found] == ["single_label.cat.a", "single_label.dog.a", "single_label.dog.b"]
    assert [photo.labels for photo in found] == [(1,), (2,), (2,)]
    assert [photo.place for photo in found] == ["cat/a", "dog/a", "dog/b"]
    assert {photo.source for photo in found} == {"single_label"}
    assert found[2].content == sha256((tree / "dog" / "b.jpg").read_bytes()).hexdigest()
    image = pickle.loads(pickle.dumps(found[2])).image()
    assert np.array_equal(image, np.full((4, 6, 3), (0, 90, 30), np.uint8))
    assert opened(tree).truth("web", SPACE, Aliases()) is None
    assert opened(tree).passed_over() == ()


def test_folders_that_mean_one_class_are_joined(tree: Path) -> None:
    fill(tree, "aeroplane/a.jpg", "Airplane/a.jpg", "plane/a.jpg", "my_car/a.jpg")
    found = photos(tree)
    assert [photo.labels for photo in found] == [(0,), (0,), (0,), (3,)]
    assert found[0].id == "web.aeroplane.a"
    assert {photo.id for photo in found[1:3]} == {
        f"web.aeroplane.a-{sha256(path).hexdigest()[:10]}" for path in (b"Airplane/a.jpg", b"plane/a.jpg")
    }
    assert re.fullmatch(r"web\.my_car\.a-[0-9a-f]{10}", found[3].id)


def test_a_class_of_the_very_name_comes_before_one_that_means_the_same(tree: Path) -> None:
    fill(tree, "man/a.jpg", "person/a.jpg", "woman/a.jpg")
    space = LabelSpace(("person", "man"))
    labels = {photo.place: photo.labels for photo in opened(tree).photos("web", space, Aliases())}
    assert labels == {"man/a": (1,), "person/a": (0,), "woman/a": (0,)}


TWINS = ("a.jpg", "a.jpeg", "a.png", "A.jpg", "a.JPG", "a b.jpg", "a_b.jpg", "a.png.jpg", "é.jpg", "日" * 80 + ".jpg")


def test_twins_have_ids_of_their_own_that_no_other_file_changes(tree: Path) -> None:
    names = [*TWINS, f"a-{sha256(b'cat/a.png').hexdigest()[:10]}.jpg"]
    fill(tree, *(f"cat/{name}" for name in names))
    together = {photo.content: photo.id for photo in photos(tree)}
    assert len(set(together.values())) == len(names)
    assert all(re.fullmatch(r"\w[\w.-]*", photo_id) for photo_id in together.values())
    assert max(len(f"{photo_id}.png".encode()) for photo_id in together.values()) < 255
    assert {"web.cat.a", "web.cat.A", "web.cat.a_b", "web.cat.a.png", "web.cat.é"} < set(together.values())
    for path in sorted((tree / "cat").iterdir()):
        alone = tree.with_name(f"alone {path.name}")
        (alone / "cat").mkdir(parents=True)
        (alone / "cat" / path.name).write_bytes(path.read_bytes())
        (photo,) = photos(alone)
        assert together[photo.content] == photo.id


def test_classes_that_look_alike_in_ids_stay_apart(tree: Path) -> None:
    fill(tree, "a b/x.jpg", "a_b/x.jpg", "a.b/c.jpg", "a/b.c.jpg")
    space = LabelSpace(("a b", "a", "c"))
    found = opened(tree).photos("web", space, Aliases())
    assert sorted(photo.labels[0] for photo in found) == [0, 0, 0, 1]
    assert len({photo.id for photo in found}) == 4


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.sets(st.tuples(NAMES, st.sampled_from([".jpg", ".png", ".JPEG"])), min_size=1, max_size=6))
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_give_ids_that_are_file_names(
    tmp_path_factory: pytest.TempPathFactory, names: set[tuple[str, str]]
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    fill(tree, *(f"dog/x{stem}{suffix}" for stem, suffix in names))
    found = photos(tree)
    assert len({photo.id for photo in found}) == len(found) == len(names)
    assert all(re.fullmatch(r"web\.dog\.[\w.-]+", photo.id) for photo in found)
    assert [photo.id for photo in found] == sorted(photo.id for photo in found)


def test_a_name_that_is_no_text(tree: Path) -> None:
    fill(tree, "cat/a.jpg")
    (tree / "cat" / "a.jpg").rename(tree / "cat" / os.fsdecode(b"\xff.jpg"))
    (photo,) = photos(tree)
    assert photo.id == f"web.cat._-{sha256(b'cat/' + bytes([255]) + b'.jpg').hexdigest()[:10]}"
    assert photo.image().shape == (4, 6, 3)


def test_what_is_no_photo_is_passed_over_and_told(tree: Path) -> None:
    fill(tree, "cat/a.jpg", "cat/.hidden.jpg", ".cache/a.jpg", "cat/deep/b.jpg", "top.jpg", "cat/c.JpEg")
    (tree / "README.txt").write_text("text")
    (tree / "cat" / "film.mp4").touch()
    (tree / "cat" / "folder.jpg").mkdir()
    os.mkfifo(tree / "cat" / "pipe.jpg")
    (tree / "cat" / "lost.jpg").symlink_to("nowhere.jpg")
    (tree / "cat" / "loop.jpg").symlink_to("loop.jpg")
    (tree / "dog").mkdir()
    source = opened(tree)
    assert [photo.place for photo in source.photos("web", SPACE, Aliases())] == ["cat/a", "cat/c"]
    others = ("deep", "film.mp4", "folder.jpg", "loop.jpg", "lost.jpg", "pipe.jpg")
    assert source.passed_over() == ("README.txt", *(f"cat/{name}" for name in others), "top.jpg")


def test_a_file_that_is_no_image_is_declared_and_refused_when_it_is_read(tree: Path) -> None:
    fill(tree, "cat/a.jpg")
    (tree / "cat" / "a.jpg").write_bytes(b"text")
    (photo,) = photos(tree)
    with pytest.raises(UserError, match=r"cat/a\.jpg: found an unreadable image"):
        photo.image()


def test_an_unknown_folder_names_the_nearest_class_and_can_be_skipped(tree: Path) -> None:
    fill(tree, "cat/a.jpg", "dgo/a.jpg", "zzz/a.jpg")
    refused(tree, r"dgo: found unknown class 'dgo'; .*did you mean 'dog'\? or leave it out by skip: \[dgo\]")
    refused(tree, r"zzz: found unknown class 'zzz'; .*; or leave it out by skip: \[zzz\]", skip=["dgo"])
    assert [photo.id for photo in photos(tree, skip=["dgo", "zzz"])] == ["web.cat.a"]
    refused(tree, r"skip: found unknown folder 'dog'; .*did you mean 'dgo'\?", skip=["dog"])


def test_trees_without_a_photo(tree: Path) -> None:
    refused(tree, r"tree: found an unreadable folder \(No such file or directory\); expected a folder that holds")
    tree.write_text("")
    refused(tree, r"tree: found an unreadable folder \(Not a directory\)")
    tree.unlink()
    (tree / "cat").mkdir(parents=True)
    refused(tree, r"tree: found no photo; expected a folder that holds a folder of photos for each class")
    fill(tree, "dog/a.jpg")
    refused(tree, "found no photo", skip=["dog"])
    refused(Path("a\0b"), "found an unreadable folder")


@pytest.mark.parametrize("name", ["cat/a.jpg", "cat"])
def test_links_that_leave_the_tree(tree: Path, tmp_path: Path, name: str) -> None:
    fill(tree, "cat/a.jpg", "dog/a.jpg")
    (tree / name).rename(tmp_path / "outside")
    (tree / name).symlink_to(tmp_path / "outside")
    refused(tree, rf"{name}: found a link to '.*outside'; expected a file inside .*follow_links=true")
    assert [photo.id for photo in photos(tree, follow_links=True)] == ["web.cat.a", "web.dog.a"]


def test_links_within_the_tree_and_to_the_tree(tree: Path, tmp_path: Path) -> None:
    fill(tree, "cat/a.jpg")
    (tree / "cat" / "b.jpg").symlink_to("a.jpg")
    (tree / "dog").symlink_to("cat")
    (tmp_path / "link").symlink_to(tree)
    found = photos(tmp_path / "link")
    assert [photo.id for photo in found] == ["web.cat.a", "web.cat.b", "web.dog.a", "web.dog.b"]
    assert found == photos(tree)


def test_the_same_tree_elsewhere_is_the_same(tree: Path, tmp_path: Path) -> None:
    fill(tree, "cat/a.jpg", "dog/a.jpg")
    elsewhere = tmp_path / "quite" / "elsewhere"
    fill(elsewhere, "cat/a.jpg", "dog/a.jpg")
    assert photos(tree) == photos(elsewhere)
    assert opened(tree).identity() == opened(elsewhere).identity()


def test_roots_are_made_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tree, "cat/a.jpg")
    monkeypatch.chdir(tree.parent)
    assert opened(Path("tree")).options.root == tree
    monkeypatch.setenv("HOME", str(tree.parent))
    assert opened(Path("~/tree")).options.root == tree
    with pytest.raises(ValidationError, match="a path whose ~ stands for a user of this machine"):
        opened(Path("~nobody-of-this-name/tree"))


def test_the_extra_photos_of_the_animals(real_data: Path) -> None:
    space = LabelSpace(("cat", "cow", "dog", "horse", "sheep", "person"))
    for folder, kind, count in (("animals-single-label", "single_label", 500), ("animals-web", "web", 600)):
        found = opened(real_data / folder).photos(kind, space, Aliases())
        assert len({photo.id for photo in found}) == count
        assert all(re.fullmatch(rf"{kind}\.(\w+)\.\1_\d{{3}}", photo.id) for photo in found)
        saliency = real_data / f"{folder}-saliency"
        assert all((saliency / f"{photo.place}.png").is_file() for photo in found)
