"""What code and documentation say of each other: sections that are cited, and files that are named, are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("harness", "methods", "results", "settings", "benchmarks", "tests")
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))]
CITATION = re.compile(r"docs/methods\.md\s+§(\d+)")
HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)
FOLDERS = "harness|methods|results|settings|benchmarks|tests|docs|deploy"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)?(#[^)\s]+)?\)")


def _texts() -> list[tuple[Path, str]]:
    files = [file for folder in CODE for file in sorted((ROOT / folder).rglob("*.py"))]
    return [(file.relative_to(ROOT), file.read_text(encoding="utf-8")) for file in files]


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_the_sections_of_the_methods_are_numbered_from_1():
    numbers = HEADING.findall((ROOT / "docs/methods.md").read_text(encoding="utf-8"))
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))


def test_each_section_that_the_code_cites_is_there():
    sections = set(HEADING.findall((ROOT / "docs/methods.md").read_text(encoding="utf-8")))
    cited = {(str(file), number) for file, text in _texts() for number in CITATION.findall(text)}
    assert len(cited) > 10
    assert {(file, number) for file, number in cited if number not in sections} == set()


def test_nothing_cites_a_document_that_is_not_in_the_repository():
    outside = re.compile(r"\b[A-Z]{3,}\.md\b")
    cited = {(str(file), name) for file, text in _texts() for name in outside.findall(text)}
    assert {(file, name) for file, name in cited if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize(("page", "least"), [("docs/methods.md", 50), ("docs/architecture.md", 30)])
def test_the_pages_that_lead_into_the_code_name_files(page: str, least: int):
    assert len(set(PATH.findall((ROOT / page).read_text(encoding="utf-8")))) >= least


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_is_there(page: str):
    named = set(PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_each_link_of_a_page_leads_somewhere(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = []
    for path, anchor in LINK.findall(text):
        if path.startswith("http"):
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists():
            broken.append(path)
        elif anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor[1:] not in map(_slug, headings):
                broken.append(path + anchor)
    assert broken == []
