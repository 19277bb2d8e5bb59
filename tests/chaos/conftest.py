"""What was killed when is told at the end."""

import pytest

from tests.chaos.telling import told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in told:
        terminalreporter.write_line(f"chaos: {line}")
