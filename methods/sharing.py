"""How several processes train one network: each takes a slice of every batch, and all take the same step.

Every process runs the same step function with the same random draws, made for the whole batch as one process makes
them, and keeps its slice of what was drawn (`of`). `methods.training.train` then adds up losses and gradients, weighted
by the lengths of the slices, so that terms that are means over the batch's items are those of one process. A term with
another divisor asks for it by `even`, one that compares items of a batch among each other by `gathered`. A step that
takes no slice is still right where it draws nothing on its own: all processes do the same work.

What stays different: dropout draws on each process by itself, sums are added in another order, and batch norm without
`sync_batch_norm` sees its process's slice alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from methods.reducing import reduced
from settings.errors import UserError

if TYPE_CHECKING:
    import torch


class ProcessesDiffer(RuntimeError):
    """The processes of a group do not hold the same network any more."""


class _Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Any: ...


Values = TypeVar("Values", bound=_Sliceable)


@dataclass(frozen=True)
class Share:
    """Which of the processes that train one network this one is; the default is the only one.

    With more than one, torch's default process group is theirs. All of them call the methods below in the same order;
    each raises PeerLost when another process is gone.
    """

    rank: int = 0
    size: int = 1
    sync_batch_norm: bool = True

    @property
    def is_first(self) -> bool:
        """Whether this process reports and keeps what is made."""
        return self.rank == 0

    def check(self, items: int) -> None:
        """Raise UserError where a batch of so many items leaves a process with too few."""
        least = least_items(self.size, self.sync_batch_norm)
        if items < least:
            raise too_few("compute.train_processes", self.size, self.sync_batch_norm, f"a batch of {items}")

    def slice_of(self, items: int) -> slice:
        """The items of a batch that are this process's: contiguous, without overlap, lengths differ by one at most."""
        return slice(items * self.rank // self.size, items * (self.rank + 1) // self.size)

    def of(self, values: Values) -> Values:
        """This process's part of what there is one of for each item of the batch: rows, draws, labels."""
        if self.size == 1:
            return values
        part: Values = values[self.slice_of(len(values))]
        return part

    def weight(self, items: int) -> float:
        """The share of a batch's items that are this process's."""
        here = self.slice_of(items)
        length: int = here.stop - here.start
        return length / items

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, without a gradient, of the shape and dtype of `values`."""
        return values if self.size == 1 else reduced(values)

    def even(self, count: torch.Tensor, items: int) -> torch.Tensor:
        """The divisor that makes a sum over this process's slice a mean over the whole batch of so many items.

        `count` is the divisor of the slice alone, its known pixels say: the result is what the slice would have of all
        processes' count, if that were spread evenly over the items.
        """
        return count if self.size == 1 else self.total(count) * self.weight(items)

    def any(self, flag: torch.Tensor) -> torch.Tensor:
        """Whether a boolean is true on any process."""
        return flag if self.size == 1 else self.total(flag.int()) > 0

    def gathered(self, values_BX: torch.Tensor, items: int) -> torch.Tensor:
        """The values of the whole batch from those of the slices (along the first axis), with a gradient.

        For losses that compare items among each other: each process then computes that of the whole batch.
        """
        if self.size == 1:
            return values_BX
        from methods.networks.synchronised import gathered

        return gathered(values_BX, self.slice_of(items), items)

    def begin_alike(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values, in place."""
        for values in tensors if self.size > 1 else ():
            sent = values.detach() if self.is_first else values.detach().new_zeros(values.shape)
            values.detach().copy_(reduced(sent))

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace floating values by their mean over the processes, in place."""
        for values in tensors if self.size > 1 else ():
            if values.is_floating_point():
                values.detach().copy_(reduced(values.detach()) / self.size)

    def agree(self, tensors: Iterable[torch.Tensor], when: str) -> None:
        """Raise ProcessesDiffer, on all of them, where the tensors are not the same bit by bit on all processes."""
        if self.size == 1:
            return
        import torch

        digest, device = sha256(), "cpu"
        for values in tensors:
            device = values.device.type
            digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        number = int.from_bytes(digest.digest()[:7]) - 2**55
        highest, negated_lowest = reduced(torch.tensor([number, -number], device=device), "max").tolist()
        if highest != -negated_lowest:
            raise ProcessesDiffer(f"{when}: the {self.size} processes hold different networks")


ALONE = Share()
"""One process, as usual."""


def least_items(size: int, sync_batch_norm: bool) -> int:
    """How many items a batch needs for so many processes: one each, two where batch norm needs company at home."""
    return size if sync_batch_norm or size == 1 else 2 * size


def too_few(where: str, size: int, sync_batch_norm: bool, batch: str) -> UserError:
    """What is said of more processes than a batch has items for."""
    each = "one item each" if sync_batch_norm else "two items each, since batch norm is not synchronised"
    return UserError(where, f"{size} processes for {batch}", f"at least {each}", "fewer processes or a larger batch")
