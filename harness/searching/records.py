"""What a store keeps of a search: its beginning and one document a trial. From these alone it is continued."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, get_args

from harness.searching.proposals import Known, State
from harness.searching.space import Values
from harness.store.layout import Ref, search_folder
from harness.store.store import Store
from settings.errors import UserError

__all__ = ["Notebook", "RungRecord", "Trial"]

BEGINNING = "search.json"
DIGITS = 5


@dataclass(frozen=True)
class RungRecord:
    """What a trial came to at one rung."""

    name: str
    score: float
    threshold: float | None = None
    seconds: float | None = None
    """Of its stages that no earlier trial had; None until all trials before it have ended."""
    spent: float | None = None
    """Those of these seconds that were spent since the search began: the rest was in the store."""


@dataclass(frozen=True)
class Trial:
    """One trial, as it ended."""

    number: int
    values: Values
    origin: str
    state: State
    rungs: tuple[RungRecord, ...] = ()
    reason: str = ""
    """Why it failed."""
    may_stop: bool = True
    """False for a trial that runs to its end, whatever its rungs say: by these the rungs are judged."""
    targets: tuple[Ref, ...] = ()
    """What its last score was read from."""
    claimed: tuple[Ref, ...] = field(default=(), repr=False)
    """Its stages that no earlier trial had."""
    hours: float = 0.0
    """That all calls of the search had taken when it ended."""

    @property
    def score(self) -> float | None:
        """At the end; None where it did not come to it."""
        return self.rungs[-1].score if self.state == "complete" else None

    @property
    def threshold(self) -> float | None:
        """That of the last score."""
        return self.rungs[-1].threshold if self.rungs else None

    @property
    def is_settled(self) -> bool:
        """Whether its costs are known."""
        return all(rung.seconds is not None for rung in self.rungs)

    @property
    def spent(self) -> float:
        """The stage-seconds that the search spent on it."""
        return sum(rung.spent or 0.0 for rung in self.rungs)

    def known(self) -> Known:
        """What proposals may know of it."""
        scores = tuple(rung.score for rung in self.rungs)
        seconds = tuple(rung.seconds or 0.0 for rung in self.rungs)
        return Known(self.number, self.values, self.state, self.score, scores, seconds)

    def settled(self, costs: Sequence[tuple[float, float]], claimed: Sequence[Ref]) -> Trial:
        """With the seconds, and those of them that were spent, of each rung."""
        pairs = zip(self.rungs, costs, strict=True)
        rungs = tuple(replace(rung, seconds=round(cost, 3), spent=round(spent, 3)) for rung, (cost, spent) in pairs)
        return replace(self, rungs=rungs, claimed=tuple(claimed))


class Notebook:
    """The documents of one recipe's search in a store."""

    def __init__(self, store: Store, suite: str, recipe: str, definition: str) -> None:
        self._store, self._folder = store, f"{search_folder(suite)}/trials/{recipe}-{definition[:8]}"

    def begin(self, parallel: int) -> Beginning:
        """When the search began, and with how many trials at once; now, where the store knows nothing of it."""
        try:
            content = json.loads(self._store.read_document(f"{self._folder}/{BEGINNING}"))
            beginning = Beginning(content["started"], content["parallel"])
            if datetime.fromisoformat(beginning.started).tzinfo is None or beginning.parallel < 1:
                raise ValueError
            return beginning
        except FileNotFoundError:
            beginning = Beginning(datetime.now(UTC).isoformat(), parallel)
            self._write(BEGINNING, asdict(beginning))
            return beginning
        except (ValueError, TypeError, LookupError):
            raise self._damaged(BEGINNING) from None

    def trials(self) -> dict[int, Trial]:
        """The trials that ended, by number; one whose document is damaged is run again."""
        found: dict[int, Trial] = {}
        for name, content in self._store.documents(self._folder).items():
            if name != BEGINNING:
                try:
                    trial = _parsed(json.loads(content))
                    is_its_own = name == _file_of(trial)
                except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
                    continue
                if is_its_own:
                    found[trial.number] = trial
        return dict(sorted(found.items()))

    def write(self, trial: Trial) -> None:
        """Keep how a trial ended."""
        # Not by `asdict`, which copies every value of it.
        self._write(_file_of(trial), {**vars(trial), "rungs": [vars(rung) for rung in trial.rungs]})

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content)
        self._store.write_documents({f"{self._folder}/{name}": text.encode()})

    def _damaged(self, name: str) -> UserError:
        where = f"{self._store.name}/{self._folder}/{name}"
        return UserError(where, "a damaged document", "that of a search", "remove it: trials are kept")


@dataclass(frozen=True)
class Beginning:
    """How a search began."""

    started: str
    """In universal time, as records of artefacts have it."""
    parallel: int
    """How many trials are under way at once."""


def _file_of(trial: Trial) -> str:
    return f"{trial.number:0{DIGITS}}.json"


def _parsed(content: dict[str, Any]) -> Trial:
    """A trial; ValueError, TypeError or LookupError where the document is none."""
    plain = dict(content)
    plain["rungs"] = tuple(RungRecord(**rung) for rung in content["rungs"])
    for name in ("targets", "claimed"):
        plain[name] = tuple(Ref(*ref) for ref in content[name])
    trial = Trial(**plain)
    numbers = [trial.hours, *(rung.score for rung in trial.rungs)]
    for rung in trial.rungs:
        numbers += [each for each in (rung.threshold, rung.seconds, rung.spent) if each is not None]
    # Of texts isfinite raises TypeError.
    is_whole = trial.state in get_args(State) and all(map(math.isfinite, numbers))
    if not is_whole or not isinstance(trial.values, dict) or not (trial.rungs or trial.state == "failed"):
        raise ValueError
    return trial
