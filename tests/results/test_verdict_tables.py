"""Tables with ranks, intervals and comparisons; LaTeX."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.verdicts import confusions
from results.counted import ImageSums
from results.rows import Row, frame
from results.shown import Table
from results.tables import tables


def made(row: Callable[..., Row], **fields: object) -> Table:
    """`cam` and `twin`, which are equal, `worse`, `single` with one rng seed, and a ceiling."""
    good, bad = confusions(np.random.default_rng(0), 3, 0.003, 0.2)
    rows, counts = [], {}
    for recipe, own, miou, seeds, supervision in (
        ("full-supervision", good, 0.9, 3, "M"),
        ("cam", good, 0.8, 3, "I"),
        ("twin", good, 0.8, 3, "I"),
        ("worse", bad, 0.6, 3, "I"),
        ("single", bad, 0.5, 1, "I"),
    ):
        for seed in range(seeds):
            rows.append(row(recipe=recipe, rng_seed=seed, miou=miou, supervision=supervision, **fields))
            images = tuple(f"{n:03}" for n in range(own.shape[1]))
            hits = np.diagonal(own[seed], axis1=1, axis2=2)
            counts[rows[-1].identity] = ImageSums(
                images, hits, own[seed].sum(axis=1), own[seed].sum(axis=2), own[seed].sum(axis=0)
            )
    (found,) = tables(frame(rows), counts=lambda own: counts.get(own.identity))
    return found


@pytest.fixture
def table(row: Callable[..., Row]) -> Table:
    return made(row)


def column(table: Table, name: str) -> list[str]:
    return [line[table.columns.index(name)] for line in table.lines]


def test_ranks_are_shared_and_only_ranked_lines_have_one(table: Table) -> None:
    assert column(table, "recipe") == ["full-supervision †", "cam", "twin", "worse", "single †"]
    assert column(table, "rank") == ["–", "1=", "1=", "3", "–"]


def test_the_interval_stands_beside_the_mean_and_the_difference_beside_it(table: Table) -> None:
    place = table.columns.index("95 % interval")
    assert table.columns[place + 1] == "Δ"
    assert all(text.startswith("[0.") for text in column(table, "95 % interval"))
    none, cam, twin, worse, single = column(table, "Δ")
    assert (none, cam, twin) == ("–", "–", "+0.000 not separated")
    assert worse.startswith("-0.") and worse.endswith(" worse")
    assert "° " in single


def test_what_the_columns_say_is_told(table: Table) -> None:
    text = "\n".join(table.notes)
    for told in (
        "over rng seeds and 120 photos",
        "Δ: to cam",
        "Holm",
        "° one rng seed",
        "resolution: ",
        "67% of pairs",
    ):
        assert told in text


def test_places_and_planned_comparisons_stand_below(table: Table) -> None:
    ranks, compared, _by_class = table.sections
    assert ranks.lines[0][:3] == ("cam", "1=", "1–2")
    assert ranks.lines[2][:3] == ("worse", "3", "3–3")
    assert [line[:2] for line in compared.lines] == [("twin", "cam"), ("worse", "cam"), ("single", "cam")]
    assert [line[-1] for line in compared.lines] == ["3", "3", "1"]


def test_numbers_are_in_the_csv(table: Table) -> None:
    by_recipe = {record["recipe"]: record for record in table.records}
    worse = by_recipe["worse"]
    assert (worse["rank"], worse["place_from"], worse["place_to"], worse["verdict"]) == (3, 3, 3, "worse")
    assert worse["difference_low"] < worse["difference"] < worse["difference_high"] < 0
    assert worse["against"] == "cam"
    assert by_recipe["full-supervision"]["rank"] is None
    assert by_recipe["full-supervision"]["interval_low"] is not None


def test_without_counts_there_are_no_verdicts(row: Callable[..., Row]) -> None:
    (plain,) = tables(frame([row(rng_seed=s) for s in range(3)]))
    assert "rank" not in plain.columns
    assert "95 % interval" not in plain.columns
    assert plain.bold is None


def test_latex_has_the_best_and_its_ties_in_bold(table: Table) -> None:
    lines = table.to_latex().splitlines()
    bold = [line.split(" & ")[1] for line in lines if r"\textbf" in line]
    assert bold == ["cam", "twin"]
    (caption,) = [line for line in lines if line.startswith(r"\caption")]
    assert "policy fixed" in caption
    assert "voc/1" in caption
    assert "rng seeds" in "\n".join(lines)
    assert all(line.count(" & ") == len(table.columns) - 1 for line in lines if line.endswith(r" \\"))


def test_latex_without_intervals(table: Table) -> None:
    text = table.to_latex(without=("95 % interval",))
    assert "interval" not in "\n".join(line for line in text.splitlines() if not line.startswith("%"))


def test_latex_escapes_what_means_something_to_it() -> None:
    shown = Table(r"50% & $x_1$ {a} #~^\ ", ("recipe", "mIoU"), (("a_b", "0.5 ± 0.1"),))
    text = shown.to_latex()
    assert r"50\% \& \$x\_1\$ \{a\} \#\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    assert r"a\_b & 0.5 $\pm$ 0.1 \\" in text


def test_latex_is_bold_where_undecided_pixels_make_two_scores(row: Callable[..., Row]) -> None:
    shown = made(row, stage="pseudo_labels", coverage=0.9, miou_covered=0.8)
    assert "pseudo labels (255 = background)" in shown.columns
    bold = [line.split(" & ")[1] for line in shown.to_latex().splitlines() if r"\textbf" in line]
    assert bold == ["cam", "twin"]
