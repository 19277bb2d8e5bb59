"""The oracle gap: the oracle's mIoU less the line's, of rows that agree in all but the policy."""

import pytest

from results.boards import boards
from results.lines import lines_of
from results.oracle_gap import OracleGaps
from results.rows import frame
from results.tables import tables
from tests.results.conftest import make_row as row

FIXED, BEST = (0.5, 0.6), (0.55, 0.75)


def rows(best: tuple[float, ...] = BEST) -> list:
    fixed = [row(rng_seed=seed, stage="maps", miou=miou) for seed, miou in enumerate(FIXED)]
    return fixed + [row(rng_seed=seed, stage="maps", miou=miou, policy="oracle") for seed, miou in enumerate(best)]


def test_the_mean_over_rng_seeds_stands_in_a_column_of_the_ranked_board_alone() -> None:
    fixed, oracle = tables(frame(rows()))
    assert fixed.lines[0][fixed.columns.index("oracle gap")] == "0.100"
    assert fixed.records[0]["oracle_gap"] == pytest.approx((0.05 + 0.15) / 2, abs=1e-15)
    assert any(note.startswith("oracle gap: what the best threshold") for note in fixed.notes)
    assert "oracle gap" not in oracle.columns and oracle.records[0]["oracle_gap"] is None


def test_without_the_oracle_of_each_rng_seed_there_is_no_gap() -> None:
    (fixed, _) = tables(frame(rows(best=BEST[:1])))
    assert "oracle gap" not in fixed.columns and fixed.records[0]["oracle_gap"] is None


def test_rows_of_other_masks_or_options_are_no_oracle() -> None:
    for other in ({"evaluation_fingerprint": "other"}, {"options": "other"}, {"setting": "web"}):
        best = [row(rng_seed=seed, stage="maps", policy="oracle", **other) for seed in range(2)]
        board = boards(rows()[:2])[0]
        assert OracleGaps.of(best).of_line(lines_of(board)[0]) is None
