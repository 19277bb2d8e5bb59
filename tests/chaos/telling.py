"""What was killed when, and what came of it: collected here, told at the end of the tests."""

from collections.abc import Sequence

from tests.chaos.moments import Moment

told: list[str] = []


def tell(came: Sequence[Sequence[Moment]], wrong: Sequence[str]) -> None:
    """A line for a round: the moments of each of its runs, and the verdict."""
    runs = " | ".join(" then ".join(map(str, moments)) or "not killed" for moments in came)
    told.append(f"{runs}: {'; '.join(wrong) or 'as if nothing had happened'}")
