"""Which names of backbones there are, found without torch: planning refuses a name that every run would refuse."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from methods.initial_weights import FITTING
from methods.surroundings import BackboneOptions
from settings.errors import unknown_name

__all__ = ["check_backbone"]

_MODEL = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_OLD_NAMES = re.compile(r"register_model_deprecations\(__name__, \{(.*?)\}\)", re.DOTALL)
_KEY = re.compile(r"['\"](\w+)['\"]\s*:")


def check_backbone(name: str, where: str = "backbone.name") -> None:
    """Raise UserError, with the nearest name, for a backbone that is neither timm's nor ours."""
    # Most suites have one of these, and need not read timm's sources. A process that has imported timm runs stages,
    # with whatever networks were added to it: there the stage tells.
    if name == BackboneOptions().name or name in FITTING or "timm" in sys.modules:
        return
    known = _timm_networks()
    # Behind a point stands which weights: `resnet50.a1_in1k`.
    if known and name.partition(".")[0] not in known:
        raise unknown_name(where, "timm model", name, [*known, *FITTING])


@cache
def _timm_networks() -> frozenset[str]:
    """Read off timm's sources, since importing it brings torch and takes seconds; empty where they are not there."""
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    names: set[str] = set()
    for path in Path(spec.submodule_search_locations[0], "models").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        names.update(_MODEL.findall(text))
        for old in _OLD_NAMES.findall(text):
            names.update(_KEY.findall(old))
    return frozenset(names)
