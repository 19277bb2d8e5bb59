import ast
from pathlib import Path

import pytest

from benchmarks.house import (
    Measure,
    Source,
    biggest_cycle,
    checkout_of,
    comprehensions,
    conditionals,
    files_by_kind,
    imports,
    measures,
    nested_comprehensions,
    nested_conditionals,
    of_package,
    read,
    string_keyed_reads,
    string_keyed_reads_of_variables,
    table,
    uses_of_any,
)

SAMPLE = '''"""A module of one line, and of more."""

from typing import Any  # Any once

__all__ = ["Room"]

# A comment of its own.
NAMES = [name for name in "abc"]
PAIRS = {(a, b) for a in NAMES for b in NAMES}
ROWS = [[cell for cell in row] for row in PAIRS]


class Room:
    """The same."""

    size: Any = 1 if NAMES else 2
    """No docstring by Python's rules: code."""

    def door(self, stage, identity):
        """Three words only."""
        wide = print(1 if stage else 2)
        stage.runtime["written"] = wide
        return stage.identity["key"], self.runtime.get("kind"), identity["key"], stage.identity[0], stage.other.get("x")
'''
SOURCE = Source("harness.stages.sample", SAMPLE)


def test_comprehensions_are_counted_with_those_inside_another_or_with_several_fors():
    assert comprehensions(SOURCE) == 4
    assert nested_comprehensions(SOURCE) == 2


def test_a_comprehension_inside_another_that_has_two_fors_counts_twice():
    source = Source("a", "x = [[i for i in j for j in k] for k in l]")
    assert (comprehensions(source), nested_comprehensions(source)) == (2, 2)


def test_conditional_expressions_within_another_expression_are_told_apart():
    assert (conditionals(SOURCE), nested_conditionals(SOURCE)) == (2, 1)
    keyword = Source("a", "f(a=1 if b else 2)\ng = [1 if x else 2 for x in y if (1 if z else 2)]\nh = 1 if i else 2")
    assert (conditionals(keyword), nested_conditionals(keyword)) == (4, 3)


def test_lines_comments_and_docstrings():
    blank, own_comments, docstrings = 7, 1, 3
    assert SOURCE.lines == 23
    assert SOURCE.code_lines == 23 - blank - own_comments - docstrings
    assert SOURCE.comments == 2
    assert SOURCE.docstrings == ["A module of one line, and of more.", "The same.", "Three words only."]


def test_reads_by_a_string_are_counted_and_writes_are_not():
    assert string_keyed_reads(SOURCE) == 2
    assert string_keyed_reads_of_variables(SOURCE) == 1
    assert uses_of_any(SOURCE) == 3


@pytest.mark.parametrize(
    ("text", "declared"), [("__all__ = []", True), ("__all__: list[str] = []", True), ("all_ = 1", False)]
)
def test_a_surface_is_declared_by_all(text: str, declared: bool):
    assert Source("a", text).declares_its_surface is declared


@pytest.mark.parametrize(("name", "private"), [("a.b", False), ("a._b", True), ("a._b.c", True), ("a.b_", False)])
def test_a_module_is_private_by_its_own_underscore_or_its_folders(name: str, private: bool):
    assert Source(name, "").is_private is private


MODULES = [
    Source("harness", "", is_package=True),
    Source("harness.one", "from harness import two\nimport os\nimport settings.options\n"),
    Source("harness.two", "def late():\n    try:\n        from harness.three import x\n    finally:\n        pass\n"),
    Source("harness.three", "from harness.one import y\nfrom harness import __name__\n"),
    Source(
        "settings.options",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import harness.one\nelse:\n    import harness.two\n",
    ),
]


def test_imports_inside_functions_count_and_those_for_types_do_not():
    assert imports(MODULES) == {
        "harness": set(),
        "harness.one": {"harness.two", "settings.options"},
        "harness.two": {"harness.three"},
        "harness.three": {"harness.one", "harness"},
        "settings.options": {"harness.two"},
    }


def test_the_biggest_cycle_is_the_largest_set_that_reaches_itself():
    graph = imports(MODULES)
    assert biggest_cycle(graph) == {"harness.one", "harness.two", "harness.three", "settings.options"}
    assert biggest_cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == set()
    assert biggest_cycle({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"e"}, "e": {"c"}}) == {"c", "d", "e"}


def test_files_that_name_a_kind_are_those_with_the_kind_as_a_whole_string():
    sources = [Source("a", "x = 'score'"), Source("b", "y = {'score': 1}"), Source("c", "z = 'score of it'; score = 1")]
    assert files_by_kind(sources, ["score", "label"]) == {"score": 2, "label": 0}


def test_a_checkout_is_read_by_package(tmp_path: Path):
    for name in ("harness/__init__.py", "harness/rooms/one.py", "settings/two.py", "tests/three.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    sources = read(tmp_path)
    assert [source.name for source in sources] == ["harness", "harness.rooms.one", "settings.two"]
    assert [source.name for source in of_package(sources, "harness")] == ["harness", "harness.rooms.one"]


def test_the_measures_of_a_few_modules():
    found = {one.name: one for one in measures([SOURCE, *MODULES])}
    code_lines = 12 + 3 + 5 + 2
    assert found["files"] == Measure("files", "≤ 80", "5", "6")
    assert found["lines"].harness == f"{23 + 3 + 5 + 2}"
    assert found["modules on the top level"] == Measure("modules on the top level", "", "4", "")
    assert found["comprehensions per 1,000 code lines"].harness == f"{4 * 1000 / code_lines:.0f}"
    assert found["files with one importer"].harness == "3"
    assert found["modules in the biggest import cycle"].harness == "3"
    assert found["docstrings of at most 3 words"].harness == "2"


def test_the_table_puts_before_beside_now():
    old, new = [Measure("files", "≤ 80", "114", "266")], [Measure("files", "≤ 80", "79", "230")]
    assert table(new).splitlines()[2] == "| files | 79 | ≤ 80 | 230 |"
    assert table(new, old).splitlines()[2] == "| files | 114 | 79 | ≤ 80 | 266 | 230 |"


def test_a_folder_is_its_own_checkout(tmp_path: Path):
    with checkout_of(str(tmp_path)) as checkout:
        assert checkout == tmp_path


def test_a_commit_is_checked_out_beside_and_gone_afterwards():
    with checkout_of("HEAD") as checkout:
        assert ast.parse((checkout / "harness" / "api.py").read_text())
    assert not checkout.exists()


def test_what_is_neither_folder_nor_commit_is_refused():
    with pytest.raises(SystemExit, match="neither a folder nor a commit"), checkout_of("no-such-commit"):
        pass
