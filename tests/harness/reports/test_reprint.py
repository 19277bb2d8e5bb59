"""Tables of kept leaderboards, made anew from what lies in their folders."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from harness.reports.reprint import report_text, reprint
from results.parquet import read_table, write_table
from settings.errors import UserError

KEPT = Path(__file__).parents[3] / "results/leaderboards/voc12-animals-coattention-question"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "kept"))


def test_a_kept_leaderboard_gets_ranks_and_verdicts_and_keeps_its_head(folder: Path) -> None:
    before = (folder / "table.md").read_text(encoding="utf-8")
    table, *_ = reprint(folder).tables
    after = (folder / "table.md").read_text(encoding="utf-8")
    assert after.partition("\n## ")[0] == before.partition("\n## ")[0]
    assert table.columns[:2] == ("rank", "recipe")
    assert {section.title for section in table.sections} >= {"Planned comparisons, segmentation ss"}
    assert r"\begin{tabular}" in (folder / "table.tex").read_text(encoding="utf-8")
    assert "interval_low" in (folder / "table.csv").read_text(encoding="utf-8").splitlines()[0]


def test_again_it_is_the_same_text(folder: Path) -> None:
    reprint(folder)
    first = (folder / "table.md").read_bytes()
    reprint(folder)
    assert (folder / "table.md").read_bytes() == first


def test_counts_that_were_changed_are_refused_and_nothing_is_written(folder: Path) -> None:
    counts = read_table(folder / "counts.parquet")
    pixels = counts.column("pixels").to_numpy().copy()
    pixels[0] *= 2
    place = counts.schema.get_field_index("pixels")
    field = counts.schema.field(place)
    write_table(folder / "counts.parquet", counts.set_column(place, field, pa.array(pixels)))
    before = (folder / "table.md").read_bytes()
    with pytest.raises(UserError, match=r"counts\.parquet"):
        reprint(folder)
    assert (folder / "table.md").read_bytes() == before


@pytest.mark.parametrize(("name", "told"), [("missing", "no folder"), ("empty", r"no rows\.parquet")])
def test_what_is_no_leaderboard_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=told):
        reprint(tmp_path / name)


def test_latex_tables_have_intervals_unless_they_are_not_wanted(folder: Path) -> None:
    heads = []
    for intervals in (True, False):
        lines = report_text([folder], "latex", intervals).splitlines()
        head = lines[lines.index(r"\toprule") + 1].removesuffix(r" \\")
        # A long title stands on several lines.
        titles = (re.sub(r"\\shortstack\[\w\]\{(.*)\}", r"\1", title) for title in head.split(" & "))
        heads.append([title.replace(r" \\ ", " ") for title in titles])
    assert [title for title in heads[0] if title != r"95 \% interval"] == heads[1] != heads[0]
