"""How the code reads, in numbers: sizes, comprehensions, comments, imports of the harness and of all four packages.

Measured from the syntax trees of a checkout, nothing is imported from it. The numbers are those by which the harness
was rebuilt, so that each can be compared with any commit before.

python -m benchmarks.house                       # this checkout
python -m benchmarks.house --against c3d8e38     # beside a commit, or beside another checkout's folder
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "methods", "results", "settings")

KINDS = (
    *("weak_set", "classify", "filter", "features"),
    *("localizer_fit", "localizer_apply", "refiner_fit", "refiner_apply", "cue_fit", "cue", "reveal", "label"),
    *("segmenter_fit", "segment", "sweep", "score", "select", "row", "gallery"),
    *("examine", "diagnose", "examine_cue"),
)
"""The kinds of stage that there were when the rebuilding began: one list for every commit, so that columns compare."""

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
READ_BY_STRING = ("identity", "runtime")
"""What planner and runner of a stage hand to each other."""
SMALL = 60
"""Lines under which a file with one reader is hardly one."""
TERSE = 3
"""Words up to which a docstring repeats the name that it stands under."""


@dataclass(frozen=True, eq=False)
class Source:
    """One module: its dotted name (that of a package's `__init__.py` is the package's), and its text."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    @property
    def lines(self) -> int:
        """All lines, blank ones too."""
        return len(self.text.splitlines())

    @cached_property
    def docstrings(self) -> list[str]:
        """What is written of the module, its classes and its functions, wherever they stand."""
        found = (ast.get_docstring(node) for node in self.nodes if isinstance(node, DOCUMENTED))
        return [text for text in found if text is not None]

    @cached_property
    def comments(self) -> int:
        """Comments, beside code or on a line of their own."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return sum(token.type == tokenize.COMMENT for token in tokens)

    @cached_property
    def code_lines(self) -> int:
        """Lines that are neither blank nor a comment nor part of a docstring."""
        in_docstring: set[int] = set()
        for node in self.nodes:
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
                first = node.body[0]
                in_docstring.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
        count = 0
        for number, line in enumerate(self.text.splitlines(), start=1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#") and number not in in_docstring:
                count += 1
        return count

    @property
    def declares_its_surface(self) -> bool:
        """Whether the module says by `__all__` what may be imported from it."""
        targets: list[ast.expr] = []
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                targets += node.targets
            elif isinstance(node, ast.AnnAssign | ast.AugAssign):
                targets.append(node.target)
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)

    @property
    def is_private(self) -> bool:
        """Whether the name of the module or of a folder above it begins with an underscore."""
        return any(part.startswith("_") for part in self.name.split("."))

    @cached_property
    def strings(self) -> set[str]:
        """All string constants of the code, f-strings' pieces and docstrings among them."""
        constants = (node.value for node in self.nodes if isinstance(node, ast.Constant))
        return {value for value in constants if isinstance(value, str)}


def read(checkout: Path, packages: Sequence[str] = PACKAGES) -> list[Source]:
    """The modules of the packages that lie in a checkout, by name."""
    found = []
    for package in packages:
        for file in sorted((checkout / package).rglob("*.py")):
            parts = file.relative_to(checkout).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Source(name, file.read_text(encoding="utf-8"), is_package))
    return found


def of_package(sources: Sequence[Source], package: str) -> list[Source]:
    """Those of the modules that belong to a package."""
    return [source for source in sources if source.name == package or source.name.startswith(f"{package}.")]


@cache
def comprehensions(source: Source) -> int:
    """List, set and dictionary comprehensions and generator expressions."""
    return sum(isinstance(node, COMPREHENSIONS) for node in source.nodes)


@cache
def nested_comprehensions(source: Source) -> int:
    """One for each comprehension inside another, and one for each that has more than one `for`."""
    return _nested(source.tree, is_inside=False)


def _nested(node: ast.AST, is_inside: bool) -> int:
    found = 0
    if isinstance(node, COMPREHENSIONS):
        found = is_inside + (len(node.generators) > 1)
        is_inside = True
    return found + sum(_nested(child, is_inside) for child in ast.iter_child_nodes(node))


@cache
def conditionals(source: Source) -> int:
    """Conditional expressions, `a if b else c`."""
    return sum(isinstance(node, ast.IfExp) for node in source.nodes)


