"""CONTRIBUTING's localizer in one file, taken out of its text and run as its reader would, up to its row."""

import ast
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.commands.main import main
from harness.reports.leaderboard import Finished
from tests.conftest import REPOSITORY

NAME = "prototypes"


def block(language: str) -> str:
    """The section's only code block of a language."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Add a localizer in one file\n")[1].split("\n## ")[0]
    (content,) = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(content)


def test_the_localizer_of_the_text_is_short() -> None:
    """With blank lines and docstrings; imports count wherever they stand."""
    text = block("python")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(text.splitlines()) <= 30
    assert len(imports) <= 5
    assert max(len(line) for line in text.splitlines()) <= 120


def test_the_localizer_of_the_text_gets_its_row_in_the_table(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{NAME}.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    command, *arguments = block("sh").split()
    assert command == "seedbed"
    # What the other recipes of the suite need is done already.
    shutil.copytree(smoke.run.store_folder, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [command, *arguments, "--executor", "serial", "--set", "gallery=0"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    # Pseudo labels with their precision; the maps that they were cut out of have no column of their own.
    assert re.search(rf"│ {NAME}[^│]*│ +0\.\d+ │ +0\.\d+ │", shown), shown
    (folder,) = (tmp_path / "runs" / "leaderboards").glob("mine*")
    table = pd.read_csv(folder / "table.csv").query("recipe == @NAME and policy == 'fixed'")
    assert list(table["stage"]) == ["maps", "pseudo_labels", "segmentation"]
    assert table["miou"].between(0.01, 1).all()
