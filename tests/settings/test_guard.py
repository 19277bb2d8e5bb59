"""True masks and truth files are opened at the gate alone while a stage runs."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from settings.errors import UserError
from settings.guard import at_the_gate, guarded
from settings.masks import read_mask, write_mask


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    write_mask(folder / "a.png", np.ones((2, 3), np.uint8))
    (tmp_path / "beside.txt").write_text("free")
    (tmp_path / "x.truth.csv").write_text("file,query_class,true_class,kind\n")
    return folder


def test_a_mask_past_the_gate_ends_the_stage_and_names_it(masks: Path) -> None:
    with guarded("localizer_fit", [masks]):
        assert (masks.parent / "beside.txt").read_text() == "free"
        with pytest.raises(UserError, match=r"a\.png: found opened by stage 'localizer_fit' past the gate"):
            read_mask(masks / "a.png")
        with at_the_gate():
            assert read_mask(masks / "a.png").sum() == 6
        with pytest.raises(UserError):
            Image.open(masks / "a.png")
    assert read_mask(masks / "a.png").sum() == 6


def test_no_way_round_by_links_relative_paths_or_bytes(masks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = masks.parent / "innocent.png"
    link.symlink_to(masks / "a.png")
    monkeypatch.chdir(masks)
    with guarded("label", [masks]):
        for name in (link, "a.png", "../masks/a.png", bytes(masks / "a.png")):
            with pytest.raises(UserError, match="past the gate"):
                open(name, "rb")  # noqa: PTH123, SIM115 - bytes and relative names are the point


def test_a_truth_file_is_refused_wherever_it_lies(masks: Path) -> None:
    with guarded("filter", []), pytest.raises(UserError, match="stage 'filter'"):
        (masks.parent / "x.truth.csv").read_text()
    assert (masks.parent / "x.truth.csv").read_text().startswith("file")


def test_the_gate_opens_for_its_own_thread(masks: Path) -> None:
    refused: list[Exception] = []

    def read() -> None:
        try:
            read_mask(masks / "a.png")
        except UserError as error:
            refused.append(error)

    with guarded("segment", [masks]), at_the_gate():
        other = threading.Thread(target=read)
        other.start()
        other.join()
    assert len(refused) == 1


def test_guards_nest_and_end_with_errors(masks: Path) -> None:
    with pytest.raises(RuntimeError), guarded("outer", []), guarded("inner", [masks]):
        raise RuntimeError
    assert read_mask(masks / "a.png").size == 6