@cache
def nested_conditionals(source: Source) -> int:
    """Conditional expressions that are a part of another expression, instead of the whole value of a statement."""
    found = 0
    for parent in source.nodes:
        if isinstance(parent, ast.expr | ast.keyword | ast.comprehension):
            found += sum(isinstance(child, ast.IfExp) for child in ast.iter_child_nodes(parent))
    return found


@cache
def string_keyed_reads(source: Source) -> int:
    """How often an attribute `identity` or `runtime` is read by a string: `stage.identity["x"]`, `.get("x")`."""
    return sum(isinstance(owner, ast.Attribute) for owner in _owners_of_string_reads(source))


@cache
def string_keyed_reads_of_variables(source: Source) -> int:
    """How often a plain variable `identity` or `runtime` is read by a string."""
    return sum(isinstance(owner, ast.Name) for owner in _owners_of_string_reads(source))


def _owners_of_string_reads(source: Source) -> Iterator[ast.expr]:
    """What is read: the expression before `["x"]` or `.get("x")`, where its last name is identity or runtime."""
    for node in source.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            owner, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            if not node.args:
                continue
            owner, key = node.func.value, node.args[0]
        else:
            continue
        name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if name in READ_BY_STRING and isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield owner


def uses_of_any(source: Source) -> int:
    """How often the word `Any` stands in the text: imports, and annotations that are strings, included."""
    return len(re.findall(r"\bAny\b", source.text))


def imports(sources: Sequence[Source]) -> dict[str, set[str]]:
    """Module → the modules among `sources` that it imports when it runs, inside functions too.

    What is imported for types alone (`if TYPE_CHECKING`) is left out. Imports are absolute, as everywhere here.
    """
    known = {source.name for source in sources}
    graph = {}
    for source in sources:
        names = set(_imported(source.tree.body, known))
        graph[source.name] = (names & known) - {source.name}
    return graph


