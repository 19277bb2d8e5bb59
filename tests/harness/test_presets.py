"""Presets of papers: their options are the released programs', whose names and files stand beside (docs/presets.md)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.stages.planning import make_plan
from harness.suites.recipes import components_of
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.conftest import REPOSITORY

SCENES = "dataset={name: scenes, classes: 2, size: 64, train: 12, dev: 4, val: 4}"
RANDOM = "backbone.weights=random"
JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
POLY = {"schedule": "poly", "poly_power": 0.9, "nesterov": False}
IRN_CAM = {
    "backbone": {"name": "resnet50_irn", "output_stride": 16},
    "localizer": {
        "hidden": 0,
        "dropout": 0.0,
        "bias": False,  # net/resnet50_cam.py
        "inputs": {"longer_side": (320, 640), "scales": None, "crop": 512, "flip": True},  # step/train_cam.py
        "scales": (1.0, 0.5, 1.5, 2.0),
        "flip": True,
        "aspect": None,  # --cam_scales, step/make_cam.py
        # --cam_num_epoches, --cam_batch_size, --cam_learning_rate ×1 and ×10, --cam_weight_decay, which is momentum too
        "training": POLY | {"epochs": 5, "batch": 16, "rates": (0.1, 1.0), "momentum": 1e-4, "weight_decay": 1e-4},
    },
    "thresholds": {"cam": 0.15},  # --cam_eval_thres
}
AFFINITY = {
    "radius": 5,
    "beta": 8.0,
    "group_norm": False,
    "label_refiner": "dense_crf",
    "aspect": None,
    "inputs": {"longer_side": None, "scales": (1.0, 1.0), "crop": 448, "flip": True, "jitter": JITTER},  # train_aff.py
}
RELEASED: Mapping[str, Mapping[str, Any]] = {
    "cam-paper": IRN_CAM,
    "irn-paper": IRN_CAM
    | {
        "refiner": {
            "foreground": 0.30,
            "background": 0.05,
            "label_refiner": "dense_crf",  # --conf_fg_thres, --conf_bg_thres
            "levels": (0, 1, 2, 3, 4),  # net/resnet50_irn.py
            "training_radius": 10,
            "radius": 5,  # step/train_irn.py, step/make_sem_seg_labels.py
            "beta": 10.0,
            "log2_steps": 8,  # --beta, --exp_times
            "inputs": {"longer_side": None, "scales": (0.5, 1.5), "crop": 512, "flip": True},  # step/train_irn.py
            # --irn_num_epoches, --irn_batch_size, --irn_learning_rate ×1 of the edge layers, --irn_weight_decay
            "training": POLY | {"epochs": 3, "batch": 32, "rates": (0.0, 0.1), "momentum": 1e-4, "weight_decay": 1e-4},
        },
        "thresholds": {"cam": 0.15, "cam+irn": 0.25},  # --sem_seg_bg_thres
    },
    "psa-paper": {
        "backbone": {"name": "resnet38", "output_stride": 8},
        "localizer": {
            "hidden": 0,
            "dropout": 0.5,
            "bias": False,  # network/resnet38_cls.py
            "inputs": {"longer_side": (256, 512), "scales": None, "crop": 448, "flip": True, "jitter": JITTER},
            "scales": (1.0, 0.5, 1.5, 2.0),
            "flip": True,
            "aspect": None,  # infer_cls.py
            # README: --max_epoches 15 --batch_size 16 --lr 0.1 --wt_dec 5e-4
            "training": POLY | {"epochs": 15, "batch": 16, "rates": (0.1, 1.0), "momentum": 5e-4, "weight_decay": 5e-4},
        },
        "refiner": AFFINITY
        | {
            "low": 4.0,
            "high": 32.0,  # infer_cls.py --low_alpha, --high_alpha
            "background_power": 16.0,
            "log2_steps": 8,  # infer_aff.py --alpha, --logt
            # README: --max_epoches 8 --batch_size 8 --lr 0.1 --wt_dec 5e-4
            "training": POLY | {"epochs": 8, "batch": 8, "rates": (0.1, 1.0), "momentum": 5e-4, "weight_decay": 5e-4},
        },
        "thresholds": {"cam": 0.2, "cam+affinity": None},  # infer_cls.py out_cam_pred; infer_aff.py: argmax
    },
    "seam-paper": {
        "backbone": {"name": "resnet38", "output_stride": 8},
        "localizer": {
            "hidden": 0,
            "dropout": 0.5,
            "bias": False,
            "correlation_levels": (2, 3),  # network/resnet38_SEAM.py
            "inputs": {"longer_side": (448, 768), "scales": None, "crop": 448, "flip": True, "jitter": JITTER},
            "small_scale": 0.3,
            "equivariance": True,
            "consistency": True,
            "min_pooling": True,  # train_SEAM.py
            "scales": (0.5, 1.0, 1.5, 2.0),
            "flip": True,
            "rivals": "all",
            "aspect": None,  # infer_SEAM.py
            # --max_epoches, --batch_size, --lr, --wt_dec of train_SEAM.py
            "training": POLY | {"epochs": 8, "batch": 8, "rates": (0.01, 0.1), "momentum": 5e-4, "weight_decay": 5e-4},
        },
        "refiner": AFFINITY
        | {
            "low": 4.0,
            "high": 24.0,  # infer_SEAM.py crf_alpha
            "background_power": 6.0,
            "log2_steps": 6,  # infer_aff.py --alpha, --logt
            "training": POLY | {"epochs": 8, "batch": 8, "rates": (0.01, 0.1), "momentum": 5e-4, "weight_decay": 5e-4},
        },
        # seamv1-pseudovoc/config.py; lib/net/deeplabv1.py
        "segmenter": {
            "width": 512,
            "crop": 448,
            "scales": (0.5, 1.5),
            "iterations": 20_000,
            "encoder": None,
            "inference": {"scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), "flip": True},
            "training": {
                "batch": 10,
                "rates": (0.001, 0.01),
                "bias_factor": 2.0,
                "momentum": 0.9,
                "weight_decay": 5e-4,
            },
        },
        "thresholds": {"seam": 0.26, "seam+affinity": None},  # infer_SEAM.py --out_cam_pred_alpha
    },
}


@pytest.fixture(autouse=True)
def _with_a_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if its package were installed: plans are made, and nothing is run."""
    monkeypatch.setattr("methods.label_steps.require_dense_crf", lambda *_: None)
    monkeypatch.setattr("methods.segmenting.require_dense_crf", lambda *_: None)


