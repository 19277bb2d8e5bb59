"""Tables as they are shown."""

import csv
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

from rich.console import Console

from results.rows import Row, frame
from results.shown import Table
from results.tables import tables


def a_table(row: Callable[..., Row]) -> Table:
    plain = {"recipe": "cam|x", "seconds": 2.0, "masks_chosen": 20, "label_hours": 1.25, "undefined": ["disc"]}
    rows = [row(rng_seed=s, miou=m, per_class=[m, None], **plain) for s, m in enumerate([0.4, 0.5, 0.6])]
    rows += [row(recipe="irn", rng_seed=s, miou=0.25) for s in range(2)]
    rows += [row(recipe="irn", stage="segmentation", rng_seed=0, miou=0.7, stale=["deeplab"])]
    rows += [row(recipe="irn", stage="segmentation", rng_seed=1, status="failed", reason="non-finite loss")]
    (table,) = tables(frame(rows))
    return table


def test_markdown(row: Callable[..., Row]) -> None:
    assert (
        a_table(row).to_markdown()
        == r"""## scenes · I · frozen · policy fixed · voc/1

all rows: setting clean

| recipe | maps | segmentation ss | rng seeds | masks (choose+train) | label hours | seconds |
| --- | --- | --- | --- | --- | --- | --- |
| cam\|x | 0.500 ± 0.100 [1] | – | 3 | 20+0 | 1.2 | 2.0 |
| irn † [2] | 0.250 ± 0.000 | ✗ [3] | 2 | 0+0 | 0.0 | 0.0 |

- I: trained on image-level labels; frozen: heads alone are trained, on stored features of the backbone; \
fixed: options were declared before the run; voc/1: mIoU of one confusion over all photos, background among the classes
- mIoU, mean ± standard deviation over rng seeds; maps on train (tttttttttttt); segmentation on val (vvvvvvvvvvvv)
- segmentation: ss one scale
- masks (choose+train): true masks that options were chosen on, in the run or before it, and that were trained on
- label hours: annotators' work, estimated at 1 s a class and photo, 239.7 s a mask (Bearman et al. 2016)
- † not ranked: fewer than 3 rng seeds
- [1] undefined, left out of the mean: disc
- [2] made by other sources than today's: deeplab
- [3] rng seed 1: non-finite loss

### IoU by class

| recipe | scored | background | disc |
| --- | --- | --- | --- |
| cam\|x | maps | 0.500 | – |
| irn | maps | 0.750 | 0.250 |""".replace("\\\n", "")
    )


def test_csv_holds_unrounded_numbers_and_no_mean_of_a_hole(row: Callable[..., Row]) -> None:
    (table,) = tables(frame([row(rng_seed=s, miou=m) for s, m in enumerate([0.1, 0.2, 0.4])]))
    (record,) = csv.DictReader(StringIO(table.to_csv()))
    assert float(record["miou"]) == (0.1 + 0.2 + 0.4) / 3
    assert record["ranked"] == "True" and record["rng_seeds"] == "3"
    holes = [r for r in csv.DictReader(StringIO(a_table(row).to_csv())) if r["holes"]]
    assert [(r["stage"], r["miou"], r["miou_std"], r["holes"]) for r in holes] == [
        ("segmentation", "", "", "rng seed 1: non-finite loss")
    ]


def test_the_terminal_shows_the_same_texts(row: Callable[..., Row]) -> None:
    console = Console(width=200, record=True, file=StringIO())
    console.print(a_table(row).to_rich())
    shown = console.export_text()
    assert all(text in shown for line in a_table(row).lines for text in line)
    assert "[3] rng seed 1: non-finite loss" in shown


def test_policies_that_are_not_ranked_come_last_and_are_marked(row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=s, policy=policy) for policy in ("oracle", "fixed") for s in range(3)]
    fixed, oracle = tables(frame(rows))
    assert fixed.lines[0][0] == "cam" and oracle.lines[0][0] == "cam †"
    assert "† not ranked: policy oracle" in oracle.notes


def test_no_rows_no_tables() -> None:
    assert tables(frame([])) == []
    assert Table("empty", ("a",), ()).to_csv() == "\n"


