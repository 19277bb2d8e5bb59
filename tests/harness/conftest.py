"""What tests of whole runs share."""

import pytest

from harness.reports.leaderboard import Finished

ONLY_CAM = (
    "recipes={cam: {localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}, labeler: threshold}}",
    "references=[all-background]",
)
"""Overrides that leave one trained recipe of the smoke suite: quick, and its options decide whole kinds of stage."""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs within a test draw no figures and curves: that is half of what a tiny run takes.

    Those of a session's or module's fixture (`smoke` above all) are whole.
    """
    for drawing in ("write_figures", "_write_curves"):
        monkeypatch.setattr(f"harness.reports.folder.{drawing}", lambda *_: None)


def results_of(finished: Finished) -> list[tuple[object, ...]]:
    """What two runs of one suite must agree on, bit by bit."""
    return [(*row.identity, row.miou, tuple(row.per_class), row.threshold) for row in finished.board.rows]
