"""The page's text: what stands where, that all that users write is text, and that nothing is fetched."""

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from results.lines import Column
from results.lines import Line as Made
from results.page import Picture, Shown, render
from results.page.content import _lines, board_of, provenance_of
from results.page.help import help_of
from results.page.steps import Step
from results.rows import OptionSet, Row
from results.shown import Further, Table

KEPT = Path(__file__).parents[3] / "results/leaderboards"
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def two(row: Callable[..., Row]) -> list[Row]:
    """Two recipes under two settings, three rng seeds, two stages."""
    return [
        row(recipe=recipe, setting=setting, rng_seed=seed, stage=stage, miou=miou + more)
        for recipe, miou in (("cam", 0.4), ("irn", 0.5))
        for setting, more in (("clean", 0.0), ("web", 0.1))
        for stage in ("maps", "segmentation")
        for seed in range(3)
    ]


def test_what_users_write_is_text(row: Callable[..., Row], shown: Callable[..., Shown]) -> None:
    rows = [
        row(recipe=EVIL, setting=EVIL, classes=["background", EVIL]),
        row(recipe="b", setting=EVIL, status="failed", reason=EVIL),
        row(recipe="c", setting='"><img src=x>', stale=[EVIL], provenance='{"<b>": "<i>"}'),
    ]
    picture = Picture(EVIL, "data:image/webp;base64,AA", 1, 1)
    page = Page(render([shown(rows, name=EVIL, description=EVIL, notes=(EVIL,), pictures=(picture,), folder=EVIL)]))
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 1
    assert not page.all("b") and not page.all("i")
    assert page.text.count(EVIL) > 8


def test_nothing_is_fetched_and_ids_are_unique(two: list[Row], shown: Callable[..., Shown]) -> None:
    page = Page(render([shown(two), shown(two, name="other")]))
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            link = attributes.get(name)
            assert link is None or link.startswith(("data:", "#")), (tag, link)
    ids = [
        attributes["id"] for tag, attributes in page.elements if "id" in attributes and tag in ("section", "li", "h1")
    ]
    assert len(set(ids)) == len(ids)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= targets


@pytest.mark.usefixtures("no_figures")
def test_the_exports_are_the_tables(two: list[Row], shown: Callable[..., Shown]) -> None:
    board = shown(two)
    links = {link["download"]: str(link["href"]) for link in Page(render([board])).all("a") if "download" in link}
    for name, text in (("mine-1.csv", board.tables[0].to_csv()), ("mine-1.tex", board.tables[0].to_latex() + "\n")):
        assert base64.b64decode(unquote(links[name]).partition(",")[2]).decode() == text


def test_the_command_of_a_line_makes_it_alone(two: list[Row], shown: Callable[..., Shown]) -> None:
    board = shown(two, notes=("--set recipes.cam.localizer.epochs=4", "setting web: 3 extra photos"))
    commands = [line.command for line in board_of(board.tables[0], board).lines]
    assert commands[0] == (
        "seedbed run mine --set recipes.cam.localizer.epochs=4 "
        "--set 'recipes_of.web=[\"irn\"]' --set settings.clean=null"
    )


def test_the_command_of_a_difference_names_the_very_rows() -> None:
    record = {"recipe": "irn", "setting": "web", "options": "", "policy": "fixed", "against": "cam"}
    made_of = (
        Made("irn", OptionSet("irn", "", 0, ""), "web", {}, ()),
        Made("cam", OptionSet("cam", "", 0, ""), "web", {}, ()),
    )
    table = Table(
        "board", ("recipe",), (("irn",), ("cam",)), (), (record | {"miou": None, "stage": "segmentation"},),
        leading=Column("segmentation", "ss"), made_of=made_of,
    )  # fmt: skip
    irn, cam = _lines(table, Shown("mine", "", (), (table,), (), folder="the runs"), ())
    words = "--setting web --stage segmentation --variant ss --policy fixed"
    assert (irn.compare, cam.compare) == (f"seedbed compare irn cam --leaderboard 'the runs' {words}", "")


def test_heat_map_and_steps(two: list[Row], shown: Callable[..., Shown]) -> None:
    board = board_of(shown(two).tables[0], shown(two))
    settings, by_class = board.by_setting, board.by_class
    assert settings is not None and by_class is not None
    assert settings.columns == ("web", "clean")
    assert [(name, [cell.text for cell in cells]) for name, cells in settings.rows] == [
        ("irn", ["0.600", "0.500"]),
        ("cam", ["0.500", "0.400"]),
    ]
    assert [cell.share for _, cells in settings.rows for cell in cells] == pytest.approx([1, 0.5, 0.5, 0])
    assert by_class.columns == ("background", "disc")
    assert board.steps is not None
    assert board.steps.columns == ("maps", "segmentation ss")
    assert board.steps.rows[0] == ("irn · web", (Step(0.6, None), Step(0.6, 0.0)))
    assert [step.told for step in board.steps.rows[0][1]] == ["", "±0.000"]