def _imported(statements: Sequence[ast.stmt], known: set[str]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                full = f"{statement.module}.{alias.name}"
                yield full if full in known else str(statement.module)
        else:
            for block in _blocks(statement):
                yield from _imported(block, known)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The lists of statements inside a statement, without what stands there for types alone."""
    is_for_types = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)
    if not is_for_types:
        yield getattr(statement, "body", [])
    yield getattr(statement, "orelse", [])
    yield getattr(statement, "finalbody", [])
    for inner in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield inner.body


def biggest_cycle(graph: Mapping[str, set[str]]) -> set[str]:
    """The largest set of modules that all reach each other by imports; empty where there is no cycle."""
    reached = {module: _reachable(module, graph) for module in graph}
    largest: set[str] = set()
    for module, others in reached.items():
        cycle = {other for other in others if module in reached[other]}
        if len(cycle) > len(largest):
            largest = cycle
    return largest


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph[module]
    return found


def files_by_kind(sources: Sequence[Source], kinds: Sequence[str] = KINDS) -> dict[str, int]:
    """Kind of stage → the number of files that name it by a string of its own."""
    strings = [source.strings for source in sources]
    return {kind: sum(kind in found for found in strings) for kind in kinds}


@dataclass(frozen=True)
class Measure:
    """One line of the table: its name, the aim for the harness, and the values of the harness and of all packages."""

    name: str
    aim: str
    harness: str
    all_packages: str


def measures(sources: Sequence[Source]) -> list[Measure]:
    """All measures of a checkout's modules; an empty value stands where one makes sense for the harness alone."""
    graph = imports(sources)
    harness = _values(of_package(sources, "harness"), graph)
    everything = _values(sources, graph)
    for name in HARNESS_ALONE:
        everything[name] = ""
    return [Measure(name, AIMS.get(name, ""), harness[name], everything[name]) for name in harness]


AIMS = {
    "files": "≤ 80",
    "lines": "≤ 12,000",
    "comprehensions per 1,000 code lines": "fewer",
    "nested comprehensions per 1,000": "≤ 2",
    "conditional expressions per 1,000": "≤ 10",
    "comments, % of lines": "≥ 3",
    "words of a docstring, median": "20",
    "`Any`": "< 100",
    "string-keyed reads of identity and runtime": "0",
    "files that name a kind of stage, median (most)": "1",
    "modules in the biggest import cycle": "0",
}
HARNESS_ALONE = ("modules on the top level", "files that name a kind of stage, median (most)")


def _values(own: Sequence[Source], graph: Mapping[str, set[str]]) -> dict[str, str]:
    """Name of each measure → its value, written out, for the modules `own` of a checkout with that graph of imports."""
    lines = [source.lines for source in own]
    thousands = sum(source.code_lines for source in own) / 1000
    words = [len(text.split()) for source in own for text in source.docstrings]
    importers = Counter(target for targets in graph.values() for target in targets)
    names = {source.name for source in own}
    own_graph = {module: targets & names for module, targets in graph.items() if module in names}
    small = [source for source in own if source.lines < SMALL and not source.is_package]
    by_kind = files_by_kind(own)
    return {
        "files": f"{len(own):,}",
        "lines": f"{sum(lines):,}",
        "lines of a file, median": f"{median(lines):.0f}",
        f"files under {SMALL} lines": f"{len(small)}",
        "files with one importer": f"{sum(importers[source.name] == 1 for source in own)}",
        "modules on the top level": f"{sum(source.name.count('.') + source.is_package <= 1 for source in own)}",
        "comprehensions per 1,000 code lines": f"{sum(map(comprehensions, own)) / thousands:.0f}",
        "nested comprehensions per 1,000": f"{sum(map(nested_comprehensions, own)) / thousands:.1f}",
        "conditional expressions per 1,000": f"{sum(map(conditionals, own)) / thousands:.0f}",
        "– inside another expression, per 1,000": f"{sum(map(nested_conditionals, own)) / thousands:.1f}",
        "comments, % of lines": f"{100 * sum(source.comments for source in own) / sum(lines):.1f}",
        "words of a docstring, median": f"{median(words):.0f}",
        f"docstrings of at most {TERSE} words": f"{sum(count <= TERSE for count in words)}",
        "private modules": f"{sum(source.is_private for source in own)}",
        "modules with `__all__`": f"{sum(source.declares_its_surface for source in own)}",
        "modules in the biggest import cycle": f"{len(biggest_cycle(own_graph))}",
        "`Any`": f"{sum(map(uses_of_any, own))}",
        "string-keyed reads of identity and runtime": f"{sum(map(string_keyed_reads, own))}",
        "– of variables so named": f"{sum(map(string_keyed_reads_of_variables, own))}",
        "files that name a kind of stage, median (most)": f"{median(by_kind.values()):.0f} ({max(by_kind.values())})",
    }


def table(now: Sequence[Measure], before: Sequence[Measure] | None = None) -> str:
    """Markdown: a line a measure, a column for the harness and one for all packages, two of each with `before`."""
    if before is None:
        lines = ["| | harness | aim | all packages |", "|---|---|---|---|"]
        lines += [f"| {one.name} | {one.harness} | {one.aim} | {one.all_packages} |" for one in now]
        return "\n".join(lines)
    lines = ["| | harness before | now | aim | all packages before | now |", "|---|---|---|---|---|---|"]
    for old, new in zip(before, now, strict=True):
        lines.append(
            f"| {new.name} | {old.harness} | {new.harness} | {new.aim} | {old.all_packages} | {new.all_packages} |"
        )
    return "\n".join(lines)


@contextmanager
def checkout_of(place: str) -> Iterator[Path]:
    """The folder `place`, or the commit of that name in a worktree that is gone afterwards."""
    if Path(place).is_dir():
        yield Path(place)
        return
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        worktree = Path(folder) / "before"
        added = subprocess.run([*git, "add", "--quiet", "--detach", str(worktree), place], check=False)
        if added.returncode:
            raise SystemExit(f"--against {place}: neither a folder nor a commit of this repository")
        try:
            yield worktree
        finally:
            subprocess.run([*git, "remove", "--force", str(worktree)], check=True)


def main() -> None:
    """Print the table of this checkout, beside another where one is named."""
    parser = argparse.ArgumentParser(description="Measures of how the code reads.")
    parser.add_argument("--against", metavar="PATH_OR_COMMIT", help="what to compare with")
    against = parser.parse_args().against
    now = measures(read(ROOT))
    if against is None:
        print(table(now))
        return
    with checkout_of(against) as before:
        print(table(now, measures(read(before))))


if __name__ == "__main__":
    main()
