"""Pages of kept leaderboards: which folders are meant, what of them is shown, and what is refused."""

import shutil
from collections.abc import Callable
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from harness.commands.main import main
from harness.reports.files import LeaderboardFiles
from harness.reports.page import PICTURES_BYTES, further_of, page_of, shown_of
from harness.reports.reprint import folders_of
from results.page import Counts
from results.page.figures import figures_of
from results.rows import read_rows
from results.shown import Further, Table
from settings.errors import UserError

KEPT = Path(__file__).parents[3] / "results/leaderboards/voc12-animals-fine-tuned"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `seedbed report` with arguments; the exit code."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["seedbed", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the leaderboard of one suite."""
    shutil.copytree(KEPT, tmp_path / "runs/leaderboards/smoke")
    return tmp_path / "runs"


@pytest.fixture
def first_figure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them take seconds."""
    monkeypatch.setattr(import_module("results.page.render"), "figures_of", lambda shown: islice(figures_of(shown), 1))


@pytest.mark.usefixtures("first_figure_alone")
def test_a_page_is_written_beside_the_tables_or_where_it_is_asked_for(
    store: Path, report: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / "leaderboards/smoke"
    assert report(folder) == 0
    assert capsys.readouterr().out.endswith(f"{folder / 'report.html'}\n")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and f"seedbed report {folder}" in page
    kinds = {path.suffix: path.read_bytes()[:4] for path in (folder / "figures").glob("at-a-glance.*")}
    assert kinds == {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert report(folder, "--output", store / "all.html") == 0
    assert (store / "all.html").read_text(encoding="utf-8") == page


def test_tables_are_printed_as_markdown_and_latex(
    store: Path, report: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(store, "--format", "md") == 0
    assert capsys.readouterr().out == (store / "leaderboards/smoke/table.md").read_text(encoding="utf-8")
    assert report(store, "--format", "latex", "--output", store / "a.tex") == 0
    assert r"\begin{tabular}" in (store / "a.tex").read_text(encoding="utf-8")
    assert not (store / "leaderboards/smoke/report.html").exists()


@pytest.mark.usefixtures("first_figure_alone")
def test_an_output_that_cannot_be_written_is_one_line(
    store: Path, report: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("html", "md"):
        assert report(store, "--format", kind, "--output", store / "no/where") == 2
        assert "--output" in capsys.readouterr().err


def test_suites_stores_and_folders_are_told_apart(store: Path) -> None:
    folder = store / "leaderboards/smoke"
    assert folders_of(["smoke"], str(store)) == [folder]
    assert folders_of([str(store), str(folder)], "elsewhere") == [folder, folder]
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="no leaderboard"):
        folders_of([str(store)], str(store))


def test_with_outlines_no_photo_of_others_is_shown(tmp_path: Path) -> None:
    names = ("gallery-cam", "photos-cam", "gallery-free", "table", "training", "noise")
    for name in names:
        Image.new("RGB", (1200, 600), "red").save(tmp_path / f"{name}.png")
    files = LeaderboardFiles(tmp_path)
    for outlines, wanted in ((True, ["gallery-cam", "gallery-free"]), (False, ["gallery-free", "photos-cam"])):
        shown = shown_of(files, [], [], Counts(), tmp_path, outlines)
        pictures = shown.pictures
        assert shown.has_photos is not outlines
        assert [picture.name for picture in pictures] == wanted
        assert (pictures[0].width, pictures[0].height) == (1000, 500)


def test_many_pictures_stay_within_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PICTURES_BYTES * 4 / 3 < 8_000_000
    monkeypatch.setattr("harness.reports.page.PICTURES_BYTES", 60_000)
    Image.effect_noise((1200, 1200), 30).save(tmp_path / "gallery-cam.png")
    (picture,) = shown_of(LeaderboardFiles(tmp_path), [], [], Counts(), tmp_path, outlines=True).pictures
    assert picture.width < 1000 and len(picture.data) < 60_000 * 4 / 3 + 100


def test_a_sheet_that_is_higher_than_a_webp_may_be_is_shrunk(tmp_path: Path) -> None:
    Image.new("RGB", (20, 17_000)).save(tmp_path / "gallery-cam.png")
    (picture,) = shown_of(LeaderboardFiles(tmp_path), [], [], Counts(), tmp_path, outlines=True).pictures
    assert picture.height == 16_383


def test_the_head_of_the_tables_is_told(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text(
        "# mine\n\nWhat \\*it* is.\n\n- `--set a=1`\n- skipped: \\`b\n\n## board\n\n- note\n"
    )
    shown = shown_of(LeaderboardFiles(tmp_path), [], [], Counts(), tmp_path, outlines=True)
    assert (shown.name, shown.description, shown.notes) == ("mine", "What *it* is.", ("--set a=1", "skipped: `b"))


def test_what_else_a_folder_holds_stands_on_the_page_and_in_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    further = Further(Table("Effects", ("switch", "effect"), (("mixing", "+0.100"),)), Figure, "What a switch adds.")
    monkeypatch.setattr("harness.reports.page.FURTHER", (lambda files: [further],))
    files = LeaderboardFiles(tmp_path)
    row = read_rows(KEPT / "rows.parquet")[0]
    page = page_of([shown_of(files, [row], [], Counts(), tmp_path, outlines=True)])
    assert "mixing" in page.text and "What a switch adds." in page.text
    assert list(page.figures) == ["effects"]
    assert list(further_of(files)) == [further]
