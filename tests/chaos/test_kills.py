"""`seedbed run smoke`, killed at random moments and started again, ends as if nothing had happened.

`make chaos` kills it ten times alone and ten times beside a second run; the ordinary suite once, in the first round of
`test_faults`.
"""

import os
import random
import time
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

from harness.reports.leaderboard import Finished
from harness.store.store import Store
from tests.chaos import rounds
from tests.chaos.evidence import differences, flaws, lost_jobs
from tests.chaos.moments import Moment, drawn
from tests.chaos.telling import tell

KILLS = int(os.environ.get("SEEDBED_CHAOS_KILLS", "1"))
SEED = int(os.environ.get("SEEDBED_CHAOS_SEED", "0"))


@pytest.mark.skipif("SEEDBED_CHAOS_KILLS" not in os.environ, reason="takes a minute: `make chaos`")
@pytest.mark.parametrize("runs", [pytest.param(1, id="alone"), pytest.param(2, id="beside-a-second-run")])
def test_a_run_that_is_killed_continues_to_the_same_table(runs: int, smoke: Finished, tmp_path: Path) -> None:
    @cache
    def undisturbed_s() -> float:
        start = time.monotonic()
        rounds.held(tmp_path / "undisturbed", [[]])
        seconds = time.monotonic() - start
        assert differences(board(tmp_path / "undisturbed"), smoke.folder) == []
        return seconds

    rng = random.Random(f"{SEED}, {runs}")
    moments = list(islice(drawn(rng, undisturbed_s), KILLS))
    for number in range(3 * KILLS):
        if not moments:
            return
        victims = dealt(moments[: rng.randint(1, 3)], runs, rng)
        store = Store(tmp_path / f"store-{number}")
        came = rounds.held(store.root, victims)
        wrong = flaws(store) + differences(board(store.root), smoke.folder)
        if runs == 1 and lost_jobs(store) > len(came[0]):
            wrong.append(f"{lost_jobs(store)} jobs were begun in vain")
        tell(came, wrong)
        assert wrong == []
        moments = later(moments, victims, came)
    assert moments == [], "moments that never came"


def board(store: Path) -> Path:
    """Where a run's leaderboard lies."""
    return store / "leaderboards" / "smoke"


def dealt(moments: list[Moment], runs: int, rng: random.Random) -> list[list[Moment]]:
    """Each moment to one of the runs."""
    victims: list[list[Moment]] = [[] for _ in range(runs)]
    for moment in moments:
        rng.choice(victims).append(moment)
    return victims


def later(moments: list[Moment], victims: list[list[Moment]], came: list[list[Moment]]) -> list[Moment]:
    """What is left for other rounds: moments before which a run ended come sooner there."""
    missed = [moment.sooner() for all_, hit in zip(victims, came, strict=True) for moment in all_[len(hit) :]]
    return missed + moments[sum(map(len, victims)) :]
