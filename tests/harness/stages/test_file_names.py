"""Names in a leaderboard's folder: no two lines share one, and none is longer than a file's name may be."""

from dataclasses import replace

import pytest

from harness.stages.kind import Place
from harness.stages.planning import make_plan
from harness.stages.source import Source
from harness.suites.suite import load_suite
from settings.components import ComponentSpec
from settings.datasets.scenes import Scenes
from settings.errors import UserError
from settings.records import Photo

LINES = (
    "settings={x: {name: clean}, b-x: {name: shuffled}}",
    "recipes={cam: {localizer: cam, labeler: threshold}, "
    "cam-b: {localizer: {name: cam, hidden: 8}, labeler: threshold}}",
)


def plan(*overrides: str) -> None:
    make_plan(load_suite("smoke", ("references=[]", *overrides)))


def test_two_lines_that_would_write_one_file_are_refused() -> None:
    found = "found the file name gallery-cam-b-x.png for cam · b-x · gallery and for cam-b · x · gallery"
    with pytest.raises(UserError, match=f"{found}; expected .*; rename the recipe"):
        plan(*LINES)
    plan(*LINES, "gallery=0")


def test_masks_that_nothing_scores_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scenes, "has_mask", lambda *_: False)
    with pytest.raises(UserError, match=r"pseudo_labels-cam-b-x-0 for cam · b-x .* and for cam-b · x "):
        plan(*LINES, "gallery=0", "policies={fixed: segmentation}")


def test_a_name_that_no_disk_takes_is_refused() -> None:
    long = "ü" * 120
    with pytest.raises(UserError, match=r"found a file name of 258 bytes for ü+ · clean · gallery"):
        plan(f"recipes={{{long}: {{localizer: cam, labeler: threshold}}}}")
    with pytest.raises(UserError, match=r"name.*: found 240 bytes; expected at most 219"):
        plan(f"name={long}")


def test_an_id_that_files_of_maps_need_for_themselves_is_refused() -> None:
    photo = Photo("__metadata__", (), "", lambda: None)  # type: ignore[arg-type,return-value]
    place = Place(ComponentSpec(name="scenes"))
    with pytest.raises(UserError, match=r"clean: found a photo called '__metadata__'"):
        Source("clean", (photo,), place)
    assert Source("clean", (replace(photo, id="metadata"),), place).photos[0].id == "metadata"
