"""The one training loop: SGD or AdamW, groups of parameters, a schedule, mixed precision, a checkpoint every epoch.

All randomness comes from (rng seed, epoch), so a run that was killed continues from its last epoch to the same result.
Several processes train together as methods/sharing.py tells: `surroundings.share` says which of them this one is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from methods.base import Stopped, Surroundings, TrainingOptions
from methods.kernels.products import rounded
from methods.memory import kept_memory
from methods.networks.synchronised import SynchronisedBatchNorm
from methods.reducing import reduced
from methods.sharing import Share
from settings.files import replaced


class TrainingDiverged(RuntimeError):
    """A loss that is not finite: the stage fails with the epoch, the step and the values."""


Losses = Mapping[str, torch.Tensor]
StepFunction = Callable[[NDArray[np.int64], np.random.Generator], Losses]
"""(indices of the batch's items, the epoch's generator) → named loss terms, which are added.

With several processes each is given the whole batch, draws for all of it, and returns the terms of its own slice.
"""

AHEAD = 2
"""Steps before its own at which a batch is announced."""


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate: the option's rate times `factor`."""

    parameters: Sequence[nn.Parameter]
    factor: float = 1.0


def groups_of(module: nn.Module, factor: float = 1.0, bias_factor: float = 1.0) -> list[Group]:
    """What of a module is trained: its weights at `factor`, and its biases at `factor` times `bias_factor`."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if bias_factor == 1:
        return [Group([parameter for _, parameter in named], factor)]
    biases = [parameter for name, parameter in named if name.rpartition(".")[2] == "bias"]
    weights = [parameter for name, parameter in named if name.rpartition(".")[2] != "bias"]
    return [Group(weights, factor), Group(biases, factor * bias_factor)]


def train(
    module: nn.Module,
    groups: Sequence[Group],
    items: int,
    step: StepFunction,
    options: TrainingOptions,
    surroundings: Surroundings,
    begins: Mapping[str, int] | None = None,
    ahead: Callable[[NDArray[np.int64], np.random.Generator], None] | None = None,
) -> tuple[Mapping[str, float], ...]:
    """Train `module` in place on `items` items and return one row a epoch: mean of each loss term, learning rate.

    An epoch visits each item once; a last batch that is not full is dropped (batch norm needs company).
    A term named in `begins` counts from that epoch index on; before it is only logged. `ahead` is told of each batch,
    with the epoch's generator, two steps before `step` is: it may draw and begin to read what that step takes.
    Raises TrainingDiverged for a loss that is not finite, Stopped after an epoch in which the run was asked to stop.
    Where several processes train: UserError for a batch that is too small for them, and what methods/sharing.py raises.
    """
    share = surroundings.share
    share.check(min(items, options.batch))
    module.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(groups, options)
    folder = surroundings.checkpoint_folder
    checkpoint = Checkpoint(folder and folder / "training.safetensors", module, optimizer)
    log = checkpoint.load()
    share.agree([torch.tensor([len(log)], device=surroundings.device)], "the checkpoint that training continues from")
    share.begin_alike(checkpoint.tensors().values())
    with flushed_denormals(), kept_memory(), batch_norms(share):
        for epoch in range(len(log), options.epochs):
            counted = partial(_counted, epoch=epoch, begins=begins or {})
            log.append(_epoch(module, optimizer, items, step, counted, options, surroundings, epoch, ahead))
            if not share.sync_batch_norm:
                share.average(module.buffers())
            share.agree(checkpoint.tensors().values(), f"epoch {epoch}")
            if share.is_first:
                checkpoint.save(log)
            if len(log) < options.epochs and _is_stopping(surroundings):
                raise Stopped(f"stopped after epoch {epoch + 1} of {options.epochs}, which is kept")
    return tuple(log)


def optimizer_of(groups: Sequence[Group], options: TrainingOptions) -> torch.optim.Optimizer:
    """SGD, or AdamW (Loshchilov & Hutter, ICLR 2019), whose decay spares biases and norms, all with one axis at most.

    Each of its parameter groups has the `factor` of the group that it was made from.
    """
    # Fused: one pass over each parameter instead of five.
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            [{"params": list(group.parameters), "factor": group.factor} for group in groups],
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            nesterov=options.nesterov and options.momentum > 0,
            fused=True,
        )
    parts: list[dict[str, Any]] = []
    for group in groups:
        decayed = [parameter for parameter in group.parameters if parameter.ndim > 1]
        spared = [parameter for parameter in group.parameters if parameter.ndim <= 1]
        for parameters, decay in ((decayed, options.weight_decay), (spared, 0.0)):
            parts.append({"params": parameters, "factor": group.factor, "weight_decay": decay})
    return torch.optim.AdamW(parts, lr=options.learning_rate, betas=options.betas, fused=True)


def _is_stopping(surroundings: Surroundings) -> bool:
    """Whether one of the processes that train together is asked to stop; all of them find the same."""
    asked = torch.tensor(surroundings.is_stopping(), device=surroundings.device)
    return bool(surroundings.share.any(asked))


def batch_norms(share: Share) -> AbstractContextManager[object]:
    """What makes batch norms see the whole batch, where several processes train and the suite wants that."""
    return SynchronisedBatchNorm(share) if share.size > 1 and share.sync_batch_norm else nullcontext()


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers too small for a full mantissa count as 0, which is faster on a CPU; afterwards as before."""
    before = float(torch.tensor(1e-40) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    items: int,
    step: StepFunction,
    counted: Callable[[Losses], Losses],
    options: TrainingOptions,
    surroundings: Surroundings,
    epoch: int,
    ahead: Callable[[NDArray[np.int64], np.random.Generator], None] | None,
) -> dict[str, float]:
    rng = np.random.default_rng([surroundings.rng_seed, epoch])
    # Each process has dropout of its own: items of several slices shall not have one mask.
    torch.manual_seed((int(rng.integers(2**63)) + surroundings.share.rank) % 2**63)
    module.train()
    steps = max(1, items // options.batch)
    sums: dict[str, float] = {}
    batches = list(_batches(rng.permutation(items), options.batch))
    for index, batch in enumerate(batches):
        if ahead is not None:
            announced = index + AHEAD if index else 0
            for later in batches[announced : index + AHEAD + 1]:
                ahead(later, rng)
        rate = learning_rate(options, epoch, (epoch * steps + index) / (options.epochs * steps))
        _set_learning_rate(optimizer, rate)
        for name, value in _update(
            optimizer, step, counted, batch, rng, surroundings, f"epoch {epoch}, step {index}"
        ).items():
            sums[name] = sums.get(name, 0.0) + value
        means = {name: value / (index + 1) for name, value in sums.items()}
        surroundings.progress(epoch * steps + index + 1, options.epochs * steps, "steps", epoch=epoch + 1, **means)
    return {"epoch": epoch, "learning_rate": rate, **means}


def _batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    full = max(1, len(order) // size)
    return (order[index * size : (index + 1) * size] for index in range(full))


def learning_rate(options: TrainingOptions, epoch: int, fraction: float) -> float:
    """The rate of a step in epoch index `epoch`, after `fraction` of all steps.

    poly: base · (1 − fraction)^power (Chen et al., TPAMI 2018); step: a tenth from each milestone on.
    """
    factor: float = (1 - fraction) ** options.poly_power
    if options.schedule == "step":
        factor = 0.1 ** sum(epoch >= milestone for milestone in options.milestones)
    return options.learning_rate * factor


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _update(
    optimizer: torch.optim.Optimizer,
    step: StepFunction,
    counted: Callable[[Losses], Losses],
    batch: NDArray[np.int64],
    rng: np.random.Generator,
    surroundings: Surroundings,
    where: str,
) -> dict[str, float]:
    with _precision(surroundings):
        losses = step(batch, rng)
    values = _over_all(losses, surroundings.share, len(batch))
    if not all(map(math.isfinite, values.values())):
        raise TrainingDiverged(f"{where}: the loss is not finite ({values}); try a lower learning_rate")
    optimizer.zero_grad(set_to_none=True)
    total = torch.stack([loss.float() for loss in counted(losses).values()]).sum()
    if surroundings.share.size == 1:
        total.backward()  # type: ignore[no-untyped-call]
    else:
        (total * surroundings.share.weight(len(batch))).backward()  # type: ignore[no-untyped-call]
        _add_up_gradients([parameter for group in optimizer.param_groups for parameter in group["params"]])
    optimizer.step()
    return values


def _precision(surroundings: Surroundings) -> AbstractContextManager[object]:
    """On a GPU bfloat16 is autocast; on a CPU the factors of products are rounded, and nothing else."""
    is_bfloat16 = surroundings.precision == "bfloat16"
    if surroundings.device == "cpu":
        return rounded(is_bfloat16)
    return torch.autocast(surroundings.device, torch.bfloat16, enabled=is_bfloat16)


def _over_all(losses: Losses, share: Share, items: int) -> dict[str, float]:
    """The terms of the whole batch, the same on every process."""
    if share.size > 1:
        weighted = torch.stack([loss.detach().double() for loss in losses.values()]) * share.weight(items)
        return dict(zip(losses, share.total(weighted).tolist(), strict=True))
    return {name: float(loss.detach()) for name, loss in losses.items()}


def _add_up_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every parameter the sum of its gradients on all processes, in one message.

    A parameter without a gradient anywhere keeps none: the optimizer leaves it alone, as one process would.
    """
    has = [parameter.grad is not None for parameter in parameters]
    flags = parameters[0].new_tensor(has, dtype=parameters[0].dtype)
    slopes = [(p if p.grad is None else p.grad).reshape(-1) for p in parameters]
    parts = [slope if there else torch.zeros_like(slope) for slope, there in zip(slopes, has, strict=True)]
    summed = reduced(torch.cat([*parts, flags]))
    *sums, flags = torch.split(summed, [*(len(part) for part in parts), len(flags)])
    for parameter, slope, there in zip(parameters, sums, flags.tolist(), strict=True):
        if there:
            parameter.grad = torch.empty_like(parameter).copy_(slope.view(parameter.shape))


def _counted(losses: Losses, epoch: int, begins: Mapping[str, int]) -> Losses:
    """The terms that are trained on in an epoch."""
    return {name: loss for name, loss in losses.items() if epoch >= begins.get(name, 0)}


class Checkpoint:
    """The module, the optimizer's state and the log so far, in one safetensors file that is replaced in one step.

    Without a path nothing is kept, and there is nothing to go on from.
    """

    def __init__(self, path: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._path, self._module, self._optimizer = path, module, optimizer

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state as it is now: the module's, the optimizer's, and parameters that lie outside the module."""
        tensors = {f"module.{name}": value for name, value in self._module.state_dict().items()}
        tensors |= self._of_optimizer()
        inside = set(map(id, self._module.parameters()))
        outside = (parameter for parameter in self._parameters() if id(parameter) not in inside)
        return tensors | {f"outside.{index}": parameter.detach() for index, parameter in enumerate(outside)}

    def save(self, log: Sequence[Mapping[str, float]]) -> None:
        """Keep the state after the epochs in `log`."""
        if self._path is None:
            return
        tensors = {name: value for name, value in self.tensors().items() if not name.startswith("outside.")}
        # Not its parents: they are there, but for a store that is gone.
        self._path.parent.mkdir(exist_ok=True)
        kept, text = {name: value.cpu().contiguous() for name, value in tensors.items()}, json.dumps(log)
        with replaced(self._path) as partial_path:
            save_file(kept, partial_path, {"log": text, "sha256": _digest(kept, text)})

    def load(self) -> list[Mapping[str, float]]:
        """Restore the last state and return its log; an absent, damaged or foreign file means the beginning."""
        if self._path is None:
            return []
        try:
            with safe_open(self._path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
                text, digest = file.metadata()["log"], file.metadata()["sha256"]
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return []
        if digest != _digest(tensors, text):
            return []
        log: list[Mapping[str, float]] = json.loads(text)
        state = _with_prefix(tensors, "module.")
        if _shapes(state) != _shapes(self._module.state_dict()) or not all(map(_is_known, tensors)):
            return []
        self._module.load_state_dict(state)
        parameters = self._parameters()
        for name, value in _with_prefix(tensors, "optimizer.").items():
            index, _, kind = name.partition(".")
            parameter = parameters[int(index)]
            restored = value.to(parameter.device)
            if value.shape == parameter.shape:
                # In the parameter's own order of memory: the optimizer's pass does not look at strides.
                restored = torch.empty_like(parameter.detach()).copy_(value)
            self._optimizer.state[parameter][kind] = restored
        return log

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _of_optimizer(self) -> dict[str, torch.Tensor]:
        """What the optimizer keeps of each parameter: SGD its momentum, AdamW two means and the number of steps."""
        found: dict[str, torch.Tensor] = {}
        for index, parameter in enumerate(self._parameters()):
            for kind, value in self._optimizer.state[parameter].items():
                if value is not None:
                    found[f"optimizer.{index}.{kind}"] = value
        return found


def _digest(tensors: Mapping[str, torch.Tensor], log: str) -> str:
    """sha256 of a checkpoint's content: a flipped bit would be trained on without a word."""
    digest = sha256(log.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_known(name: str) -> bool:
    """Whether a checkpoint's tensor is of a kind that is restored; other versions kept other ones."""
    return name.startswith(("module.", "optimizer."))


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def _with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def named_tensors(**modules: nn.Module) -> dict[str, torch.Tensor]:
    """The state of several modules as one flat dictionary, `name.parameter` → tensor on the CPU."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def part_of(weights: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The state of one module out of what `named_tensors` made."""
    return _with_prefix(weights, f"{name}.")