def check(found: Any, expected: Mapping[str, Any], where: str) -> None:
    """Each expected entry, however deep, is that of the options; `rates` are those of backbone and new layers."""
    for name, value in expected.items():
        if isinstance(value, Mapping):
            check(getattr(found, name), value, f"{where}.{name}")
        elif name == "rates":
            rates = (found.learning_rate * found.backbone_factor, found.learning_rate)
            assert rates == pytest.approx(value), where
        else:
            assert getattr(found, name) == value, f"{where}.{name}"


@pytest.mark.parametrize("preset", RELEASED)
def test_options_are_the_released_programs(preset: str) -> None:
    suite = load_suite(preset, (SCENES, RANDOM))
    assert not make_plan(suite).skipped
    assert suite.training_mode == "fine_tuned"
    released = RELEASED[preset]
    check(suite.backbone, released["backbone"], "backbone")
    recipes = {name: components_of(name, recipe, suite) for name, recipe in suite.all_recipes().items()}
    recipes = {name: components for name, components in recipes.items() if name in suite.recipes}
    thresholds = {name: components.labeler.declared_threshold for name, components in recipes.items()}
    assert thresholds == released["thresholds"]
    last = recipes[[*recipes][-1]]
    check(last.localizer.options, released["localizer"], "localizer")
    assert len(last.refiners) == ("refiner" in released)
    for refiner in last.refiners:
        check(refiner.options, released["refiner"], "refiner")
    if "segmenter" in released:
        check(last.segmenter.options, released["segmenter"], "segmenter")
    else:
        assert last.segmenter is None


@pytest.mark.parametrize("preset", RELEASED)
def test_it_names_what_is_absent(preset: str) -> None:
    file = "resnet50-19c8e357.pth" if "resnet50" in RELEASED[preset]["backbone"]["name"] else "ep-0001.params"
    for overrides, words in (((SCENES,), file), ((RANDOM,), "dataset.root")):
        with pytest.raises(UserError) as caught:
            make_plan(load_suite(preset, overrides))
        assert words in str(caught.value)


def reduced(preset: str, photos: str) -> list[str]:
    """The `--set` lines of a preset's head that start it at a reduced size, on `synthetic` photos or on `real` ones."""
    lines = (REPOSITORY / "settings" / "suites" / f"{preset}.yaml").read_text(encoding="utf-8").splitlines()
    head = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    _, _, run = head.partition(f"seedbed run {preset}")
    common, synthetic, real = re.split("on synthetic photos with|and on real ones", run)
    chosen = common + {"synthetic": synthetic, "real": real}[photos]
    return [one.replace("'", "") for one in re.findall(r"--set (\S+='.*?'|\S+)", chosen)]


@pytest.mark.parametrize("preset", RELEASED)
@pytest.mark.parametrize("photos", ["synthetic", "real"])
def test_the_reduced_run_of_its_head_is_planned(preset: str, photos: str, real_data: Path) -> None:
    """Every recipe, without a file of weights and without the CRF's package."""
    overrides = [one.replace("DATA", str(real_data)) for one in reduced(preset, photos)]
    plan = make_plan(load_suite(preset, overrides))
    assert not plan.skipped
    fits = [stage for stage in plan.graph.values() if stage.kind.name.endswith("_fit")]
    assert len(fits) == {"cam-paper": 1, "irn-paper": 2, "psa-paper": 2, "seam-paper": 3}[preset]
    crops = [fit.identity.component.options["inputs"]["crop"] for fit in fits if fit.kind.name != "segmenter_fit"]
    assert max(crops) <= 80


def test_crops_of_a_refiner_are_refused_where_the_backbone_is_frozen() -> None:
    plain = ("combine.localizers.cam.inputs=null", "training_mode=frozen")
    with pytest.raises(UserError) as caught:
        make_plan(load_suite("psa-paper", (SCENES, RANDOM, *plain)))
    assert "refiners" in str(caught.value)
    assert "training_mode: fine_tuned" in str(caught.value)
