"""What opens a store reaches workers with their work, and is no part of the environment that Ray writes into logs."""

import os
from pathlib import Path

import pytest

from harness.execution.credentials import adopt, credentials

SECRET = "a secret of this test"


def test_ray_is_not_told_what_opens_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.execution import cluster

    monkeypatch.setattr(cluster, "OURS", ())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("FSSPEC_S3_SECRET", SECRET)
    monkeypatch.setenv("SEEDBED_REAL_DATA", "/data")
    sent = cluster._sent("installed", tmp_path)
    assert SECRET not in str(sent) and sent["env_vars"]["SEEDBED_REAL_DATA"] == "/data"  # type: ignore[index]


def test_what_is_handed_over_opens_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.config import conf

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("FSSPEC_NEWFOUND_TOKEN", SECRET)
    handed = {name: value for name, value in credentials().items() if value == SECRET}
    assert sorted(handed) == ["AWS_SECRET_ACCESS_KEY", "FSSPEC_NEWFOUND_TOKEN"]
    for name in handed:
        monkeypatch.delenv(name)
    monkeypatch.setitem(conf, "newfound", {})
    adopt(handed)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == conf["newfound"]["token"] == SECRET
