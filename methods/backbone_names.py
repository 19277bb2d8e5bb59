"""Which networks can be backbones, told by their names without torch: planning refuses what every run would refuse.

A backbone has feature levels 0 to 4 at strides of 2, 4, 8, 16 and 32 pixels, its output stride at most. timm's networks
keep to that in three ways. Those that halve the side five times have all levels. Those that begin with patches of 4
pixels, such as ConvNeXt and Swin, lack level 0. Plain vision transformers have one grid, that of their patches: their
levels 1 to 4 are what a quarter, half, three quarters and all of their blocks give.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from methods.surroundings import BackboneOptions
from settings.errors import UserError, unknown_name

__all__ = ["check_backbone", "check_level", "family_of", "first_stride", "patch_of"]

_MODEL = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_OLD_NAMES = re.compile(r"register_model_deprecations\(__name__, \{(.*?)\}\)", re.DOTALL)
_KEY = re.compile(r"['\"](\w+)['\"]\s*:")
_PATCH = re.compile(r"patch(\d+)")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEFAULT = BackboneOptions().name
_OWN: Mapping[str, int] = {"resnet38": 8, "resnet50_irn": 16, "vgg16_largefov": 8}
"""Networks that timm does not have → their output stride."""
_PLAIN = frozenset({"vision_transformer", "deit", "eva"})
"""Families of plain vision transformers that take photos of any size."""
_DILATED = _names(
    "byobnet convnext cspnet cspnext efficientnet hardcorenas inception_next mobilenetv3 mobilevit nfnet regnet "
    "res2net resnest resnet resnetv2 rexnet sknet xception_aligned"
)
"""Families that can put dilation in the place of their last strides."""
_DILATED_ONCE = frozenset({"convnext", "inception_next"})
"""Of these, those for which that works once: their 2×2 kernels would then lie more than a cell beside their place."""
_PATCHES_OF_4 = _names(
    "convnext cpubone davit edgenext efficientvit_mit fasternet fastvit focalnet hgnet hieradet_sam2 iformer "
    "inception_next lcnetv2 lowformer mambaout metaformer mvitv2 nextvit pvt_v2 rdnet repvit starnet swiftformer "
    "swin_transformer swin_transformer_v2 swin_transformer_v2_cr tiny_vit tresnet twins"
)
"""Families whose first features are at stride 4."""
_HALVING = _names("densenet dpn ghostnet hrnet mobilenetv5 nasnet pnasnet repghost selecsls senet vovnet")
"""Families, beside the dilated ones, whose first features are at stride 2; Inception's cut borders of photos off."""
_FIRST_STRIDES: Mapping[str, int] = {
    "dla": 1,
    "vgg": 1,
    **dict.fromkeys(_HALVING | _DILATED, 2),
    **dict.fromkeys(_PATCHES_OF_4, 4),
}
_STRIDES_OF_PATCHES: Mapping[int, int] = {8: 8, 14: 16, 16: 16, 32: 32}
"""Side of a patch → the output stride that it stands for. Photos are shrunk so that 14 pixels are what 16 were."""


def check_backbone(options: BackboneOptions, where: str = "backbone") -> None:
    """Raise UserError for a backbone that is neither timm's nor ours, and for one that gives no such features.

    `where` is the option that holds its name.
    """
    name, stride = options.name, options.output_stride
    if name == _DEFAULT:
        return
    if name not in _OWN:
        known = _families()
        # Where timm lies in no folder there is nothing to hold the name against; a process that has imported timm runs
        # stages, with whatever networks were added to it: there the stage tells.
        if known and family_of(name) is None and "timm" not in sys.modules:
            raise unknown_name(f"{where}.name", "timm model", name, [*known, *_OWN])
        if family_of(name) is not None:
            _check_features(name, where)
    strides = _output_strides(name)
    if stride not in strides:
        raise UserError(f"{where}.output_stride", str(stride), f"{' or '.join(map(str, strides))} for {name}")


def check_level(name: str, level: int) -> None:
    """Raise UserError for a feature level that a backbone lacks: level 0 where features begin at stride 4 or more."""
    if level == 0 and (patch_of(name) or first_stride(name) > 2):
        raise UserError(f"backbone {name}", "no level 0 (stride 2)", "a method that reads levels 1 to 4 alone")


def family_of(name: str) -> str | None:
    """The file of timm's that a network comes from, such as `convnext`; None for a name that timm does not have."""
    if name == _DEFAULT:
        # Most suites have this one, and need not read timm's sources.
        return "efficientnet"
    # Behind a point stands which weights: `resnet50.a1_in1k`.
    return _families().get(name.partition(".")[0])


def first_stride(name: str) -> int:
    """Pixels from cell to cell of the first features that timm gives of a network that is no plain transformer."""
    return _FIRST_STRIDES.get(family_of(name) or "", 2)


def patch_of(name: str) -> int | None:
    """The side of the patches (pixels) of a plain vision transformer; None for any other network."""
    if family_of(name) not in _PLAIN:
        return None
    found = _PATCH.search(name)
    return int(found[1]) if found else 16


def _check_features(name: str, where: str) -> None:
    if family_of(name) not in _FIRST_STRIDES and patch_of(name) not in _STRIDES_OF_PATCHES:
        found = f"'{name}', of which timm gives no features that cover photos of any size at strides up to 32"
        expected = "such as resnet50, convnext_tiny, swin_tiny_patch4_window7_224, vit_small_patch16_224"
        raise UserError(f"{where}.name", found, f"a network with such features, {expected}")


def _output_strides(name: str) -> tuple[int, ...]:
    if name in _OWN:
        return (_OWN[name],)
    if patch := patch_of(name):
        return (_STRIDES_OF_PATCHES[patch],)
    family = family_of(name)
    if family in _DILATED_ONCE:
        return (16, 32)
    return (8, 16, 32) if family in _DILATED or family is None else (32,)


@cache
def _families() -> Mapping[str, str]:
    """Name of a network → its family, read off timm's sources: importing timm brings torch and takes seconds.

    Empty where the sources are not there.
    """
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    families: dict[str, str] = {}
    for path in Path(spec.submodule_search_locations[0], "models").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        families.update(dict.fromkeys(_MODEL.findall(text), path.stem))
        for old in _OLD_NAMES.findall(text):
            families.update(dict.fromkeys(_KEY.findall(old), path.stem))
    return families
