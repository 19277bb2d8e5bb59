"""`seedbed compare` at the command line: Markdown, JSON and LaTeX; one line and exit code 2 for a mistake."""

import json
from pathlib import Path

import numpy as np
import pytest

from settings.masks import write_mask
from tests.harness.commands.test_main import seedbed

KEPT = Path(__file__).parents[3] / "results/leaderboards/voc12-animals-coattention-question"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: seedbed(monkeypatch, capsys, "compare", *arguments)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders of masks, `a` and `b`, and their `truth`."""
    for name, rows in (("truth", 6), ("a", 4), ("b", 2)):
        (tmp_path / name).mkdir()
        for n in range(6):
            mask = np.zeros((9, 10), np.uint8)
            mask[: rows + n % 3] = 1
            write_mask(tmp_path / name / f"{n}.png", mask)
    return tmp_path


def test_folders_of_masks_are_told_as_json_markdown_and_latex(command, folders: Path) -> None:
    masks = (folders / "a", folders / "b", "--truth", folders / "truth", "--classes", 2)
    ended = command(*masks, "--json")
    record = json.loads(ended.out)
    assert (ended.code, record["verdict"], record["images"], record["seeds_tested"]) == (0, "better", 6, False)
    assert "A is better than B" in command(*masks).out
    assert r"\begin{tabular}" in command(*masks, "--latex").out


def test_output_gets_the_texts_and_a_sheet(command, folders: Path) -> None:
    out = folders / "out"
    ended = command(folders / "a", folders / "b", "--truth", folders / "truth", "--classes", 2, "--output", out)
    assert ended.err == f"{out / 'sheet.png'}\n"
    assert {path.name for path in out.iterdir()} == {f"comparison.{e}" for e in ("json", "md", "tex")} | {"sheet.png"}


def test_recipes_of_a_kept_leaderboard_are_compared_in_both_directions(command) -> None:
    names = ("cam+saliency", "common+saliency")
    one, other = (json.loads(command(*pair, "--leaderboard", KEPT, "--json").out) for pair in (names, names[::-1]))
    assert one["mean"] == pytest.approx(-other["mean"])
    assert one["p"] == pytest.approx(other["p"])
    assert one["rng_seeds"] == other["rng_seeds"] > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cam"], "Missing argument"),
        (["a", "b", "--classes", "3"], "--classes: found no --truth"),
        (["a", "b", "--truth", "t", "--classes", "3", "--suite", "smoke"], "--suite: found --truth beside it"),
        (["a", "b", "--truth", "t"], "--classes"),
        (["a", "b", "--truth", "t", "--classes", "3"], "t: found no folder"),
        (["a", "b", "--truth", "t", "--classes", "3", "--photos", "p"], "--photos: found no --output"),
        (["a", "b", "--json", "--latex"], "--latex: found --json beside it"),
        (["a", "b", "--leaderboard", "nowhere"], "no rows.parquet"),
        (["a", "b", "--leaderboard", str(KEPT), "--suite", "smoke"], "--suite: found --leaderboard beside it"),
        (["common+salience", "cam", "--leaderboard", str(KEPT)], "did you mean 'common+saliency'?"),
        (["cam", "coattention", "--store", "nowhere"], "nowhere: found no store"),
        (["cam", "coattention", "--suite", "smoke", "--store", "nowhere"], "no row of suite smoke"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("seedbed: ") and ended.err.count("\n") == 1
    assert words in ended.err
    assert list(tmp_path.iterdir()) == []
