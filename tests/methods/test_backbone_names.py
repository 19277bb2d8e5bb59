"""Names of backbones, told apart without torch as timm would."""

import subprocess
import sys

import pytest

from methods import backbone_names
from methods.backbone_names import check_backbone, check_level, first_stride, patch_of
from methods.base import BackboneOptions
from settings.errors import UserError
from tests.conftest import REPOSITORY


def test_it_knows_what_timm_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    known = backbone_names._families()
    assert set(timm.list_models()) - set(known) == set()
    assert all(map(timm.is_model, known))
    monkeypatch.delitem(sys.modules, "timm")
    for name in ("tf_efficientnet_lite0", "resnet50", "resnet50.a1_in1k", "tv_resnet50"):
        check_backbone(BackboneOptions(name=name))
    with pytest.raises(UserError, match=r"backbone\.name: found unknown timm model 'resnet5'; .*did you mean 'resnet"):
        check_backbone(BackboneOptions(name="resnet5"))


@pytest.mark.parametrize(
    ("name", "first", "patch", "strides"),
    [
        ("resnet50.a1_in1k", 2, None, {8, 16, 32}),
        ("densenet121", 2, None, {32}),
        ("vgg16", 1, None, {32}),
        ("vgg16_largefov", 2, None, {8}),
        ("convnext_tiny", 4, None, {16, 32}),
        ("swin_tiny_patch4_window7_224", 4, None, {32}),
        ("swinv2_tiny_window8_256", 4, None, {32}),
        ("vit_small_patch16_224.augreg_in21k", None, 16, {16}),
        ("vit_small_patch14_dinov2", None, 14, {16}),
        ("vit_base_patch8_224", None, 8, {8}),
        ("deit_tiny_patch16_224", None, 16, {16}),
        ("flexivit_small", None, 16, {16}),
        ("mixer_b16_224", None, None, set()),
        ("levit_128", None, None, set()),
        ("inception_v3", None, None, set()),
    ],
)
def test_what_names_tell(name: str, first: int | None, patch: int | None, strides: set[int]) -> None:
    assert patch_of(name) == patch
    if first is not None:
        assert first_stride(name) == first
    for stride in (8, 16, 32):
        options = BackboneOptions(name=name, output_stride=stride)
        if stride in strides:
            check_backbone(options)
        else:
            with pytest.raises(UserError, match=f"for {name}$" if strides else "gives no features") as caught:
                check_backbone(options)
            assert "\n" not in str(caught.value)


def test_what_begins_at_stride_4_has_no_level_0() -> None:
    for name in ("convnext_tiny", "vit_tiny_patch16_224"):
        check_level(name, 1)
        with pytest.raises(UserError, match="no level 0"):
            check_level(name, 0)
    for name in ("resnet50", "tf_efficientnet_lite0", "vgg16"):
        check_level(name, 0)


REFUSED = {
    ("backbone.name=resnet5",): "unknown timm model",
    ("backbone.name=pit_ti_224",): "gives no features",
    ("backbone.name=swin_tiny_patch4_window7_224",): "backbone.output_stride: found 16; expected 32 for swin_tiny",
    (
        "backbone.name=vit_tiny_patch16_224",
        "recipes.cam.segmenter={name: deeplab_largefov, encoder: null}",
        "recipes.cam.training_mode=fine_tuned",
    ): "backbone.output_stride: found 8; expected 16 for vit_tiny_patch16_224",
    (
        "backbone.name=vit_tiny_patch16_224",
        "recipes.cam.segmenter={name: deeplab_largefov, encoder: {name: convnext_tiny, weights: random}}",
        "recipes.cam.training_mode=fine_tuned",
    ): "recipes.cam.segmenter.encoder.output_stride: found 8; expected 16 or 32 for convnext_tiny",
    (
        "backbone={name: convnext_tiny, output_stride: 32}",
        "recipes.cam.refiners=[{name: irn, levels: [0, 4]}]",
    ): "backbone convnext_tiny: found no level 0",
}


def test_a_plan_refuses_it_without_torch() -> None:
    script = (
        "import sys\n"
        "from harness.stages.planning import make_plan\n"
        "from harness.suites.suite import load_suite\n"
        "from settings.errors import UserError\n"
        f"for overrides, line in {REFUSED!r}.items():\n"
        "    try:\n"
        "        make_plan(load_suite('smoke', [*overrides, 'backbone.weights=random']))\n"
        "    except UserError as error:\n"
        "        assert line in str(error), error\n"
        "    else:\n"
        "        raise AssertionError(f'planned: {overrides}')\n"
        "assert not {'torch', 'timm'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)