def test_pseudo_labels_have_both_scores_coverage_and_precision(row: Callable[..., Row]) -> None:
    label = {"stage": "pseudo_labels", "coverage": 0.75, "precision": 0.875}
    rows = [row(rng_seed=s, miou=m, miou_covered=m + 0.25, **label) for s, m in enumerate([0.4, 0.5, 0.6])]
    rows += [row(recipe="old", rng_seed=s, miou=0.25, **label) for s in range(3)]
    rows += [row(recipe="irn", stage="pseudo_labels", status="failed", reason="killed")]
    (table,) = tables(frame(rows))
    assert table.columns[1:5] == ("pseudo labels (255 = background)", "covered only", "coverage", "precision")
    assert [line[:5] for line in table.lines] == [
        ("cam", "0.500 ± 0.100", "0.750 ± 0.100", "0.750 ± 0.000", "0.875 ± 0.000"),
        ("old", "0.250 ± 0.000", "–", "0.750 ± 0.000", "0.875 ± 0.000"),
        ("irn †", *["✗ [1]"] * 4),
    ]
    told = [note.split(":")[0] for note in table.notes[2:6]]
    assert told == ["pseudo labels (255 = background)", "covered only", "coverage", "precision"]
    record = next(csv.DictReader(StringIO(table.to_csv())))
    assert [float(record[name]) for name in ("miou", "miou_covered", "coverage", "precision")] == [
        0.5,
        0.75,
        0.75,
        0.875,
    ]


def test_one_measurement_is_not_taken_for_two(row: Callable[..., Row]) -> None:
    """Of another line it is another one that came out the same, as where networks say background everywhere."""
    rows = [row(rng_seed=s, stage=g, counts=str(s)) for s in range(3) for g in ("maps", "pseudo_labels")]
    rows += [row(rng_seed=s, recipe="irn", miou=0.4, counts=str(s)) for s in range(3)]
    (table,) = tables(frame(rows))
    assert table.lines[0][1:3] == ("0.500 ± 0.000", "0.500 ± 0.000 [1]")
    assert table.lines[1][1] == "0.400 ± 0.000 [2]"
    assert "[1] the same counts as maps: one measurement, not two" in table.notes
    assert "[2] the same counts as maps of cam, setting clean" in table.notes
    assert [record["same_counts_as"] for record in table.records] == ["", "maps", "maps of cam, setting clean"]


def test_masks_behind_declared_options_are_told(row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=s, masks_chosen=128, masks_declared=128) for s in range(3)]
    rows += [row(recipe="all-background", rng_seed=s, miou=0.1) for s in range(3)]
    (table,) = tables(frame(rows))
    assert [line[-2] for line in table.lines] == ["128+0", "0+0"]
    note = "; 128 of the former before it, to choose the options that the suite declares"
    assert [told.endswith(note) for told in table.notes if told.startswith("masks")] == [True]
    assert [(record["masks_chosen"], record["masks_declared"]) for record in table.records] == [(128, 128), (0, 0)]


def test_two_option_sets_are_two_lines_in_every_part_of_a_table(row: Callable[..., Row]) -> None:
    (table,) = tables(frame([row(options=o, miou=m) for o, m in (("1a", 0.5), ("2b", 0.25))]))
    names = ["cam (options 1a)", "cam (options 2b)"]
    assert [line[0] for line in table.lines] == [f"{name} †" for name in names]
    assert [line[0] for line in table.sections[0].lines] == names
    assert [(record["recipe"], record["options"]) for record in table.records] == [("cam", "1a"), ("cam", "2b")]


def test_a_ceiling_is_shown_and_never_ranked(row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=s) for s in range(3)]
    rows += [row(recipe="full-supervision", supervision="M", masks_trained=9, rng_seed=s, miou=0.9) for s in range(3)]
    (table,) = tables(frame(rows))
    assert [line[0] for line in table.lines] == ["full-supervision †", "cam"]
    assert [(r["recipe"], r["ranked"]) for r in table.records] == [("full-supervision", False), ("cam", True)]
    assert "† not ranked: a ceiling, given true masks" in table.notes


def test_what_was_done_to_extra_photos_is_told_once_a_setting(row: Callable[..., Row]) -> None:
    extra = {"setting": "web", "extra_photos": 90, "extra_dropped": 4, "extra_filtered": 6, "filter": "classifier"}
    rows = [row(rng_seed=s, recipe=r, **extra, without_extra=["disc"]) for s in range(3) for r in ("cam", "irn")]
    (table,) = tables(frame([*rows, *(row(rng_seed=s) for s in range(3))]))
    told = [note for note in table.notes if note.startswith("setting")]
    assert told == [
        "setting web: 90 extra photos, 4 dropped by the audit, 6 by the filter classifier, none of disc; not in stage 2"
    ]
    record = next(r for r in csv.DictReader(StringIO(table.to_csv())) if r["setting"] == "web")
    assert (record["extra_photos"], record["extra_filtered"], record["filter"]) == ("90", "6", "classifier")


