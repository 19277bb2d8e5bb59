"""The paper's preset: complete as it stands, and it says which weight files it wants."""

import re
from pathlib import Path

import pytest

from harness.stages.planning import make_plan
from harness.suites.suite import load_suite
from settings.errors import UserError

SCENES = ("dataset={name: scenes, classes: 2, size: 48, train: 12, dev: 4, val: 4}", "recipes.mcis.cue=scenes")
SUITE = Path(__file__).resolve().parents[2] / "settings" / "suites" / "mcis-paper.yaml"
NO_FILES = ("backbone.weights=random", "recipes.mcis.segmenter.encoder.weights=random")


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        make_plan(load_suite("mcis-paper", overrides))
    return str(caught.value)


def test_it_names_the_weight_files_that_are_absent() -> None:
    assert f"no file '{Path('weights/vgg16-397923af.pth').absolute()}'" in refusal(*SCENES)
    assert f"no file '{Path('weights/resnet101-63fe2227.pth').absolute()}'" in refusal(*SCENES, NO_FILES[0])
    assert "dataset.root" in refusal()


def test_it_names_the_saliency_map_that_is_absent() -> None:
    assert "saliency/voc12" in refusal(SCENES[0], *NO_FILES)


def test_the_plan_holds_the_released_recipe() -> None:
    plan = make_plan(load_suite("mcis-paper", (*SCENES, *NO_FILES)))
    fits = {stage.kind.name: stage.identity for stage in plan.graph.values() if stage.kind.name.endswith("_fit")}
    localizer, segmenter = (fits[kind].component.options for kind in ("localizer_fit", "segmenter_fit"))
    assert {fit.training_mode for fit in fits.values()} == {"fine_tuned"}
    assert (localizer["hidden"], localizer["hidden_layers"], localizer["norm"]) == (512, 3, "none")
    assert (localizer["contrastive_from"], localizer["scaled_pairs"]) == (2, [0.75, 2.0])
    assert list(localizer["jitter"].values()) == [0.3, 0.3, 0.3, 0.1]
    training = localizer["training"]
    assert training["learning_rate"] * training["backbone_factor"] == pytest.approx(1e-3)
    assert (training["learning_rate"], training["bias_factor"]) == (1e-2, 2)
    assert (training["schedule"], training["milestones"], training["epochs"]) == ("step", [5, 10], 11)
    assert (training["batch"], training["weight_decay"], training["momentum"], training["nesterov"]) == (
        *(5, 5e-4, 0.9),
        True,
    )
    assert (segmenter["width"], segmenter["crop"], segmenter["scales"]) == (1024, 321, [0.7, 1.3])
    assert (segmenter["iterations"], segmenter["training"]["batch"]) == (16_000, 10)
    training = segmenter["training"]
    assert training["learning_rate"] * training["backbone_factor"] == pytest.approx(1e-3)
    assert (training["learning_rate"], training["bias_factor"], training["poly_power"]) == (1e-2, 2, 0.9)


def test_photos_are_segmented_as_in_the_released_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """At five scales, each mirrored too; with a CRF of one step, where its package is; and in one pass beside."""
    monkeypatch.setattr("methods.segmenting.require_dense_crf", lambda *_: None)
    text = " ".join(SUITE.read_text(encoding="utf-8").replace("#", " ").split())
    (crf,) = re.findall(r"(recipes\.mcis\.segmenter\.inference\.crf=)'({.*?})'", text)
    plan = make_plan(load_suite("mcis-paper", (*SCENES, *NO_FILES, "".join(crf))))
    stages = (stage.identity for stage in plan.graph.values() if stage.kind.name == "segment")
    options = [identity.component.options.get("inference") for identity in stages]
    kernels = {"gaussian_sxy": 3, "gaussian_compat": 1, "bilateral_sxy": 80, "bilateral_srgb": 4, "bilateral_compat": 3}
    paper = {"scales": [0.5, 0.75, 1.0, 1.25, 1.5], "flip": True, "crf": kernels | {"iterations": 1}}
    assert paper in options
    assert None in options, "one pass"
