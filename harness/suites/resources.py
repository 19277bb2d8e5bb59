"""What stages ask of the machine that runs them, beside their compute threads; none of it changes an outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from settings.options import Options

__all__ = ["Demand", "Resources", "Wants", "most", "told"]

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}
Wants = Mapping[str, float]
"""How much of what: `threads`, `gpus`, `memory` (bytes), and custom resources by their names."""
# 0.33 and 0.17 mean a third and a sixth.
ROUNDED = 0.15
# What has a key of its own under `resources:`, or is asked for by the number of threads.
RESERVED = ("threads", "gpus", "memory")


@dataclass(frozen=True)
class Demand:
    """What each process of a stage asks for; `gpus` None: one where it computes on a GPU, else none."""

    gpus: float | None = None
    memory_bytes: int = 0
    custom: tuple[tuple[str, float], ...] = ()
    timeout_s: float = 0.0
    """After which its processes are ended and it is begun again; 0: never."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Demand:
        """The demand that `dataclasses.asdict` wrote, its tuples as JSON's lists."""
        custom = tuple((str(name), float(value)) for name, value in content["custom"])
        return cls(**{**content, "custom": custom})

    def gpus_on(self, device: str) -> float:
        """How many GPUs one process wants that computes on `device` (`cpu` or `cuda`)."""
        if self.gpus is None:
            return float(device == "cuda")
        return self.gpus

    def wants(self, threads: int, processes: int, device: str) -> Wants:
        """All that so many threads and processes ask for together; what is not asked for is left out."""
        wanted = {"threads": float(threads)}
        each = {"gpus": self.gpus_on(device), "memory": float(self.memory_bytes), **dict(self.custom)}
        for name, amount in each.items():
            wanted[name] = processes * amount
        return {name: amount for name, amount in wanted.items() if amount}


def most(wants: Iterable[Wants]) -> Wants:
    """What serves them all, one after the other."""
    together: dict[str, float] = {}
    for one in wants:
        for name, amount in one.items():
            together[name] = max(together.get(name, 0.0), amount)
    return together


def told(name: str, amount: float) -> str:
    """An amount for people: `1 GPU`, `8 GiB of memory`, `2 of fast_disk`."""
    if name == "memory":
        return f"{amount / UNITS['GiB']:.3g} GiB of memory"
    if name in RESERVED:
        noun = {"threads": "thread", "gpus": "GPU"}[name]
        return f"{amount:.3g} {noun}{'s' * (amount != 1)}"
    return f"{amount:.3g} of {name}"


def _with_unit(units: Mapping[str, int], example: str) -> BeforeValidator:
    """Reads a number and its unit, such as `8 GiB`, as a number of the smallest unit."""
    expected = f"a number and its unit ({', '.join(filter(None, units))}), such as {example}"

    def read(value: object) -> float:
        matched = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
        if not matched or matched[2] not in units:
            raise ValueError(expected)
        return float(matched[1]) * units[matched[2]]

    return BeforeValidator(read)


def _share(gpus: float | None) -> float | None:
    """Whole GPUs or 1/k: other shares leave rests that nothing fits into."""
    if gpus is None or gpus == 0:
        return gpus
    if gpus >= 1 and gpus == round(gpus):
        return gpus
    if gpus > 0 and abs(1 / gpus - round(1 / gpus)) < ROUNDED:
        return 1 / round(1 / gpus)
    raise ValueError("whole GPUs, or one k-th of one (0.5, 0.25, …)")


def _custom(amounts: dict[str, float]) -> dict[str, float]:
    for name, amount in sorted(amounts.items()):
        if name.lower() in (*RESERVED, "cpu", "gpu"):
            raise ValueError(f"custom resources beside what has a key of its own, as '{name}' has")
        if amount <= 0:
            raise ValueError("amounts above 0")
    return amounts


class Resources(Options):
    """What a suite says of a kind of stage under `resources:`."""

    gpu: Annotated[float | None, AfterValidator(_share)] = Field(
        None, description="whole GPUs or 1/k of one, so that k stages share it; default: 1 for what computes on a GPU"
    )
    memory: Annotated[float, _with_unit(UNITS, "8 GiB")] = Field(0.0, description="kept free for the stage: `8 GiB`")
    custom: Annotated[dict[str, float], AfterValidator(_custom)] = Field(
        default_factory=dict, description="resources that the cluster's nodes declare, by name"
    )
    timeout: Annotated[float, _with_unit(SECONDS, "90 min")] = Field(
        0.0, description="after which a stage's processes are ended and it is begun again: `90 min`"
    )

    def demand(self) -> Demand:
        """The resources in the form that stages carry: bytes, seconds, and custom ones sorted by name."""
        return Demand(self.gpu, round(self.memory), tuple(sorted(self.custom.items())), self.timeout)
