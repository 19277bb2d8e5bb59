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


def test_behind_several_rng_seeds_stands_what_the_board_shows() -> None:
    folder = KEPT.with_name("voc12-animals-coattention-question")
    rows = [r for r in read_rows(folder / "rows.parquet") if (r.recipe, r.stage) == ("affinity", "segmentation")]
    *of_seeds, mean = [table for table in traced(folder, "affinity@clean") if "segmentation" in table.title]
    assert len(of_seeds) == len(rows) == 3 and mean.title.endswith("mean over rng seeds")
    # As table.md of the folder has it.
    assert mean.notes[0].startswith("mIoU 0.485") and "± 0.010" in mean.notes[0]
    assert [float(text) for _, text in mean.lines] == pytest.approx(
        [sum(iou) / 3 for iou in zip(*(row.per_class for row in rows), strict=True)], abs=1e-6
    )


@pytest.mark.parametrize(
    ("name", "told"), [("camm", "did you mean 'cam'"), ("cam@web", "setting of cam"), ("", "unknown recipe")]
)
def test_a_line_that_is_not_there_is_one_line(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        list(traced(KEPT, name))
