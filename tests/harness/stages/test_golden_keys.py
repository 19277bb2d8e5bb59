"""No key moves: a store that was made before a change of the house is a store after it.

`tests/golden/keys.json` was made at c3d8e38, before the kinds of stage became classes. Where a key is meant to move (a
component's `version` was raised, an option changed its default), the entry of its kind is made anew, and the CHANGELOG
says that stores compute it again.
"""

import json
import re
import sys
from collections import defaultdict
from hashlib import sha256

import pytest

from harness.stages import numerics
from harness.stages.planning import make_plan
from harness.suites.suite import SUITES, load_suite, ready_suites
from tests.conftest import REPOSITORY

GOLDEN = json.loads((REPOSITORY / "tests" / "golden" / "keys.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOLDEN)
def test_the_keys_of_every_kind_of_stage_are_those_of_before(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = GOLDEN[name]
    if reads_real_photos(case["suite"]):
        monkeypatch.setenv("SEEDBED_REAL_DATA", str(request.getfixturevalue("real_data")))
    # Keys name the machine's arithmetic: these were made for one kind of CPU.
    monkeypatch.setattr(numerics, "cpu_class", lambda: "avx512")
    monkeypatch.setattr(numerics, "resolve_device", lambda wanted: "cpu")
    # Without the extra `crf`, whether or not it is installed here.
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    keys: dict[str, list[str]] = defaultdict(list)
    for ref in make_plan(load_suite(case["suite"], case["overrides"])).graph:
        keys[ref.kind].append(ref.key)
    found = {kind: {"count": len(of), "sha256": digest(of)} for kind, of in sorted(keys.items())}
    assert found == case["stages"]


def test_every_ready_suite_has_golden_keys() -> None:
    assert {case["suite"] for case in GOLDEN.values()} == set(ready_suites())


def reads_real_photos(suite: str) -> bool:
    """Whether a ready suite, or one that it includes, names the folder of real photos."""
    text = (SUITES / f"{suite}.yaml").read_text(encoding="utf-8")
    included = re.match(r"include: (\S+)", text)
    return "SEEDBED_REAL_DATA" in text or (included is not None and reads_real_photos(included[1]))


def digest(keys: list[str]) -> str:
    return sha256("\n".join(sorted(keys)).encode()).hexdigest()
