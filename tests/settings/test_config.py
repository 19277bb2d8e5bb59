"""Where data sets lie, or one line that says what to write where."""

from pathlib import Path

import pytest

from settings.config import config_file, data_root
from settings.errors import UserError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.setenv("HOME", "/home/somebody")
    return tmp_path / "c.yaml"


def test_the_configured_folder(config: Path) -> None:
    config.write_text("data: {voc12: /data/voc, coco14: ~/coco}\n")
    assert data_root("voc12") == Path("/data/voc")
    assert data_root("coco14") == Path("/home/somebody/coco")


def test_a_relative_folder_counts_from_the_configuration(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("data: {voc12: photos/voc}\n")
    monkeypatch.chdir("/")
    assert data_root("voc12") == config.parent / "photos" / "voc"
    monkeypatch.setenv("SEEDBED_CONFIG", "c.yaml")
    monkeypatch.chdir(config.parent)
    assert data_root("voc12") == config.parent / "photos" / "voc"


def test_the_home_of_nobody(config: Path) -> None:
    config.write_text("data: {voc12: ~nobody-here/voc}\n")
    with pytest.raises(UserError, match="expected a path whose ~ stands for a user of this machine; add 'data: "):
        data_root("voc12")


def test_without_a_file(config: Path) -> None:
    mend = rf"add 'data: \{{voc12: PATH\}}' to {config}, or set dataset\.root in the suite"
    with pytest.raises(UserError, match=rf"^dataset\.root: found nothing; expected the folder of voc12; {mend}$"):
        data_root("voc12")


@pytest.mark.parametrize(
    "content", [b"", b"data:\n", b"data: []\n", b"data: {coco14: /x}\n", b"data: [\n", b"\xff\xfe", b"3\n", b"[1]\n"]
)
def test_without_an_entry(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.yaml: found no entry for voc12"):
        data_root("voc12")


@pytest.mark.parametrize("value", ["3", "[a]", "null", "''"])
def test_an_entry_that_is_no_path(config: Path, value: str) -> None:
    config.write_text(f"data: {{voc12: {value}}}\n")
    with pytest.raises(UserError, match=r"c\.yaml: found .* for voc12; expected a path"):
        data_root("voc12")


def test_the_default_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEDBED_CONFIG")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert config_file() == Path("/home/somebody/.config/seedbed/config.yaml")
