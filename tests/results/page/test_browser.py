"""The page in a browser: what its buttons do, by mouse and by keyboard, on light, dark, narrow and printed pages."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.counted import ImageSums
from results.lines import Line
from results.page import Counts, Picture, Shown, Tiles, render
from results.rows import Row
from results.shown import Table
from results.statistics import pixel_sums

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
LINES = (("1", "a", "0.900"), ("2=", "b", "0.600"), ("2=", "c", "0.500"), ("–", "d †", "✗ [1]"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page from its file, and in the end looks for requests and messages."""
    told: list[str] = []
    contexts = []

    def open_page(*boards: Shown, **options: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(render(boards), encoding="utf-8")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("data:", path.as_uri())) else told.append(r.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


@pytest.fixture
def board(row: Callable[..., Row], line: Callable[[str], Line]) -> Shown:
    made_of = tuple(line(recipe.removesuffix(" †")) for _, recipe, _ in LINES)
    apart = frozenset({(0, 1), (0, 2)})
    table = Table("board", ("rank", "recipe", "maps"), LINES, ("[1] no memory",), made_of=made_of, apart=apart)
    pictures = (Picture("gallery-a-clean", DOT, 1, 1), Picture("gallery-b-clean", DOT, 1, 1))
    return Shown("mine", "", (), (table,), (row(),), pictures=pictures)


def recipes(page: Any) -> list[str]:
    return [cell.inner_text() for cell in page.query_selector_all("table.lines tbody tr:not([hidden]) th")]


@pytest.mark.usefixtures("no_figures")
def test_columns_sort_by_number_and_by_keyboard(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.focus("thead button:text('maps')")
    page.keyboard.press("Enter")
    assert recipes(page) == ["a", "b", "c", "d †"]
    page.keyboard.press("Space")
    # What has no number stays at the end in either order.
    assert recipes(page) == ["c", "b", "a", "d †"]
    assert page.get_attribute("th:has(button:text('maps'))", "aria-sort") == "ascending"
    page.click("thead button:text('recipe')")
    page.click("thead button:text('recipe')")
    assert recipes(page) == ["d †", "c", "b", "a"]


@pytest.mark.usefixtures("no_figures")
def test_lines_are_filtered_by_words_and_by_separation(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.fill("input.words", "0.6")
    assert recipes(page) == ["b"]
    page.fill("input.words", "")
    page.select_option("select.against", "apart")
    assert page.inner_text("output").startswith("Select a line first")
    page.check("tr[data-line='1'] input")
    assert page.inner_text("output") == "" and page.inner_text("tr.selected th") == "b"
    assert recipes(page) == ["a", "b"]
    page.select_option("select.against", "tied")
    assert recipes(page) == ["b", "c"]


@pytest.mark.usefixtures("no_figures")
def test_the_commands_of_the_selected_line_are_shown(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.click("button[data-what=command]")
    assert page.inner_text("output").startswith("Select a line first")
    page.check("tr[data-line='0'] input")
    page.click("button[data-what=command]")
    assert page.inner_text("output").startswith("seedbed run mine")
    page.click("button[data-what=trace]")
    assert page.inner_text("output") == "seedbed report . --trace a@clean"
    # Nothing on this board is held against anything.
    assert not page.is_visible("button[data-what=compare]")


@pytest.mark.usefixtures("no_figures")
def test_pictures_are_filtered(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.fill("input.pictures", "-B-")
    assert [each.is_visible() for each in page.query_selector_all("figure[data-name]")] == [False, True]


@pytest.mark.usefixtures("no_figures")
def test_the_first_stop_of_the_keyboard_leads_to_the_tables(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the tables"


def test_dark_is_dark_and_paper_is_white(opened: Callable[..., Any], board: Shown) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    assert opened(board).evaluate(back) == "rgb(255, 255, 255)"
    page = opened(board, color_scheme="dark")
    assert page.evaluate(back) == "rgb(20, 23, 26)"
    page.emulate_media(media="print")
    # Paper has no sections that are drawn when they are scrolled to.
    visibility = "getComputedStyle(document.querySelector('.wide')).contentVisibility"
    assert page.evaluate(visibility) == "visible"
    # Chromium repeats a table's head on the next page, but not the buttons in it.
    assert page.evaluate("getComputedStyle(document.querySelector('thead button')).display") == "contents"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    assert not page.is_visible("button.copy")
    assert page.pdf().startswith(b"%PDF")


def test_names_with_markup_are_text_and_a_narrow_page_does_not_scroll_sideways(
    opened: Callable[..., Any], shown: Callable[..., Shown], row: Callable[..., Row]
) -> None:
    evil = "<img src=x onerror=alert(1)>" + "long" * 30
    page = opened(shown([row(recipe=evil, setting=evil), row(recipe="b")]), viewport={"width": 390, "height": 800})
    assert any(evil in text for text in recipes(page))
    assert page.evaluate("document.documentElement.scrollWidth") == 390


COUNTS = ((90, 10, 0, 0), (0, 80, 20, 0), (50, 0, 50, 0), (40, 40, 0, 20))
"""Pixels of the confusion [truth, prediction] of one photo, 2 × 2, for four photos."""


def with_counts(make: Callable[..., Row], **changes: Any) -> tuple[Row, ImageSums]:
    """A row that was scored on four photos, and its counts; of the disc in the first `worse` pixels are missed."""
    worse = changes.pop("worse", 0)
    confusion_NKK = np.array(COUNTS).reshape(4, 2, 2) + np.array([[[0, 0], [worse, -worse]], *[[[0, 0], [0, 0]]] * 3])
    sums = pixel_sums(confusion_NKK[None] + np.array([[0, 0], [0, 100]]))
    of_images = ImageSums(
        ("p0", "p1", "p2", "p3"), sums.hits_SNC[0], sums.predicted_SNC[0], sums.truth_NC, confusion_NKK.sum(axis=0)
    )
    return make(stage="pseudo_labels", miou=float(sums.miou()[0]), **changes), of_images


@pytest.fixture
def two(row: Callable[..., Row], shown: Callable[..., Shown]) -> Shown:
    """Two lines with counts; they differ in the first photo alone, which has pictures, as the second has."""
    made = [with_counts(row, recipe="a"), with_counts(row, recipe="b", worse=50)]
    photo = {"photo": 0, "truth": 0, "lines": {"a · clean": [["pseudo label", 0]], "b · clean": [["pseudo label", 0]]}}
    tiles = Tiles((DOT,), {"p0": photo, "p1": photo}, {"disc": "#ff0000"})
    counts = Counts({each.identity: sums for each, sums in made})
    return shown([each for each, _ in made], counts=counts, tiles=tiles)


def photos(page: Any) -> list[str]:
    return [cell.inner_text() for cell in page.query_selector_all(".photos tbody th")]


@pytest.mark.usefixtures("no_figures")
def test_photos_stand_in_the_order_that_is_asked_for(opened: Callable[..., Any], two: Shown) -> None:
    page = opened(two)
    assert photos(page) == ["p0", "p1"]
    # (90 / 100 + 100 / 110) / 2 less (90 / 150 + 50 / 110) / 2, of 905 and 527 thousandths.
    assert page.inner_text(".photos tbody td:nth-of-type(4)") == "+0.378"
    captions = [each.inner_text() for each in page.query_selector_all(".photos figcaption")]
    assert captions[:4] == ["photo", "truth", "A: pseudo label", "B: pseudo label"]
    # What B made stands below what A made.
    a, b = (page.locator(f".tiles figure:has-text('{letter}: ')").first.bounding_box() for letter in "AB")
    assert a["x"] == b["x"] and a["y"] < b["y"]
    page.uncheck(".photos .pictured")
    page.select_option(".photos .order", "best")
    best_first = photos(page)
    page.select_option(".photos .order", "worst")
    assert sorted(best_first) == ["p0", "p1", "p2", "p3"] and photos(page) == best_first[::-1]
    page.select_option(".photos .order", "median")
    assert set(photos(page)[:2]) == set(best_first[1:3])
    page.select_option(".photos .a", "b · clean")
    page.select_option(".photos .order", "differ")
    assert page.inner_text(".photos tbody td:nth-of-type(4)") == "0.000"


@pytest.mark.usefixtures("no_figures")
def test_errors_are_shown_of_the_chosen_line(opened: Callable[..., Any], two: Shown) -> None:
    page = opened(two)
    told = "Array.from(document.querySelectorAll('.errors td')).map((cell) => cell.innerText)"
    bars = "Array.from(document.querySelectorAll('.errors i')).map((bar) => [bar.className, bar.style.flexGrow])"
    of_a, bars_of_a = page.evaluate(told), page.evaluate(bars)
    page.select_option(".errors .line", "b · clean")
    assert page.inner_text(".errors caption") == "b · clean"
    assert page.evaluate(told) != of_a and len(page.evaluate(told)) == len(of_a)
    # The table of the first line stands on the page; the script makes the same.
    page.select_option(".errors .line", "a · clean")
    assert (page.evaluate(told), page.evaluate(bars)) == (of_a, bars_of_a)


# Figures of so many lines take seconds: `python -m benchmarks.page` measures pages with them.
@pytest.mark.usefixtures("no_figures")
def test_five_hundred_rows_are_sorted_and_fit_two_megabytes(
    opened: Callable[..., Any],
    shown: Callable[..., Shown],
    row: Callable[..., Row],
    tmp_path: Path,
) -> None:
    rows = [
        row(recipe=f"recipe {n}", rng_seed=seed, stage=stage, miou=1 / (n + seed + 1))
        for n in range(84)
        for seed in range(3)
        for stage in ("pseudo_labels", "segmentation")
    ]
    page = opened(shown(rows))
    page.click("thead button:text('recipe')")
    page.click("thead button:text('recipe')")
    assert recipes(page)[0] == "recipe 83"
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
