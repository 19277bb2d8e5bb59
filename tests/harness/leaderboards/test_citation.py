"""Published numbers: they stand beside the others, have no rank, and name their source."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.leaderboards.citation import cite
from harness.leaderboards.merging import merge
from harness.leaderboards.submission import Declared
from settings.errors import UserError
from tests.harness.leaderboards.conftest import rows_in

THEIRS = Declared(recipe="theirs", supervision="I", training_mode="frozen", source="a paper, table 1")


@pytest.fixture
def output(tmp_path: Path, board: Callable[..., Path]) -> Path:
    folder = board("a", *(({"rng_seed": seed}, 5) for seed in range(3)))
    merge([str(folder)], "runs", tmp_path / "board")
    return tmp_path / "board"


def test_it_stands_on_the_board_without_a_rank(output: Path) -> None:
    row, tables = cite(THEIRS, 0.704, output)
    assert row in rows_in(output) and json.loads(row.provenance) == {"source": "a paper, table 1"}
    (table,) = tables
    lines = {line[1]: line[0] for line in table.lines}
    assert lines == {"theirs § †": "–", "cam": "1"}
    # Whose masks nobody knows is in nobody's way.
    merge([str(output)], "runs", output)
    with pytest.raises(UserError, match=r"found miou 0\.704 .*expected 0\.6"):
        cite(THEIRS, 0.6, output)
    cite(THEIRS, 0.6, output, reason="a misprint", at="2026-01-01")
    assert [row.miou for row in rows_in(output) if row.tier == "published"] == [0.6]


@pytest.mark.parametrize(
    ("change", "miou", "message"),
    [
        ({"source": " "}, 0.5, "--source: found nothing"),
        ({}, 70.4, r"--miou: found 70.4; expected 0..1; 70.4 % is 0.704"),
        ({"supervision": "?"}, 0.5, "--supervision"),
    ],
)
def test_what_is_refused(change: dict[str, str], miou: float, message: str, output: Path) -> None:
    with pytest.raises(UserError, match=message):
        cite(replace(THEIRS, **change), miou, output)


def test_a_leaderboard_without_rows_tells_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which has no row"):
        cite(THEIRS, 0.5, tmp_path)
