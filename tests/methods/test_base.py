"""Options refuse what they do not know; a threshold can be chosen."""

import pytest
from pydantic import ValidationError

from methods.base import BackboneOptions, FeatureRequest, TrainingOptions
from methods.labelers.threshold import Threshold, ThresholdOptions
from methods.localizers.cam import CamOptions
from methods.segmenters.deeplab import DeepLabOptions


@pytest.mark.parametrize(
    "model", [BackboneOptions, TrainingOptions, ThresholdOptions, CamOptions, DeepLabOptions], ids=lambda m: m.__name__
)
def test_options_refuse_unknown_keys_and_never_change(model: type) -> None:
    with pytest.raises(ValidationError, match="epoch_count"):
        model.model_validate({"epoch_count": 3})
    options = model()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(options, next(iter(model.model_fields)), 1)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (BackboneOptions, {"size": 100}),
        (BackboneOptions, {"output_stride": 4}),
        (TrainingOptions, {"batch": 1}),
        (TrainingOptions, {"epochs": 0}),
        (TrainingOptions, {"learning_rate": 0}),
        (TrainingOptions, {"momentum": 1}),
        (TrainingOptions, {"learning_rate": float("nan")}),
        (TrainingOptions, {"schedule": "cosine"}),
        (TrainingOptions, {"milestones": [3]}),
        (TrainingOptions, {"optimizer": "adam"}),
        (TrainingOptions, {"betas": [0.9, 1.0], "optimizer": "adamw"}),
        (TrainingOptions, {"milestones": [-1], "schedule": "step"}),
        (TrainingOptions, {"bias_factor": -1}),
        (CamOptions, {"training": {"lr": 0.1}}),
        (CamOptions, {"scales": []}),
        (CamOptions, {"scales": [0.0]}),
        (CamOptions, {"scales": [1.0, -1.0]}),
        (DeepLabOptions, {"width": 100}),
        (DeepLabOptions, {"atrous_rates": [1, 2]}),
        (DeepLabOptions, {"atrous_rates": [0, 2, 3]}),
    ],
)
def test_absurd_options_are_refused(model: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        model.model_validate(values)


def test_sgd_is_in_no_key() -> None:
    """What was trained before there was a choice is still found."""
    assert not {"optimizer", "betas"} & TrainingOptions().model_dump().keys()
    adamw = TrainingOptions(optimizer="adamw").model_dump()
    assert (adamw["optimizer"], adamw["betas"]) == ("adamw", (0.9, 0.999))
    assert CamOptions.model_validate({"training": {"optimizer": "adamw"}}).model_dump()["training"] == adamw
    with pytest.raises(ValidationError, match="optimizer: adamw where there are betas"):
        TrainingOptions(betas=(0.9, 0.99))


def test_a_policy_can_choose_the_threshold() -> None:
    labeler = Threshold(ThresholdOptions(threshold=0.2))
    chosen = labeler.with_threshold(0.4)
    assert isinstance(chosen, Threshold)
    assert (labeler.declared_threshold, chosen.declared_threshold) == (0.2, 0.4)
    assert Threshold(ThresholdOptions(rule="power")).declared_threshold is None


def test_feature_requests_are_ordered_by_scale_flip_and_level() -> None:
    requests = [
        FeatureRequest(2.0),
        FeatureRequest(1.0, True, 1),
        FeatureRequest(1.0, False, 4),
        FeatureRequest(1.0, True, 0),
    ]
    ordered = [(request.scale, request.flip, request.level) for request in sorted(requests)]
    assert ordered == [(1.0, False, 4), (1.0, True, 0), (1.0, True, 1), (2.0, False, 4)]
