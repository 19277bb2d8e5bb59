"""A line now and then, and none for what is over soon."""

import pytest

from harness.commands import main
from harness.commands.main import Patience


def test_a_line_each_interval(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr(main.time, "monotonic", lambda: now[0])
    tell = Patience("planning")
    for done, moment in enumerate((101.0, 104.9, 105.1, 106.0, 111.0), 1):
        now[0] = moment
        tell(done, 9, "photos hashed")
    assert capsys.readouterr().err == "planning: 3/9 photos hashed\nplanning: 5/9 photos hashed\n"
