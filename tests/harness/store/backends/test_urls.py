"""Locations: what is a URL, what of it may be shown, and how a wrong one is told."""

import builtins
import errno
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from harness.reports.estimate import estimate
from harness.store.backends._remote import Remote, RemoteError
from harness.store.backends.urls import absolute, file_system, is_url, mirror_folder, scrubbed, shown
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError


@pytest.mark.parametrize(
    "location",
    ["s3://bucket/x", "memory://x", "file:///tmp/x", "gs://b", "simplecache::s3://b", "zip://a::file::s3://b"],
)
def test_a_url_stays_as_it_is(location: str) -> None:
    assert is_url(location)
    assert absolute(location) == location


@pytest.mark.parametrize("location", ["runs", "/data/runs", "./a:b", "C:\\runs", "a::b", Path("s3://bucket/x")])
def test_anything_else_is_a_folder(location: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_url(location)
    assert Store.at(location).root == Path(location)
    assert absolute(location) == str(Path(location).resolve())


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/x", "s3://bucket/x"),
        ("sftp://me:pa/ss@w@host/x", "sftp://***@host/x"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("https://host/x?sig=abc", "https://host/x"),
        ("https://host/x#sig=abc", "https://host/x"),
        ("sftp://me:pa?ss#w@host/x", "sftp://***@host/x"),
        ("simplecache::s3://key:secret@bucket/x", "simplecache::s3://***@bucket/x"),
    ],
)
def test_secrets_are_not_shown(url: str, text: str) -> None:
    assert shown(url) == text


def test_secrets_are_not_told_by_others() -> None:
    text = "cannot log in as me\nwith secret at sftp://me:secret@host/x?sig=abc"
    assert scrubbed(text, "sftp://me:secret@host/x?sig=abc") == "cannot log in as *** with *** at sftp://***@host/x?***"
    assert scrubbed("no abc at https://host/x#abc", "https://host/x#abc") == "no *** at https://host/x#***"


def test_the_folder_in_front_does_not_depend_on_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    first = mirror_folder("sftp://me:old@host/x")
    assert first == mirror_folder("sftp://me:new@host/x/") != mirror_folder("sftp://me:old@host/y")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://other")
    assert first != mirror_folder("sftp://me:old@host/x")


@pytest.mark.parametrize(
    "url", ["nonsense://x", "s3://", "s3://key:secret@bucket/x", "simplecache::s3://key:secret@b/x"]
)
def test_a_wrong_url_is_the_users_error(url: str) -> None:
    with pytest.raises(UserError) as told:
        file_system(url)
    assert "secret" not in str(told.value) and "\n" not in str(told.value)


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"Install s3fs to access S3.*pip install 'seedbed\[s3\]'"):
        file_system("s3://bucket/x")


def test_a_plain_path_imports_no_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        assert not name.startswith(("fsspec", "harness.store.backends._url"))
        return plain(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    store = Store.at(tmp_path / "store").create()
    assert not store.has(Ref("kind", "k")) and store.location == store.name == str(tmp_path / "store")


def test_who_does_not_answer_is_one_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    # botocore's own attempts, with longer and longer pauses between them.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        remote = Remote("s3://stores/x")
        monkeypatch.setattr(remote._system, "retries", 1)
        with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9"):
            remote.read("a")
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


def test_a_bucket_that_is_not_there_is_the_users_error(bucket: str) -> None:
    with pytest.raises(UserError, match=r"s3://nobodys/x: found a store that cannot be used \(.*bucket"):
        Store.at("s3://nobodys/x").create()


def test_an_estimate_for_a_server_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fsspec's http behaves: what is not answered is not there, unless it is read."""

    def refuse(system: MemoryFileSystem, path: str, **options: object) -> bytes:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *given, **options: {})
    with pytest.raises(UserError, match="a store that cannot be used"):
        estimate(load_suite("smoke"), "memory://silent/store")
