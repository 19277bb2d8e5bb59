"""Assertions that are more than a hint to the type checker: `make check` fails where there is one.

Python leaves assertions out when PYTHONOPTIMIZE is set, and no outcome may depend on that. So an assertion may say of a
variable that it is not None, of which type it is, or that it can be called; what users or files can bring about is an
error that is raised.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from harness.stages.provenance import OURS, ROOT

ASKED = ("isinstance", "callable")


def is_hint(test: ast.expr) -> bool:
    """Whether an assertion's test tells what a variable is, and does nothing else."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return all(map(is_hint, test.values))
    if isinstance(test, ast.Compare):
        (operator, *others), (value, *_) = test.ops, test.comparators
        is_none = isinstance(value, ast.Constant) and value.value is None
        return isinstance(operator, ast.IsNot) and not others and is_none and _is_plain(test.left)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name):
        return test.func.id in ASKED and not test.keywords and all(map(_is_plain, test.args))
    return False


def _is_plain(value: ast.expr) -> bool:
    """Whether a value is a variable, an entry of one, or a union of types: nothing is called or assigned for it."""
    does = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.comprehension)
    return not any(isinstance(node, does) for node in ast.walk(value))


def carrying_logic(text: str) -> list[int]:
    """The lines of the assertions in a module's text that are no hints."""
    asserted = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert))
    return [node.lineno for node in asserted if not is_hint(node.test)]


def found() -> Iterator[str]:
    """Where our packages have such assertions: `file:line`."""
    for name in OURS:
        for path in sorted((ROOT / name).rglob("*.py")):
            for line in carrying_logic(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(ROOT)}:{line}"


if __name__ == "__main__":
    places = list(found())
    print("\n".join(places) or "no assertion carries logic")
    sys.exit(int(bool(places)))
