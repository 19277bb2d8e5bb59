"""ResNet-38 against the released definition: names, shapes, and features with seeded weights at 1/32 of its widths."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from methods.base import BackboneOptions
from methods.networks.backbones import build
from methods.networks.resnet38 import NOT_TRAINED, ResNet38, named_as_released
from settings.errors import UserError
from tests.conftest import REPOSITORY
from tests.golden.make_released import released_weights

OPTIONS = BackboneOptions(name="resnet38", weights="random", output_stride=8, size=64)
THINNESS = 32


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(REPOSITORY / "tests" / "golden" / "resnet38.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def shapes(golden: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """Of the released network's tensors by their names, at full width."""
    found: dict[str, list[int]] = json.loads(str(golden["shapes"]))
    return found


def thin(*levels: int) -> ResNet38:
    network = ResNet38(levels, 8, THINNESS)
    network.load_state_dict(released_weights(network.state_dict()))
    return network.eval()


def test_features_are_those_of_the_released_network(golden: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        found = thin(2, 3, 4)(torch.from_numpy(golden["image"]))
    for ours, name in zip(found, ("conv4", "conv5", "conv6"), strict=True):
        theirs = torch.from_numpy(golden[name])
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.max()))
        assert float(theirs.std()) > 0.01


def test_names_shapes_and_counts_are_the_released_ones(shapes: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        network = ResNet38((2, 3, 4), 8)
    ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items() if "num_batches" not in name}
    assert ours == shapes
    expected = sum(math.prod(shape) for name, shape in shapes.items() if "running" not in name)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 105_070_912
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 37 + 6


def test_levels_have_the_strides_that_other_backbones_have_at_output_stride_8() -> None:
    network = thin(0, 1, 2, 3, 4)
    with torch.inference_mode():
        levels = network(torch.randn(1, 3, 64, 48))
        (second,) = thin(1)(torch.randn(1, 3, 64, 48))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (128 // 32, 32, 24),
        (256 // 32, 16, 12),
        (512 // 32, 8, 6),
        (1024 // 32, 8, 6),
        (4096 // 32, 8, 6),
    ]
    assert network.feature_info.channels() == [level.shape[1] for level in levels]
    assert network.feature_info.reduction() == [2, 4, 8, 8, 8]
    assert second.shape == levels[1].shape


def test_in_training_norms_stand_still_and_the_first_stage_learns_nothing() -> None:
    network = thin(4).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.randn(2, 3, 32, 32))[0].square().mean().backward()
    optimizer.step()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    expected = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    expected = {f"{name}.weight" for name in expected if name.split(".")[0] not in NOT_TRAINED}
    assert changed == expected


def test_bottlenecks_drop_whole_channels_in_training() -> None:
    network = thin(4)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images)[0], network(images)[0])
        network.train()
        torch.manual_seed(0)
        assert not torch.equal(network(images)[0], network(images)[0])
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout2d) and module.p]
    assert rates == [0.3, 0.5]


def test_random_weights_neither_fade_nor_grow_over_the_units() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        first, last = ResNet38((0, 4), 8, 8).eval()(torch.randn(1, 3, 64, 64))
    assert 0.1 < float(last.std() / first.std()) < 10


def mxnet_name(name: str) -> str:
    """What a tensor of the network is called in the authors' file."""
    layer, *rest = name.split(".")
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
    if layer == "conv1a":
        return "arg:conv1a_weight"
    if layer == "bn7":
        return f"arg:bn7_{kinds[rest[-1]]}"
    stage, _, index = layer[1:].partition("_")
    block = f"{stage}b{index}" if index else f"{stage}a"
    kind, branch = rest[0].split("_")
    if kind == "conv":
        return f"res{block}_{branch}_weight"
    return f"bn{block}_{branch}_{kinds[rest[-1]]}"


def test_parameters_of_the_authors_file_take_the_released_names(shapes: dict[str, list[int]]) -> None:
    theirs = {mxnet_name(name): np.full((1,), index, np.float32) for index, name in enumerate(shapes)}
    named = named_as_released({**theirs, "arg:linear1000_weight": np.zeros(1), "arg:linear1000_bias": np.zeros(1)})
    assert {name: int(tensor) for name, tensor in named.items()} == {name: i for i, name in enumerate(shapes)}


def test_a_released_file_with_a_classifier_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.__globals__["OWN_NETWORKS"], "resnet38", lambda *of: ResNet38(*of, THINNESS))
    weights = released_weights(ResNet38((4,), 8, THINNESS).state_dict())
    released = {name: tensor for name, tensor in weights.items() if "num_batches" not in name}
    torch.save({**released, "fc8.weight": torch.zeros(20, 128, 1, 1)}, tmp_path / "res38_cls.pth")
    backbone = build(OPTIONS.model_copy(update={"weights": str(tmp_path / "res38_cls.pth")}), (4,))
    found = backbone.body.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in released.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_stride": 16}, ["backbone.output_stride", "16", "8 for resnet38"]),
        ({"weights": "pretrained"}, ["backbone.weights", "'pretrained' for resnet38", ".params"]),
        ({"weights": "packaged"}, ["backbone.weights", "'packaged' for resnet38"]),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, object], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.__globals__["OWN_NETWORKS"], "resnet38", lambda *of: ResNet38(*of, THINNESS))
    with pytest.raises(UserError) as caught:
        build(OPTIONS.model_copy(update=changes), (4,))
    assert all(word in str(caught.value) for word in words), str(caught.value)
