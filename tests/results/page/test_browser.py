"""The page in a browser: what its buttons do, by mouse and by keyboard, on light, dark, narrow and printed pages."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from results.page import Picture, Shown, render
from results.rows import Row
from results.shown import Table

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
def board(row: Callable[..., Row]) -> Shown:
    table = Table("board", ("rank", "recipe", "maps"), LINES, ("[1] no memory",), apart=frozenset({(0, 1), (0, 2)}))
    pictures = (Picture("gallery-a-clean", DOT, 1, 1), Picture("gallery-b-clean", DOT, 1, 1))
    return Shown("mine", "", (), (table,), (row(),), pictures=pictures)


def recipes(page: Any) -> list[str]:
    return [cell.inner_text() for cell in page.query_selector_all("table.lines tbody tr:not([hidden]) th")]


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


def test_lines_are_filtered_by_words_and_by_separation(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.fill("input.words", "0.6")
    assert recipes(page) == ["b"]
    page.fill("input.words", "")
    page.check("tr[data-line='1'] input")
    page.select_option("select.against", "apart")
    assert recipes(page) == ["a", "b"]
    page.select_option("select.against", "tied")
    assert recipes(page) == ["b", "c"]


def test_the_command_of_the_selected_line_is_shown(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.click("button.copy")
    assert page.inner_text("output") == "Select a line first."
    page.check("tr[data-line='0'] input")
    page.click("button.copy")
    assert page.inner_text("output").startswith("seedbed run mine")


def test_pictures_are_filtered(opened: Callable[..., Any], board: Shown) -> None:
    page = opened(board)
    page.fill("input.pictures", "-B-")
    assert [each.is_visible() for each in page.query_selector_all("figure[data-name]")] == [False, True]


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


def test_five_hundred_lines_are_sorted_and_fit_two_megabytes(
    opened: Callable[..., Any], shown: Callable[..., Shown], row: Callable[..., Row], tmp_path: Path
) -> None:
    lines = tuple((str(n), f"recipe {n}", f"{1 / (n + 1):.3f}") for n in range(500))
    table = Table("board", ("rank", "recipe", "maps"), lines)
    page = opened(Shown("mine", "", (), (table,), (row(),)))
    page.click("thead button:text('rank')")
    page.click("thead button:text('rank')")
    assert recipes(page)[0] == "recipe 499"
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