def test_lines_know_which_others_they_are_separated_from(
    shown: Callable[..., Shown], row: Callable[..., Row], line: Callable[[str], Made]
) -> None:
    cells = (("1", "a"), ("2=", "b †"), ("2=", "c [1]"))
    made_of = tuple(map(line, "abc"))
    table = Table("t", ("rank", "recipe"), cells, made_of=made_of, apart=frozenset({(0, 1), (0, 2)}))
    lines = board_of(table, shown([row()])).lines
    # A bit for each line: the second and third, and twice the first.
    assert [line.apart for line in lines] == ["6", "1", "1"]
    assert lines[2].cells[1] == ("c", ("1",))


@pytest.mark.usefixtures("no_figures")
def test_holes_have_their_reasons(row: Callable[..., Row], shown: Callable[..., Shown]) -> None:
    text = Page(render([shown([row(), row(recipe="irn", status="failed", reason="out of memory")])])).text
    assert "irn, clean, rng seed 0, maps , policy fixed: out of memory" in text


@pytest.mark.usefixtures("no_figures")
def test_notes_are_apart_from_what_is_stale(row: Callable[..., Row], shown: Callable[..., Shown]) -> None:
    rows = [
        row(recipe="old", stale=["methods.localizers.cam"]),
        row(recipe="lost", miou=None, status="failed", reason="no memory"),
    ]
    found = shown(rows)
    board = board_of(found.tables[0], found)
    assert {line.cells[0][0]: line.is_stale for line in board.lines} == {"old †": True, "lost †": False}
    ((_, told),), ((_, stale),) = board.marks, board.stale
    assert "no memory" in told and stale == "made by other sources than today's: methods.localizers.cam"
    # What the title means stands under it, and not among the notes once more.
    assert found.tables[0].explained and not set(found.tables[0].explained) & set(board.notes)
    text = Page(render([found])).text
    assert "(1 of 2)" in text and "[1] methods.localizers.cam" in re.sub(r"\[2\]", "[1]", text)


@pytest.mark.usefixtures("no_figures")
def test_words_stand_at_the_left_and_numbers_at_the_right(row: Callable[..., Row], shown: Callable[..., Shown]) -> None:
    lines = (("on", "co", "< 0.0001", "–", "[-0.1, 0.1]"), ("off", "–", "0.5", "–", "–"))
    table = Table("x", ("common", "W", "p (Holm)", "verdict", "95 % interval"), lines, ("as `seedbed run` says, <b>",))
    page = Page(render([shown([row()], further=(Further(table, levels=1),))]))
    place = next(n for n, (tag, each) in enumerate(page.elements) if each.get("aria-label") == "x")
    heads = [each.get("class") for tag, each in page.elements[place:] if tag == "th" and each.get("scope") == "col"][:5]
    assert heads == ["text", "text", None, "text", None]
    # A level that is not the first line's stands out, and backticks are code.
    assert [each.get("class") for tag, each in page.elements[place:] if each.get("scope") == "row"][:2] == [
        None,
        "unlike",
    ]
    assert any(tag == "code" for tag, _ in page.elements[place:]) and "seedbed run says, <b>" in page.text


def test_without_masks_the_page_says_so(shown: Callable[..., Shown]) -> None:
    page = Page(render([shown([], notes=("no true masks, so nothing was scored",))]))
    assert "nothing was scored" in page.text and not page.all("table") and not page.all("svg")


def test_provenance_names_each_value_once(row: Callable[..., Row]) -> None:
    rows = [row(provenance=f'{{"commit": "{c}", "packages": {{"torch": "2"}}}}') for c in "aab"]
    found = dict(provenance_of(rows))
    assert (found["commit"], found["torch"], found["protocol"]) == ("a, b", "2", "voc/1, version 1")
    # Code first, then packages, then what was scored and trained on.
    assert [name.partition(" ")[0] for name in found] == ["commit", "torch", "protocol", "fingerprint", "fingerprint"]


@pytest.mark.parametrize("name", ["scenes-leaderboard", "voc12-animals", "noise-sweep", "voc12-animals-fine-tuned"])
def test_every_column_of_the_kept_leaderboards_is_explained(name: str) -> None:
    heads = re.findall(r"^\| (?:rank|recipe) .*$", (KEPT / name / "table.md").read_text(encoding="utf-8"), re.MULTILINE)
    boards = [head.strip("| ").split(" | ") for head in heads if "seconds" in head]
    assert boards
    assert [title for titles in boards for title in titles if not help_of(title)] == []


@pytest.mark.usefixtures("no_figures")
def test_photos_of_others_are_told_of(row: Callable[..., Row], shown: Callable[..., Shown]) -> None:
    pictures = (Picture("gallery-cam", "data:image/webp;base64,AA", 1, 1),)
    assert "holds photos of others" in Page(render([shown([row()], pictures=pictures, has_photos=True)])).text
    board = shown([row()], pictures=pictures)
    assert "may be given away" in Page(render([board])).text
