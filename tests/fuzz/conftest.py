"""How many cases were judged is told at the end."""

import pytest

from tests.fuzz import judging


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if judging.judged:
        terminalreporter.write_line(f"fuzz: {judging.judged} generated cases, no traceback but those shown above")
