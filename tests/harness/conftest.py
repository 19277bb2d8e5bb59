"""What tests of whole runs share."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.reports.leaderboard import Finished

ONLY_CAM = (
    "recipes={cam: {localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}, labeler: threshold}}",
    "references=[all-background]",
)
"""Overrides that leave one trained recipe of the smoke suite: quick, and its options decide whole kinds of stage."""


@contextmanager
def undrawn() -> Iterator[None]:
    """Runs in the block draw no figures, no curves and no page: that is most of what a tiny run takes."""
    with pytest.MonkeyPatch.context() as patch:
        for drawing in ("write_figures", "_write_curves"):
            patch.setattr(f"harness.reports.folder.{drawing}", lambda *_: None)
        # An empty one: a folder without a page is written again.
        patch.setattr("harness.reports.folder.write_page", lambda files, *_: files.page.touch())
        yield


@pytest.fixture(autouse=True)
def _undrawn() -> Iterator[None]:
    """Runs within a test are `undrawn`; those of a session's or module's fixture (`smoke` above all) are whole."""
    with undrawn():
        yield


def results_of(finished: Finished) -> list[tuple[object, ...]]:
    """What two runs of one suite must agree on, bit by bit."""
    return [(*row.identity, row.miou, tuple(row.per_class), row.threshold) for row in finished.board.rows]
