"""Merging: each row once, the same in any order, and what cannot stand together is refused by its field."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.leaderboards.merging import merge
from harness.reports.leaderboard import run_and_gather
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.leaderboards.conftest import contents, rows_in

Board = Callable[..., Path]


def merged(output: Path, *folders: Path, reason: str = "", at: str = "") -> Path:
    merge([str(folder) for folder in folders], "runs", output, reason, at)
    return output


def test_in_any_order_and_twice_it_is_the_same_to_the_last_byte(tmp_path: Path, board: Board) -> None:
    a = board("a", ({"rng_seed": 0}, 5), ({"rng_seed": 1, "seconds": 3.0}, 6))
    # The same measurement, which took another machine longer.
    b = board("b", ({"rng_seed": 1, "seconds": 9.0}, 6), ({"rng_seed": 2}, 7))
    one, two = merged(tmp_path / "x/board", a, b), merged(tmp_path / "y/board", b, a)
    before = contents(one)
    assert before == contents(two)
    assert [(row.rng_seed, row.seconds) for row in rows_in(one)] == [(0, 0.0), (1, 3.0), (2, 0.0)]
    assert contents(merged(one, a)) == before and contents(merged(one, b, a)) == before
    # Seeds of one entry are one line, and three of them have a rank.
    table = (one / "table.md").read_text(encoding="utf-8")
    assert "| 1 | cam |" in table and table.count("| cam |") == 2  # once more by class
    assert contents(merged(tmp_path / "z/board", one)) == before


def test_figure_and_page_are_the_same_too(tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    a, b = board("a", ({"rng_seed": 0}, 5)), board("b", ({"rng_seed": 1}, 6))
    one, two = merged(tmp_path / "one", a, b), merged(tmp_path / "another", b, a)
    assert contents(one) == contents(two)
    assert {"report.html", "table.png", "table.svg", "table.tex"} < contents(one).keys()


def test_of_a_hole_and_a_result_the_result_stays(tmp_path: Path, board: Board) -> None:
    a = board("a", ({"rng_seed": 0}, 5))
    hole = {"status": "failed", "reason": "killed", "miou": None, "counts": "", "evaluation_fingerprint": ""}
    b = board("b", ({"rng_seed": 0, **hole}, 5), ({"rng_seed": 1}, 5))
    for order in ((a, b), (b, a)):
        rows = rows_in(merged(tmp_path / order[0].name / "board", *order))
        assert [(row.rng_seed, row.status) for row in rows] == [(0, "ok"), (1, "ok")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "voc12"}, r"found dataset voc12 \(cam, clean, rng seed 1.*expected scenes, as in .*a "),
        ({"protocol_version": 2}, "found protocol_version 2"),
        ({"evaluation_fingerprint": "w" * 64}, "found evaluation_fingerprint of val w{12}… .*expected v{12}…"),
        ({"classes": ["background", "dot"]}, "found classes"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused_by_the_field(
    change: dict[str, object], message: str, tmp_path: Path, board: Board
) -> None:
    a, b = board("a", ({}, 5)), board("b", ({"rng_seed": 1, **change}, 5))
    with pytest.raises(UserError, match=message):
        merged(tmp_path / "board", a, b)
    assert not (tmp_path / "board").exists()


def test_two_results_of_one_row_are_refused_or_one_is_a_correction(tmp_path: Path, board: Board) -> None:
    a, b = board("a", ({}, 5), ({"rng_seed": 1}, 5)), board("b", ({}, 8))
    output = merged(tmp_path / "board", a)
    with pytest.raises(UserError, match=r"found miou .* of cam, clean, rng seed 0.*--correct REASON"):
        merged(output, b)
    merged(output, b, reason="a bug in the labels", at="2026-01-01T00:00:00+00:00")
    log = [json.loads(line) for line in (output / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["rng_seed"]) for line in log] == [("added", 0), ("added", 1), ("corrected", 0)]
    assert log[2]["reason"] == "a bug in the labels" and log[2]["replaces"][0] == log[0]["miou"]
    assert [row.miou for row in rows_in(output)] == [log[2]["miou"], log[1]["miou"]]
    # Whoever merges the old result later meets the correction, and so does who has corrected nothing himself.
    before = contents(output)
    assert contents(merged(output, a)) == before
    assert rows_in(merged(tmp_path / "other", a, output)) == rows_in(output)


def test_rows_that_were_changed_behind_the_log_are_refused(tmp_path: Path, board: Board) -> None:
    output = merged(tmp_path / "board", board("a", ({}, 5)))
    forged = board("forged", ({}, 9))
    for name in ("rows.parquet", "counts.parquet"):
        (output / name).write_bytes((forged / name).read_bytes())
    with pytest.raises(UserError, match=r"rows.parquet: found mIoU .*as log.jsonl has them; was a file changed"):
        merged(tmp_path / "other", output)


def test_what_a_run_writes_anew_takes_no_rows(tmp_path: Path, board: Board) -> None:
    a = board("a", ({}, 5))
    (a / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"--output: found .*which a run writes anew"):
        merged(a, board("b", ({"rng_seed": 1}, 5)))


def test_a_run_writes_into_no_leaderboard_that_rows_were_added_to(tmp_path: Path, board: Board) -> None:
    output = merged(tmp_path / "board", board("a", ({}, 5)))
    before = contents(output)
    with pytest.raises(UserError, match=r"--output: found .*a leaderboard that rows were added to"):
        run_and_gather(load_suite("smoke"), tmp_path / "store", "serial", output)
    assert contents(output) == before
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"event": "added"}'])
def test_a_damaged_log_is_named_by_its_line(line: str, tmp_path: Path, board: Board) -> None:
    output = merged(tmp_path / "board", board("a", ({}, 5)))
    with (output / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")
    with pytest.raises(UserError, match=r"log.jsonl:2: found no line of a log"):
        merged(tmp_path / "other", output)
