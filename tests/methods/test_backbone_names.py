"""Names of backbones, told apart without torch as timm would."""

import subprocess
import sys

import pytest

from methods import backbone_names
from methods.backbone_names import check_backbone
from settings.errors import UserError
from tests.conftest import REPOSITORY


def test_it_knows_what_timm_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    known = backbone_names._timm_networks()
    assert set(timm.list_models()) - known == set()
    assert all(map(timm.is_model, known))
    monkeypatch.delitem(sys.modules, "timm")
    for name in ("tf_efficientnet_lite0", "vgg16_largefov", "resnet50", "resnet50.a1_in1k", "tv_resnet50"):
        check_backbone(name)
    with pytest.raises(UserError, match=r"backbone\.name: found unknown timm model 'resnet5'; .*did you mean 'resnet"):
        check_backbone("resnet5")


def test_a_plan_refuses_it_without_torch() -> None:
    script = (
        "import sys\n"
        "from harness.stages.planning import make_plan\n"
        "from harness.suites.suite import load_suite\n"
        "from settings.errors import UserError\n"
        "try:\n"
        "    make_plan(load_suite('smoke', ['backbone.name=resnet5']))\n"
        "except UserError as error:\n"
        "    assert 'unknown timm model' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('planned')\n"
        "assert not {'torch', 'timm'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)
