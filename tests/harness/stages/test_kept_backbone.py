"""The suite's backbone is built once in a process, and kept only where its weights are those that keys name."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.stages.features import _network
from methods.base import BackboneOptions
from settings.errors import UserError


def work_on(content: str, refuses: bool = False) -> Any:
    def check_backbone(planned: object) -> None:
        if refuses:
            raise UserError("weights", "others", "those of the plan")

    options = BackboneOptions(name="test_efficientnet", weights="random", size=32)
    return SimpleNamespace(
        runtime=SimpleNamespace(place=SimpleNamespace(backbone=options)),
        stage=SimpleNamespace(device="cpu"),
        inputs={},
        identity=SimpleNamespace(backbone={"weight_files": [content]}),
        check_backbone=check_backbone,
    )


def test_the_same_weights_and_levels_are_built_once() -> None:
    first = _network(work_on("one"), (4,))
    assert _network(work_on("one"), (4,)) is first
    assert _network(work_on("one"), (1, 4)) is not first
    assert _network(work_on("two"), (4,)) is not first


def test_refused_weights_are_not_kept() -> None:
    with pytest.raises(UserError):
        _network(work_on("three", refuses=True), (4,))
    before = _network(work_on("four"), (4,))
    with pytest.raises(UserError):
        _network(work_on("three", refuses=True), (4,))
    assert _network(work_on("four"), (4,)) is before
