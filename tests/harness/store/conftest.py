"""One store behind each kind of location; S3 is a moto server of this process."""

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from harness.store.backends import _url
from harness.store.store import Store

COUNT = itertools.count()
URLS = ("file", "memory", "s3")


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket; skipped, visibly, where moto or s3fs is not installed."""
    pytest.importorskip("s3fs", reason="no s3fs: pip install 'seedbed[s3]'")
    server_module = pytest.importorskip("moto.server", reason="no moto: pip install 'moto[s3]' flask flask-cors")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("stores")
        yield "s3://stores"
    server.stop()


def new_url(protocol: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if protocol == "file":
        return f"file://{tmp_path / 'remote'}"
    base = request.getfixturevalue("bucket") if protocol == "s3" else "memory://stores"
    return f"{base}/{next(COUNT)}"


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL with nothing behind it."""
    return new_url(request.param, tmp_path, request)


@pytest.fixture(params=("folder", *URLS))
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may come to be: a folder that is not there yet, or a URL with nothing behind it."""
    return str(tmp_path / "store") if request.param == "folder" else new_url(request.param, tmp_path, request)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on as if on another machine: with a cache of its own, and nothing in memory."""

    def change(name: str) -> None:
        monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / name))
        _url._behind.cache_clear()

    change("first")
    return change


@pytest.fixture
def store(location: str, machine: Callable[[str], None]) -> Store:
    return Store.at(location).create()
