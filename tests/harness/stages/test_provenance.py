"""Sources of components, as several threads ask for them."""

import ast
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.stages import provenance


def test_one_thread_at_a_time_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, inside, most = ast.parse, [], []

    def slow(text: str) -> ast.Module:
        inside.append(text)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return parse("")

    files = [provenance.ROOT / "harness" / "stages" / name for name in ("kind.py", "rows.py", "work.py", "graph.py")]
    # pytest parses, too, to tell of a failure.
    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        patched.setattr(provenance.ast, "parse", slow)
        list(pool.map(provenance._parsed, files))
    assert most == [1, 1, 1, 1]
