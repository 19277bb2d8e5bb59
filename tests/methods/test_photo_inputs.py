"""Options of crops and of photos that keep their aspect."""

import pytest
from pydantic import ValidationError

from methods.localizers.cam import Cam, CamOptions
from methods.localizers.centre_prior import CentrePrior, CentrePriorOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.localizers.seam import SeamOptions
from methods.photo_inputs import CropOptions, PhotoInputs
from methods.segmenters.deeplab import DeepLab, DeepLabOptions
from methods.segmenters.deeplab_largefov import DeepLabLargeFov, DeepLabLargeFovOptions


def test_crops_without_a_resize_have_the_usual_one() -> None:
    assert CropOptions().longer_side == (320, 640)
    assert CropOptions(scales=(0.5, 1.5)).longer_side is None
    assert CropOptions(longer_side=(448, 768)).scales is None
    assert CropOptions.model_validate(CropOptions().model_dump()) == CropOptions()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"longer_side": (320, 640), "scales": (0.5, 1)}, "longer_side or scales, not both"),
        ({"longer_side": (640, 320)}, "the smaller end of longer_side first"),
        ({"scales": (1.5, 0.5)}, "the smaller end of scales first"),
        ({"crop": 16}, "greater than or equal to 33"),
        ({"kind": "crops"}, "Extra inputs are not permitted"),
    ],
)
def test_contradicting_resizes_are_refused(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        CropOptions.model_validate(given)


@pytest.mark.parametrize("model", [CamOptions, SeamOptions, DeepLabOptions])
def test_squares_are_in_no_key(model: type[PhotoInputs]) -> None:
    """What was made before there was a choice is still found."""
    assert not {"inputs", "aspect"} & set(model().model_dump())
    chosen = model.model_validate({"inputs": {"crop": 321}, "aspect": "square"})
    assert chosen.model_dump()["aspect"] == "square"
    assert model.model_validate(chosen.model_dump()) == chosen


def test_segmenters_leave_out_later_options_of_all_their_bases() -> None:
    assert set(DeepLabOptions().model_dump()) == {"width", "atrous_rates", "training"}
    full = DeepLabOptions.model_validate({"edges": {}, "inference": {"flip": True}, "inputs": {}})
    assert set(full.model_dump()) == {"width", "atrous_rates", "training", "edges", "inference", "inputs"}


@pytest.mark.parametrize(
    ("given", "keeps", "tunes", "seen"),
    [
        ({}, False, "", "square"),
        ({"aspect": "square"}, False, "", "square"),
        ({"aspect": "kept"}, True, "aspect", "square, aspect kept"),
        ({"inputs": {"crop": 321}}, True, "inputs", "crops 321"),
        ({"inputs": {}, "aspect": "square"}, False, "inputs", "crops 512, square at inference"),
    ],
)
def test_the_aspect_is_kept_where_inputs_are_crops(
    given: dict[str, object], keeps: bool, tunes: str, seen: str
) -> None:
    options = PhotoInputs.model_validate(given)
    assert (options.keeps_aspect, options.needs_tuning, options.seen) == (keeps, tunes, seen)


def test_photos_of_their_own_aspect_have_no_stored_features() -> None:
    assert Cam(CamOptions(aspect="kept")).apply_features() == ()
    assert len(Cam(CamOptions(scales=(0.5, 1.0))).apply_features()) == 4
    assert DeepLab(DeepLabOptions.model_validate({"inputs": {}})).apply_features() == ()


def test_coattention_sees_crops_and_references_of_their_own_size() -> None:
    pairs = CoAttention(CoAttentionOptions.model_validate({"inputs": {"crop": 321}}))
    assert pairs.seen == "crops 321"
    assert pairs.draws_references and not pairs.reference_features() and not pairs.apply_features()
    assert "inputs" not in CoAttentionOptions().model_dump()
    with pytest.raises(ValidationError, match=r"inputs.jitter in place of jitter"):
        CoAttentionOptions.model_validate({"inputs": {}, "jitter": {"hue": 0.1}})


def test_rows_are_told_what_networks_see() -> None:
    assert Cam(CamOptions()).seen == "square"
    assert DeepLabLargeFov(DeepLabLargeFovOptions(crop=65)).seen == "crops 65"
    assert CentrePrior(CentrePriorOptions()).seen == "", "it looks at no photo"


def test_largefov_leaves_later_options_out_of_its_keys() -> None:
    assert not {"longer_side", "jitter"} & set(DeepLabLargeFovOptions().model_dump())
    assert DeepLabLargeFovOptions(longer_side=(320, 640)).model_dump()["longer_side"] == (320, 640)
