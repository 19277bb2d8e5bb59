"""A round: runs on one store that are struck at given moments and started again until they end by themselves."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.moments import Moment
from tests.chaos.runs import Run


def held(store: Path, victims: Sequence[Sequence[Moment]]) -> list[list[Moment]]:
    """Hold a round with one run for each victim, all at once; the moments that came for each of them.

    They are fewer than asked for where a run ended before its next moment came.
    """
    with ThreadPoolExecutor(len(victims)) as pool:
        return list(pool.map(lambda moments: _endure(store, moments), victims))


def _endure(store: Path, moments: Sequence[Moment]) -> list[Moment]:
    came: list[Moment] = []
    for moment in moments:
        with Run(store, moment.module) as run:
            moment.wait(run)
            run.kill()
            if not run.was_killed():
                return came
        came.append(moment)
    with Run(store) as run:
        assert not run.was_killed()
    return came
