"""From a line's numbers to the stored counts: the counts give the very numbers that the table shows."""

from pathlib import Path

import pytest

from harness.reports.trace import traced
from results.rows import read_rows
from settings.errors import UserError

KEPT = Path(__file__).parents[3] / "results/leaderboards/voc12-animals-fine-tuned"


def test_the_counts_of_a_line_give_its_numbers() -> None:
    rows = {row.stage: row for row in read_rows(KEPT / "rows.parquet") if row.recipe == "cam" and row.policy == "fixed"}
    found = {table.title.split(" · ")[2]: table for table in traced(KEPT, "cam@clean") if "fixed" in table.title}
    assert set(found) == {"maps", "pseudo labels"}
    for row in rows.values():
        table = found[row.stage.replace("_", " ")]
        assert [line[0] for line in table.lines] == list(row.classes)
        iou = [int(hits) / (int(predicted) + int(true) - int(hits)) for _, hits, predicted, true, _ in table.lines]
        assert sum(iou) / len(iou) == pytest.approx(row.miou, abs=1e-9)
        assert [float(line[-1]) for line in table.lines] == pytest.approx(iou, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "told"), [("camm", "did you mean 'cam'"), ("cam@web", "setting of cam"), ("", "unknown recipe")]
)
def test_a_line_that_is_not_there_is_one_line(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        list(traced(KEPT, name))
