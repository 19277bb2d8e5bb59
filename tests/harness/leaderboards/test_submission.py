"""Masks that anybody hands in: what is refused, what the row says, and that the stored masks give it again."""

import fcntl
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from harness.leaderboards.log import read_log
from harness.leaderboards.merging import merge
from harness.leaderboards.shared import Shared, changing, read_shared
from harness.leaderboards.submission import Declared, submit
from harness.leaderboards.verification import verify
from results.evaluation import mask_digest
from results.scoring import score_split
from settings.datasets.scenes import Scenes
from settings.errors import UserError
from settings.masks import read_mask, write_mask
from settings.records import fingerprint
from tests.harness.leaderboards.conftest import contents, rows_in

Masks = Callable[..., Path]


def test_masks_become_a_row_that_tells_all_of_itself(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared
) -> None:
    folder = masks("theirs")
    (folder / "readme.txt").write_text("not a mask", encoding="utf-8")
    said = replace(declared, masks_chosen=2, source="a paper")
    found = submit(folder, said, scenes, tmp_path / "board", opened_by={"dataset": "scenes"}, at="2026-01-01")
    (row,) = rows_in(tmp_path / "board")
    score = score_split(folder, scenes)
    assert row == found.row and row.miou == score.miou and row.evaluation_fingerprint == score.fingerprint
    assert (row.tier, row.supervision, row.stage, row.split, row.variant) == (
        "scored",
        "I",
        "segmentation",
        "val",
        "ss",
    )
    assert (row.masks_scored, row.masks_chosen, row.masks_declared, row.masks_trained) == (3, 2, 2, 0)
    # Two classes at a second each for 5 photos, and two masks.
    assert row.labels_read == 5 and row.label_hours == pytest.approx((5 * 2 + 2 * 239.7) / 3600, abs=1e-3)
    digests = [(photo_id, mask_digest(read_mask(folder / f"{photo_id}.png"))) for photo_id in scenes.splits["val"]]
    assert row.masks_sha256 == fingerprint(sorted(digests))
    assert json.loads(row.provenance)["source"] == "a paper"
    kept = tmp_path / "board" / "masks" / row.masks_sha256[:16]
    assert sorted(path.name for path in kept.iterdir()) == [f"{photo_id}.png" for photo_id in scenes.splits["val"]]
    table = (tmp_path / "board" / "table.md").read_text(encoding="utf-8")
    assert "| theirs ‡ † |" in table and "‡ masks scored here" in table
    assert ",masks scored here," in (tmp_path / "board" / "table.csv").read_text(encoding="utf-8")
    assert r"theirs $\ddagger$" in (tmp_path / "board" / "table.tex").read_text(encoding="utf-8")


def test_rng_seeds_are_one_line_and_a_second_time_changes_nothing(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared
) -> None:
    board = tmp_path / "board"
    folders = [masks(f"s{seed}", lines=8 * seed + 8) for seed in range(3)]
    for seed, folder in enumerate(folders):
        submit(folder, replace(declared, rng_seed=seed), scenes, board)
    table = (board / "table.md").read_text(encoding="utf-8")
    assert "| 1 | theirs ‡ |" in table
    before = contents(board)
    again = submit(folders[1], replace(declared, rng_seed=1), scenes, board, at="later")
    assert not again.is_new and contents(board) == before
    with pytest.raises(UserError, match=r"--rng-seed: found 3, with the very masks of rng seed 0"):
        submit(folders[0], replace(declared, rng_seed=3), scenes, board)
    merge([str(board)], "runs", tmp_path / "other" / "board")
    assert contents(tmp_path / "other" / "board") == before


def test_other_masks_of_one_row_are_a_correction_or_refused(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared
) -> None:
    board, first, second = tmp_path / "board", masks("first", lines=2), masks("second", lines=9)
    submit(first, declared, scenes, board, at="2026-01-01")
    before = contents(board)
    with pytest.raises(UserError, match=r"found miou .*--correct REASON"):
        submit(second, declared, scenes, board, at="2026-01-02")
    dry = submit(second, declared, scenes, board, reason="wrong epoch", at="2026-01-02", dry_run=True)
    assert contents(board) == before and dry.is_new
    submit(second, declared, scenes, board, reason="wrong epoch", at="2026-01-02")
    log = [json.loads(line) for line in (board / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["at"], line["reason"]) for line in log] == [
        ("added", "2026-01-01", ""),
        ("corrected", "2026-01-02", "wrong epoch"),
    ]
    assert (board / "log.jsonl").read_bytes().startswith(before["log.jsonl"])
    assert len(list((board / "masks").iterdir())) == 2


