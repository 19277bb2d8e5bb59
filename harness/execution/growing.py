"""A run whose stages are not known when it begins: whoever feeds it decides what comes next by what there is so far."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from harness.execution.costs import Costs
from harness.execution.descriptions import describe
from harness.execution.driver import Feed, Result, drive
from harness.execution.executor import Executor, check_teams
from harness.execution.retries import MAX_REPAIRS
from harness.execution.running import check_device, open_log
from harness.execution.workers import Workers
from harness.stages.graph import Stage
from harness.stages.numerics import usable_cores
from harness.store.events import Event, EventLog
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError

__all__ = ["run_growing"]


def run_growing(feed: Feed, name: str, store: Store, workers: Workers, rounds: Mapping[Ref, int]) -> Result:
    """Run what `feed` gives until it gives no more; where it gives nothing at all no executor is started.

    `name` is what the run's log calls it; stages of a lower number in `rounds`, which may grow, go first. Artefacts
    that turn out damaged are left to the feed, which is asked anew. Raises UserError for what the user can mend.
    """
    first = dict(feed.more(Result()))
    if not first:
        return Result()
    try:
        if workers.address is None:
            check_device(first.values())
        log = open_log(store, name, first, workers, shown=_shown(first))
    except OSError as error:
        raise store.unusable(error) from None
    result = Result(interrupted=True)
    made: dict[Ref, Stage] = {}
    try:
        executor = workers.make()
        try:
            log.write(Event.CONNECTED, slots=executor.slots)
            told = _Told(feed, store, executor, workers, log, made)
            told.check(first)
            costs = Costs(store)
            for _ in range(MAX_REPAIRS):
                result = drive(first, executor, store.location, log, costs.seconds, rounds, told)
                if not result.lost or result.interrupted:
                    break
                first = dict(told.more(Result()))
        finally:
            executor.close()
            log.forget_stopping()
        # They only make estimates better.
        with suppress(OSError, UserError):
            costs.learn(store, {ref: made[ref] for ref in store.present(made)})
        return result
    finally:
        counts = {"failures": len(result.failures), "blocked": len(result.blocked)}
        log.write(Event.RUN_FINISHED, **counts, stopped=result.interrupted)


class _Told:
    """A feed whose stages are checked and told of, in the store and in the log, before they are run."""

    def __init__(
        self, feed: Feed, store: Store, executor: Executor, workers: Workers, log: EventLog, made: dict[Ref, Stage]
    ) -> None:
        self._feed, self._store, self._executor, self._workers, self._log = feed, store, executor, workers, log
        self._made = made

    def check(self, stages: Mapping[Ref, Stage]) -> None:
        """Raise UserError for a stage that wants more than there is."""
        self._executor.check(stages.values(), self._store.location)
        if self._workers.address is None:
            check_teams(stages.values(), self._workers.slots or usable_cores())
        self._made.update(stages)

    def more(self, result: Result) -> Mapping[Ref, Stage]:
        """What the feed gives, known to everybody who looks into the store or follows the log."""
        stages = self._feed.more(result)
        new = {ref: stage for ref, stage in stages.items() if ref not in self._made}
        if new:
            self.check(new)
            describe(self._store, new.values())
            groups = {stage.key: stage.group for stage in new.values()}
            self._log.write(Event.GROWN, groups=groups, shown=_shown(new))
        return stages


def _shown(stages: Mapping[Ref, Stage]) -> list[Ref]:
    """The artefacts that stages read and that are there already: no `gc` may take them away meanwhile."""
    needs: dict[Ref, None] = {}
    for stage in stages.values():
        needs |= dict.fromkeys(need for need in stage.needs() if need not in stages)
    return list(needs)
