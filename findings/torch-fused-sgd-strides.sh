#!/usr/bin/env bash
# torch 2.13.0, CPU: SGD(fused=True) takes momentum by place in memory and not by index, and says nothing.
#
# One would guess that `fused` is a matter of speed: the same update in one pass. The default and `foreach` implementations
# add a parameter's gradient to its momentum element by element, whatever the strides of either. The fused one walks over
# the memory of parameter, gradient and momentum side by side. A network in channels_last memory whose momentum comes from
# a checkpoint (contiguous, as files keep tensors) so gets other numbers: each weight takes the momentum of another one.
# Adam's fused implementation was not looked at. A loaded buffer has to be copied into one like the parameter
# (torch.empty_like(parameter).copy_(loaded)).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import torch


def after_a_step(memory_format, **how):
    generator = torch.Generator().manual_seed(0)
    weight, gradient, momentum = (torch.randn(4, 3, 2, 2, generator=generator) for _ in range(3))
    parameter = torch.nn.Parameter(weight.to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, **how)
    optimizer.state[parameter]["momentum_buffer"] = momentum.contiguous(memory_format=memory_format)
    parameter.grad = gradient.contiguous(memory_format=torch.channels_last)
    optimizer.step()
    return parameter.detach()


for memory_format in (torch.channels_last, torch.contiguous_format):
    plain = after_a_step(memory_format, foreach=False)
    foreach = float((after_a_step(memory_format, foreach=True) - plain).abs().max())
    fused = float((after_a_step(memory_format, fused=True) - plain).abs().max())
    print(f"torch {torch.__version__}: momentum in {memory_format}: foreach off by {foreach:.2g}, fused by {fused:.2g}")
    assert foreach == 0
    assert (fused < 1e-6) == (memory_format == torch.channels_last), "the behaviour has changed"
PY