def test_what_is_missing_is_named(tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared) -> None:
    (tmp_path / "empty").mkdir()
    partial = masks("partial")
    (partial / "val_00001.png").unlink()
    for folder, message in {
        tmp_path / "nowhere": "nowhere: found no folder",
        tmp_path / "empty": "empty: found no mask of 3 of the 3 photos of scenes/val: val_00000, val_00001, val_00002",
        partial: "partial: found no mask of 1 of the 3 photos of scenes/val: val_00001; expected one for each",
    }.items():
        with pytest.raises(UserError, match=message):
            submit(folder, declared, scenes, tmp_path / "board")
    odd = masks("odd")
    write_mask(odd / "val_00002.png", np.full((32, 32), 9, np.uint8))
    with pytest.raises(UserError, match=r"val_00002.png: found mask value 9; expected 0..2"):
        submit(odd, declared, scenes, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_undecided_pixels_belong_to_pseudo_labels(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared
) -> None:
    with pytest.raises(UserError, match="mask value 255"):
        submit(masks("undecided", value=255), declared, scenes, tmp_path / "board")
    labels = masks("labels", lines=8, value=255, split="train")
    row = submit(labels, replace(declared, stage="pseudo_labels"), scenes, tmp_path / "board").row
    assert (row.split, row.variant, row.coverage, row.miou_covered) == ("train", "", 0.75, 1.0)
    assert row.miou == score_split(labels, scenes, "train", void="background").miou


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": " "}, "--recipe: found nothing"),
        ({"supervision": ""}, "--supervision: found ''"),
        ({"supervision": "I,S"}, r"--supervision: found 'I,S'; expected letters joined by \+"),
        ({"variant": "mss"}, "--variant: found unknown variant 'mss'.*did you mean 'ss'"),
        ({"policy": "oracle"}, "--policy: found 'oracle'; expected fixed, held_out"),
        ({"policy": "held_out"}, "--masks-chosen: found 0 beside the policy held_out"),
        ({"masks_trained": 3}, "--masks-trained: found 3 beside the supervision I"),
        ({"supervision": "M"}, "--masks-trained: found 0 beside the supervision M"),
    ],
)
def test_what_contradicts_itself_is_refused(
    change: dict[str, object], message: str, tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared
) -> None:
    with pytest.raises(UserError, match=message):
        submit(tmp_path, replace(declared, **change), scenes, tmp_path / "board")


def test_stored_masks_give_the_row_again(tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared) -> None:
    board = tmp_path / "board"
    folder = masks("theirs", value=7)
    row = submit(folder, replace(declared, values={7: 0}), scenes, board).row
    (verified,) = verify("theirs", board, lambda _: scenes)
    assert verified.row == row and verified.differences == ()
    with pytest.raises(UserError, match=r"ROW: found unknown row 'their'.*did you mean 'theirs'"):
        verify("their", board, lambda _: scenes)
    stored = board / "masks" / row.masks_sha256[:16] / "val_00000.png"
    write_mask(stored, np.zeros((32, 32), np.uint8))
    with pytest.raises(UserError, match=rf"found masks with the sha256 .*expected {row.masks_sha256[:12]}…"):
        verify("theirs", board, lambda _: scenes)
    with pytest.raises(UserError, match="found masks with the sha256"):
        merge([str(board)], "runs", tmp_path / "other")


def test_other_true_masks_are_told_by_the_field(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(masks("theirs"), declared, scenes, tmp_path / "board")
    monkeypatch.setattr(Scenes, "read_mask", lambda *_: np.eye(32, dtype=np.uint8))
    (verified,) = verify("theirs", tmp_path / "board", lambda _: scenes)
    names = [difference.partition(":")[0] for difference in verified.differences]
    assert names[0] == "evaluation_fingerprint" and "miou" in names and "masks_sha256" not in names
    with pytest.raises(UserError, match="evaluation_fingerprint of val"):
        submit(masks("others", lines=7), replace(declared, rng_seed=1), scenes, tmp_path / "board")


def test_of_two_at_the_same_moment_both_are_added(
    tmp_path: Path, masks: Masks, scenes: Scenes, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = tmp_path / "board"
    submit(masks("first"), declared, scenes, board)
    read = read_shared

    def and_written_later(folder: Path) -> Shared:
        found = read(folder)
        time.sleep(0.3)
        return found

    monkeypatch.setattr("harness.leaderboards.submission.read_shared", and_written_later)
    fork = multiprocessing.get_context("fork")
    processes = []
    for name, lines in (("one", 16), ("other", 24)):
        said = replace(declared, recipe=name)
        processes.append(fork.Process(target=submit, args=(masks(name, lines), said, scenes, board)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [row.recipe for row in rows_in(board)] == ["one", "other", "theirs"]
    assert len(read_log(board / "log.jsonl")) == len(list((board / "masks").iterdir())) == 3
    assert not (board / ".lock").exists()


def test_a_lock_that_was_taken_away_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = tmp_path / "board"
    board.mkdir()
    (board / ".lock").touch()
    flock, waited = fcntl.flock, []

    def while_another_ends(file: TextIO, operation: int) -> None:
        flock(file, operation)
        waited.append(file.name)
        if len(waited) == 1:
            (board / ".lock").unlink()

    monkeypatch.setattr(fcntl, "flock", while_another_ends)
    with changing(board):
        assert len(waited) == 2 and (board / ".lock").exists()
    assert not board.exists()
