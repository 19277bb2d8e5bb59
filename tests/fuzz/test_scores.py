"""`seedbed score` on folders of anybody's masks: a number that naive code agrees with, or one line."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.masks import encode_mask
from tests.fuzz.judging import DAMAGE, Damage, damaged, folder, names_in, seedbed, share

PAIR = st.lists(st.integers(0, 3), min_size=12, max_size=12)
MISHAPS = ["nothing", "damage", "missing", "extra", "odd name", "fifo", "folder", "link", "empty", "other size", "void"]
VALUES = st.sampled_from(["2", "4", "4", "4", "255", "0", "-1", "256", "1e3", "x", "9" * 30])


def naive_miou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean over classes that are there of intersection over union, by sets of pixels."""
    pairs = [(predicted == value, truth == value) for value in range(4)]
    return float(np.mean([(p & t).sum() / (p | t).sum() for p, t in pairs if (p | t).any()]))


@given(predicted=PAIR, truth=PAIR, mishap=st.sampled_from(MISHAPS), damage=DAMAGE, classes=VALUES, options=st.data())
@share(0.08)
def test_folders(
    predicted: list[int], truth: list[int], mishap: str, damage: Damage, classes: str, options: st.DataObject
) -> None:
    arrays = [np.array(values, np.uint8).reshape(3, 4) for values in (predicted, truth)]
    more = options.draw(st.lists(st.sampled_from(["--allow-missing", "--void=background", "--void=x", "--protocol=x"])))
    with folder() as root:
        for name, array in zip(("predictions", "truth"), arrays, strict=True):
            (root / name).mkdir()
            (root / name / "a.png").write_bytes(encode_mask(array))
        file = root / options.draw(st.sampled_from(["predictions", "truth"])) / "a.png"
        if mishap == "damage":
            file.write_bytes(damaged(file.read_bytes(), damage))
        elif mishap in ("extra", "odd name"):
            odd = "b" if mishap == "extra" else os.fsdecode(b"\xff\n\x1b[2J")
            (file.parent / f"{odd}.png").write_bytes(encode_mask(arrays[0]))
        elif mishap in ("missing", "fifo", "folder", "link"):
            file.unlink()
            places = {"fifo": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to("a.png")}
            places.get(mishap, lambda path: None)(file)
        elif mishap == "empty":
            file.write_bytes(b"")
        elif mishap in ("other size", "void"):
            file.write_bytes(encode_mask(np.full((2, 2) if mishap == "other size" else (3, 4), 255, np.uint8)))
        before = names_in(root)
        folders = (root / "predictions", "--truth", root / "truth", f"--classes={classes}")
        ended = seedbed("score", *folders, "--json", *more)
        assert names_in(root) == before
        if mishap == "nothing" and classes == "4" and not {"--void=x", "--protocol=x"} & set(more):
            # True masks without any class are refused.
            assert ended.code == (0 if any(truth) else 2)
            if any(truth):
                assert json.loads(ended.out)["miou"] == pytest.approx(naive_miou(*arrays), abs=1e-12)
        assert seedbed("score", *folders, *more).code == ended.code