def test_what_all_lines_have_in_common_stands_under_the_title(row: Callable[..., Row]) -> None:
    """A floor reads no backbone and trains nothing: what the others agree in is told of those that have it."""
    trained = {"backbone": "vgg16", "backbone_size": 320, "threshold": 0.3, "localizer_epochs": 8}
    rows = [row(recipe=r, miou=m, **trained) for r, m in (("cam", 0.5), ("irn", 0.4))]
    (table,) = tables(frame([*rows, row(recipe="all-background", miou=0.1)]))
    common = "setting clean, rng seeds 1, masks (choose+train) 0+0, label hours 0.0"
    of_some = "backbone vgg16 at 320 px, localizer epochs 8, threshold 0.3"
    assert table.common == f"all rows: {common}; all rows that have one: {of_some}"
    assert table.columns == ("recipe", "maps", "seconds")
    assert f"\n\n{table.common}\n\n| recipe" in table.to_markdown()


def test_what_lines_differ_in_has_a_column(row: Callable[..., Row]) -> None:
    rows = [row(recipe="cam", rng_seed=s, miou=0.5, threshold=t, localizer_epochs=8) for s, t in ((0, 0.62), (1, 0.6))]
    rows += [row(recipe="coattention", setting="web", miou=0.4, threshold=0.93, localizer_epochs=5, backbone="vgg16")]
    rows += [row(recipe="all-background", miou=0.1)]
    (table,) = tables(frame(rows))
    assert table.columns == ("recipe", "setting", "maps", "localizer epochs", "threshold", "rng seeds", "seconds")
    assert [line[1:6] for line in table.lines] == [
        ("clean", "0.500 ± 0.000", "8", "0.6–0.62", "2"),
        ("web", "0.400", "5", "0.93", "1"),
        ("clean", "0.100", "–", "–", "1"),
    ]


def test_photos_that_could_not_be_scored_are_told(row: Callable[..., Row]) -> None:
    rows = [row(photos=14, photos_of_split=31), row(stage="segmentation", photos=20, photos_of_split=20)]
    (table,) = tables(frame(rows))
    told = "maps on 14 of 31 photos of train (tttttttttttt); segmentation on 20 photos of val (vvvvvvvvvvvv)"
    assert any(note.endswith(told) for note in table.notes)
    assert [(r["photos"], r["photos_of_split"]) for r in table.records] == [(14, 31), (20, 20)]


def test_maps_that_are_the_counts_of_their_pseudo_labels_have_no_column(row: Callable[..., Row]) -> None:
    """Nor have coverage, and the mIoU of decided pixels, where nothing is undecided; the CSV has all of it."""
    label = {"stage": "pseudo_labels", "miou_covered": 0.5, "coverage": 1.0, "precision": 0.7}
    rows = [row(counts="a"), row(counts="a", **label), row(recipe="irn", counts="b", miou=0.25, stage="refined")]
    rows += [row(recipe="irn", counts="b", miou=0.25, **(label | {"miou_covered": 0.25}))]
    rows += [row(recipe="pamr", counts="a", stage="segmentation", miou=0.5)]
    (table,) = tables(frame(rows))
    assert table.columns == ("recipe", "pseudo labels", "precision", "segmentation ss", "seconds")
    assert [line[:3] for line in table.lines[:2]] == [("cam †", "0.500", "0.700"), ("irn †", "0.250", "0.700")]
    assert table.lines[2][3] == "0.500 [1]"
    assert "[1] the same counts as pseudo labels of cam, setting clean" in table.notes
    assert (
        "maps, refined: in each line the same counts as its pseudo labels, hence no column of their own" in table.notes
    )
    assert len([note for note in table.notes if "coverage" in note]) == 1
    assert [record["stage"] for record in table.records] == [
        *("maps", "pseudo_labels", "refined", "pseudo_labels", "segmentation")
    ]


def test_what_was_made_elsewhere_is_marked_and_what_was_published_has_no_rank(row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=seed, stage="segmentation", options="o") for seed in range(3)]
    rows += [replace(each, tier="scored", options="s", miou=0.6) for each in rows]
    rows += [replace(rows[0], tier="published", options="p", miou=0.7, evaluation_fingerprint="")]
    (table,) = tables(frame(rows))
    assert [line[table.columns.index("recipe")] for line in table.lines] == [
        "cam (published) § †",
        "cam (masks scored here) ‡",
        "cam",
    ]
    assert [(record["tier"], record["ranked"]) for record in table.records] == [
        ("published", False),
        ("masks scored here", True),
        ("recomputed here", True),
    ]
    notes = " ".join(table.notes)
    assert "† not ranked: published" in notes and "‡ masks scored here" in notes and "§ published: copied" in notes
    assert r"cam (masks scored here) $\ddagger$" in table.to_latex() and r"\S{}" in table.to_latex()
