"""Which rows may stand in one table.

Never mixed: data sets, selection policies, protocol versions, training modes, supervision, arithmetic, and, stage by
stage, evaluation fingerprints. Controls that neither train nor use supervision (empty fields) stand on every board; so
do ceilings, which train on true masks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, groupby
from typing import NamedTuple

from results.rows import CEILING, OptionSet, Row
from results.selection import chooser, is_held_out, is_ranked

__all__ = ["Board", "Evaluation", "boards"]


class Evaluation(NamedTuple):
    """What a stage was scored on."""

    split: str
    fingerprint: str


SUPERVISION = {"I": "image-level labels", "S": "saliency maps", "L": "language"}
"""What the letters of a board's supervision stand for; others are those of users."""
MEANINGS = {
    "frozen": "heads alone are trained, on stored features of the backbone",
    "fine_tuned": "the backbone is trained too",
    "bfloat16": "computed with 8 bits of precision",
    "bfloat16 products": "factors of products are rounded to 8 bits in training",
    "fixed": "options were declared before the run",
    "oracle": "the threshold is the best one on the very masks that are reported: a gap, no result",
    "voc/1": "mIoU of one confusion over all photos, background among the classes",
}
"""What the other words of a board's title say."""


@dataclass(frozen=True)
class Board:
    """Rows that may be compared, and what they have in common."""

    dataset: str
    policy: str
    protocol: str
    protocol_version: int
    training_mode: str
    supervision: str
    arithmetic: str
    rows: tuple[Row, ...]

    @property
    def ranked(self) -> bool:
        """Whether lines may be ranked at all."""
        return is_ranked(self.policy)

    @property
    def title(self) -> str:
        """One line that tells boards apart."""
        # float32 is what goes without saying.
        arithmetic = "" if self.arithmetic == "float32" else self.arithmetic
        policy = f"policy {self.policy}"
        parts = (self.dataset, self.supervision, self.training_mode, arithmetic, policy, self.protocol)
        return " · ".join(part for part in parts if part)

    @property
    def title_explained(self) -> str:
        """What the letters and words of the title stand for."""
        if self.supervision == CEILING:
            used = "true masks"
        else:
            used = ", ".join(SUPERVISION.get(letter, letter) for letter in self.supervision.split("+") if letter)
        parts = [f"{self.supervision}: trained on {used}"] if used else []
        for word in (self.training_mode, self.arithmetic, self.policy, self.protocol):
            if meaning := _held_out(word) if is_held_out(word) else MEANINGS.get(word):
                parts.append(f"{word}: {meaning}")
        return "; ".join(parts)

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """By stage."""
        return _evaluations(self.rows)


def _held_out(policy: str) -> str:
    masks = chooser(policy).masks
    which = f"{masks} of the true masks" if masks else "the true masks"
    return f"each line's threshold was chosen in the run, on {which} of dev, where it has one"


def boards(rows: Iterable[Row]) -> list[Board]:
    """Put rows onto boards, boards of ranked policies first, otherwise in the order of their names."""
    ordered = sorted(rows, key=lambda row: (not is_ranked(row.policy), _world(row)))
    found = []
    for world, group in groupby(ordered, key=_world):
        members = list(group)
        for kind in _groups_of_comparable(members):
            joined = [row for row in members if _joins(_comparable(row), kind)]
            found += [Board(*world, *kind, tuple(part)) for part in _by_evaluation(joined)]
    return found


class _World(NamedTuple):
    dataset: str
    policy: str
    protocol: str
    protocol_version: int


def _world(row: Row) -> _World:
    return _World(row.dataset, row.policy, row.protocol, row.protocol_version)


class _Comparable(NamedTuple):
    """What rows of a board agree in; an empty field agrees with all."""

    training_mode: str
    supervision: str
    arithmetic: str


def _comparable(row: Row) -> _Comparable:
    return _Comparable(row.training_mode, row.supervision, row.arithmetic)


def _groups_of_comparable(rows: list[Row]) -> list[_Comparable]:
    """What each board has in common; an empty field makes a board only where it can join no other."""
    kinds = {_comparable(row) for row in rows}
    return sorted(kind for kind in kinds if not any(kind != other and _joins(kind, other) for other in kinds))


def _joins(row: _Comparable, board: _Comparable) -> bool:
    is_ceiling_among_others = row.supervision == CEILING and board.supervision != ""
    return (
        row.training_mode in ("", board.training_mode)
        and (row.supervision in ("", board.supervision) or is_ceiling_among_others)
        and row.arithmetic in ("", board.arithmetic)
    )


def _by_evaluation(rows: list[Row]) -> list[list[Row]]:
    """Split rows so that each stage has one evaluation; what one run scored stays together where it can."""
    runs: dict[tuple[OptionSet, str, int], list[list[Row]]] = {}
    for row in rows:
        runs.setdefault((row.option_set, row.setting, row.rng_seed), []).append([row])
    return _packed(list(chain.from_iterable(_packed(run) for run in runs.values())))


def _packed(parts: list[list[Row]]) -> list[list[Row]]:
    packed: list[list[Row]] = []
    for part in parts:
        home = next((rows for rows in packed if _compatible(rows, part)), None)
        if home is None:
            packed.append(list(part))
        else:
            home += part
    return packed


def _compatible(rows: list[Row], others: list[Row]) -> bool:
    mine, theirs = _evaluations(rows), _evaluations(others)
    return all(mine[stage] == theirs[stage] for stage in mine.keys() & theirs.keys())


def _evaluations(rows: Iterable[Row]) -> dict[str, Evaluation]:
    # A failed row may not have come as far as knowing what it would be scored on: it fits everywhere.
    return {row.stage: Evaluation(row.split, row.evaluation_fingerprint) for row in rows if row.evaluation_fingerprint}
