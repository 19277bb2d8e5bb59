"""What `tests.golden.check` knows of a released program: its files' arrays, our outputs, what may differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

OUTPUT, GRADIENT = 2e-5, 1e-4
"""What may differ of an output or a loss, and of a gradient or an eigenvector: of the largest expected value."""


class Inputs(Mapping[str, Array]):
    """The arrays of a file by name; it remembers which were read: those are the inputs, all others are outputs."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays, self.read = arrays, set[str]()

    def __getitem__(self, name: str) -> Array:
        found = self._arrays[name]
        self.read.add(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def number(self, name: str) -> float:
        """An array without axes, as a number."""
        return float(self[name])

    def tensor(self, name: str) -> Any:
        """An array as a torch tensor of its own memory."""
        import torch

        return torch.from_numpy(self[name].copy())


@dataclass(frozen=True)
class System:
    """How the outputs of one released program are computed from its inputs by our modules.

    `outputs` takes the `Inputs` of a file and gives arrays, tensors or numbers by the names that they have in the file.
    `allowed` holds pairs of a pattern of names and what an array may differ of its largest expected value, the first
    that fits counting; what no pattern fits has the tolerance of outputs or, by its name, of gradients. `left_out`
    holds patterns of arrays that no module of ours stands for, with the reason.
    """

    outputs: Callable[[Inputs], Mapping[str, Any]]
    allowed: tuple[tuple[str, float], ...] = ()
    absolute: bool = False
    """Whether differences are taken as they are, and not relative to the largest expected value."""
    left_out: tuple[tuple[str, str], ...] = ()

    def tolerance(self, name: str, expected: Array) -> float:
        """What the array of this name may differ; 0 for masks, labels and counts."""
        fitting = [allowed for pattern, allowed in self.allowed if re.fullmatch(pattern, name)]
        if fitting:
            return fitting[0]
        if expected.dtype.kind != "f":
            return 0.0
        return GRADIENT if re.search("grad|eigenvector", name) else OUTPUT

    def reason_to_leave_out(self, name: str) -> str | None:
        """Why no module of ours stands for an array; None where one does."""
        return next((reason for pattern, reason in self.left_out if re.fullmatch(pattern, name)), None)
