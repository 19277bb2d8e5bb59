"""Weight files and checkpoints from anywhere: tensors that fit, or one line; no code in them is ever run."""

import io
import json
import os
import pickle
import struct
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.judging import DAMAGE, Damage, damaged, folder, judge, share

torch = pytest.importorskip("torch")

import timm  # noqa: E402
from safetensors.torch import save  # noqa: E402
from torch import nn  # noqa: E402

from methods.base import BackboneOptions  # noqa: E402
from methods.networks.backbones import build  # noqa: E402
from methods.training import Checkpoint  # noqa: E402

NAME = "test_efficientnet"


@cache
def state() -> dict[str, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return dict(timm.create_model(NAME).state_dict())


@cache
def file_of(kind: str) -> bytes:
    if kind == "safetensors":
        return save(state())
    buffer = io.BytesIO()
    torch.save(state(), buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


class Trap:
    """What runs code when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def built(path: Path) -> nn.Module | None:
    return judge(lambda: build(BackboneOptions(name=NAME, weights=str(path), size=64), (4,)).body)


@given(kind=st.sampled_from(["safetensors", "zip", "legacy"]), damage=st.one_of(st.just([]), DAMAGE, DAMAGE))
@share(0.03)
def test_damaged_files(kind: str, damage: Damage) -> None:
    content = file_of(kind)
    with folder() as root:
        path = root / ("w.safetensors" if kind == "safetensors" else "w.pth")
        path.write_bytes(damaged(content, damage))
        body = built(path)
        if path.read_bytes() == content:
            assert body is not None
            assert all(torch.equal(value, state()[name]) for name, value in body.state_dict().items())


@st.composite
def odd_values(draw: st.DrawFn) -> Any:
    """What may stand in a .pth where a tensor is expected."""
    shape = tuple(state()["conv_stem.weight"].shape)
    return draw(
        st.sampled_from(
            [
                *(3, "text", None, [], {}, torch.zeros(1), torch.zeros(shape, dtype=torch.complex64)),
                *(
                    torch.zeros(1).expand(10**6, 10**6),
                    torch.zeros(shape).to_sparse(),
                    torch.zeros(shape, device="meta"),
                ),
                *(
                    torch.full(shape, torch.nan),
                    torch.zeros(shape, dtype=torch.int64),
                    nn.Parameter(torch.zeros(shape)),
                ),
            ]
        )
    )


@given(value=odd_values(), key=st.sampled_from(["conv_stem.weight", "unknown", 3, None, b"conv_stem.weight"]))
@share(0.02)
def test_odd_contents(value: Any, key: Any) -> None:
    with folder() as root:
        torch.save({**state(), key: value}, root / "w.pth")
        built(root / "w.pth")


@given(protocol=st.integers(0, 5), wrapped=st.booleans(), suffix=st.sampled_from(["pth", "safetensors", "pt", "bin"]))
@share(0.01)
def test_pickles_run_nothing(protocol: int, wrapped: bool, suffix: str) -> None:
    with folder() as root:
        trap = {"conv_stem.weight": Trap(root / "run")}
        path = root / f"w.{suffix}"
        if wrapped:
            torch.save(trap, path)
        else:
            path.write_bytes(pickle.dumps(trap, protocol))
        assert built(path) is None
        assert not (root / "run").exists()


@given(
    length=st.sampled_from([0, 1, 10, 10**6, 2**40, 2**63, 2**64 - 1]),
    dtype=st.sampled_from(["F32", "F99", "BOOL", "F8_E4M3", 3]),
    shape=st.lists(st.sampled_from([0, 1, 2, -1, 2**62, 1.5]), max_size=3),
    offsets=st.lists(st.sampled_from([0, 4, 8, -1, 2**63]), max_size=3),
)
@share(0.02)
def test_safetensors_headers_that_lie(length: int, dtype: Any, shape: list[Any], offsets: list[int]) -> None:
    header = json.dumps({"conv_stem.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()
    with folder() as root:
        for size in (length, len(header)):
            (root / "w.safetensors").write_bytes(struct.pack("<Q", size) + header + bytes(8))
            assert built(root / "w.safetensors") is None


@given(damage=DAMAGE)
@share(0.02)
def test_damaged_checkpoints_mean_the_beginning(damage: Damage) -> None:
    """Training goes on from a whole checkpoint, and from no other."""
    with folder() as root, torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        module(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        path = root / "training.safetensors"
        Checkpoint(path, module, optimizer).save([{"epoch": 0, "loss": 1.0}])
        content = path.read_bytes()
        path.write_bytes(damaged(content, damage))
        other = nn.Linear(3, 2)
        before = {name: value.clone() for name, value in other.state_dict().items()}
        log = judge(lambda: Checkpoint(path, other, torch.optim.SGD(other.parameters(), lr=0.1)).load())
        expected = module.state_dict() if log else before
        assert log in ([], [{"epoch": 0, "loss": 1.0}])
        assert path.read_bytes() != content or log
        assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())
