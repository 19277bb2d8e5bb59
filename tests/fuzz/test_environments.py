"""Environments from anywhere: variables and the user's configuration with every oddity."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store.lease import declared_timeout_s
from settings.hashing import shared_cache
from tests.fuzz.judging import folder, seedbed, share

NAMES = [
    *("SEEDBED_CACHE", "SEEDBED_CONFIG", "SEEDBED_LEASE_TIMEOUT", "SEEDBED_REAL_DATA", "HOME", "TMPDIR", "COLUMNS"),
    *("TERM", "LANG", "LC_ALL", "TZ", "NO_COLOR", "FORCE_COLOR", "RAY_ADDRESS", "RAY_TMPDIR", "AWS_ENDPOINT_URL"),
    *("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES"),
]
VALUES = [
    *("", "0", "-1", "1e400", "nan", "inf", "x", "/dev/null", "/dev/null/x", "/proc/self/mem", ".", "..", "~nobody/x"),
    *("é", "\udcff", "\x1b[2J", "a" * 300, "a/" * 3000, "s3://nowhere/x", "${HOME}", "\n", "C", "2001:db8::1", "1,1"),
]
CONFIGS = [
    *(
        "",
        "data:",
        "data: []",
        "data: {voc12: 3}",
        "data: {voc12: [x]}",
        "data: {voc12: '~nobody/x'}",
        "[",
        "a: &a [*a]",
    ),
    *("data: {voc12: /dev/null}", "data: {voc12: ''}", "\udcff", "!!python/object/apply:os.system [ls]", "{" * 5000),
]
VERBS = (("plan", "smoke"), ("plan", "voc12-animals"), ("status",), ("data", "list"), ("store", "du"))


@given(
    variables=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), min_size=1, max_size=4),
    config=st.sampled_from(CONFIGS),
    verb=st.sampled_from(VERBS),
)
@share(0.05)
def test_variables_and_configurations(variables: dict[str, str], config: str, verb: tuple[str, ...]) -> None:
    with folder() as root:
        path = root / "config.yaml"
        path.write_text(config, encoding="utf-8", errors="surrogateescape")
        usual = {"SEEDBED_CONFIG": str(path), "HOME": str(root)}
        before = Path.cwd()
        with patch.dict(os.environ, {**usual, **variables}):
            os.chdir(root)
            shared_cache.cache_clear()
            try:
                store = [] if verb[0] == "data" else ["--store", root / "store"]
                seedbed(*verb, *store)
            finally:
                os.chdir(before)
                shared_cache.cache_clear()


@pytest.mark.parametrize("text", ["x", "nan", "-1", "0", "inf", "1e400", "1_0", "é"])
def test_a_lease_time_that_is_none_is_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_LEASE_TIMEOUT", text)
    ended = seedbed("data", "list")
    assert ended.code == 2
    assert ended.err.startswith(f"seedbed: SEEDBED_LEASE_TIMEOUT: found '{text}'; expected seconds from 1 on")
    monkeypatch.setenv("SEEDBED_LEASE_TIMEOUT", "2.5")
    assert declared_timeout_s() == 2.5
