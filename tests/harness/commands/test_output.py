"""What is printed reaches every encoding in plain letters, and a closed output ends no command."""

import io
import subprocess
import sys

import pytest

from harness.commands import main as cli
from harness.commands.output import prepare_output
from harness.reports.leaderboard import Finished

COMPONENTS = "from harness.commands.main import main; import sys; sys.argv = ['seedbed', 'components']; main()"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("ascii", "a - b +- c -> +- e\\u732b"),
        ("iso-8859-1", "a · b ± c -> +- \xe9\\u732b"),
        ("utf-8", "a · b ± c → ┌─ é猫"),
    ],
)
def test_letters_that_an_encoding_lacks_are_spelled(encoding: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
    prepare_output()
    sys.stdout.write("a · b ± c → ┌─ é猫")
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding) == text


def test_a_finished_suite_is_printed_in_plain_letters(smoke: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr("sys.argv", ["seedbed", "run", "smoke", "--store", str(smoke.run.store_folder)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    sys.stdout.flush()
    printed = raw.getvalue().decode("ascii")
    assert not ended.value.code
    assert "all-background +" in printed and "+ not ranked" in printed


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_output_ends_no_command(closed: str) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, COMPONENTS], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("localizers" in ended.stdout) == (closed == "2>&-")
