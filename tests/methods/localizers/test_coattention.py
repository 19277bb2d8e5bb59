"""Co-attention on features whose evidence lies at known places; its maps against the formulas written plainly."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from methods.base import FeatureRequest, Fit, LocalizationMaps, TrainingOptions
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.networks import pair_inference
from methods.networks.heads import hidden_layers
from methods.pairs import References
from methods.training import part_of
from tests.methods.conftest import Noted

TRAINING = TrainingOptions(epochs=6, batch=8, learning_rate=0.2)


def localizer(**changes: Any) -> CoAttention:
    return CoAttention(CoAttentionOptions(**({"hidden": 16, "scaled_pairs": (), "training": TRAINING} | changes)))


@pytest.fixture(scope="module")
def fitted(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    return localizer().fit(toy.weak, Noted(bank=toy.bank, checkpoint_folder=tmp_path_factory.mktemp("fit")))


def applied(part: CoAttention, toy: Any, fit: Fit, context: Any, photos: Any = None) -> list[LocalizationMaps]:
    photos = toy.weak.photos if photos is None else photos
    return list(part.apply(photos, replace(context, weights=fit.weights, bank=toy.bank, weak=toy.weak)))


def test_losses_fall_and_contrastive_begins_late(fitted: Fit) -> None:
    assert [set(row) for row in fitted.log] == [{"epoch", "learning_rate", "basic", "common", "contrastive"}] * 6
    assert fitted.log[-1]["basic"] < 0.7 * fitted.log[0]["basic"]
    assert fitted.log[-1]["common"] < fitted.log[0]["common"]


def test_contrastive_terms_change_nothing_before_their_epoch(toy: Any, surroundings: Callable[..., Any]) -> None:
    short = TRAINING.model_copy(update={"epochs": 2})
    late = localizer(training=short).fit(toy.weak, surroundings(bank=toy.bank)).weights
    never = localizer(training=short, contrastive=False).fit(toy.weak, surroundings(bank=toy.bank)).weights
    early = localizer(training=short, contrastive_from=0).fit(toy.weak, surroundings(bank=toy.bank)).weights
    trained = {name for name in late if "gate" not in name}
    assert all(torch.equal(late[name], never[name]) for name in trained)
    assert not all(torch.equal(late[name], early[name]) for name in trained)


def test_basic_maps_are_found_where_the_evidence_is(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    hits = []
    for photo, record in zip(
        toy.weak.photos, applied(localizer(inference="basic"), toy, fitted, surroundings()), strict=True
    ):
        assert (record.photo_id, record.class_ids, record.upsampling) == (photo.id, photo.labels, "bicubic")
        for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
            hits.append(toy.small[photo.id].flat[map_HW.argmax()] == label + 1)
    assert np.mean(hits) > 0.9


def hidden_features(toy: Any, fit: Fit, photo_id: str, flip: bool = False) -> np.ndarray:
    """A photo's features after the hidden layer, (16, positions)."""
    hidden = hidden_layers(7, 16, 1, "batch").eval()
    hidden.load_state_dict(part_of(part_of(fit.weights, "network"), "hidden"))
    with torch.inference_mode():
        out = hidden(toy.bank.features_BCHW([photo_id], [FeatureRequest(flip=flip)]))
    return out[0].double().numpy().reshape(16, -1)


def naive_common(toy: Any, fit: Fit, photo: Any, references: list[str], label: int) -> np.ndarray:
    """The fused map of one class, by the formulas: matrices of affinities, softmaxes, sums."""
    state = {name: value.double().numpy() for name, value in part_of(fit.weights, "network").items()}

    def softmax(affinity: np.ndarray, axis: int) -> np.ndarray:
        raised = np.exp(affinity - affinity.max(axis, keepdims=True))
        return raised / raised.sum(axis, keepdims=True)

    def common(m: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        affinity = (state["head.affinity.weight"] @ m).T @ n
        head = state["head.common_head.weight"][label, :, 0, 0]
        return (head @ (n @ softmax(affinity, 1).T)).reshape(8, 8), (head @ (m @ softmax(affinity, 0))).reshape(8, 8)

    own, mirrored = hidden_features(toy, fit, photo.id), hidden_features(toy, fit, photo.id, flip=True)
    first, second = common(own, mirrored)
    beside = [common(own, hidden_features(toy, fit, other))[0] for other in references]
    maps = [first, second[:, ::-1], np.mean(beside, 0)]
    total = np.zeros((8, 8))
    for index, raw in enumerate(maps):
        if index == 0 or 1 / (1 + np.exp(-raw.mean())) > 0.1:
            total += np.maximum(raw, 0) / (np.maximum(raw, 0).max() + 1e-8) * 255
    return total / len(maps)


def test_common_maps_are_those_of_the_formulas(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    part, photos = localizer(references=2), toy.weak.photos[:6]
    references = References(toy.weak, 0, 2)
    for photo, record in zip(photos, applied(part, toy, fitted, surroundings(), photos), strict=True):
        for label, map_HW in zip(photo.labels, record.maps_CHW, strict=True):
            expected = naive_common(toy, fitted, photo, list(references.of(photo.id, label)), label)
            assert np.abs(map_HW * 255 - expected).max() < 1.01  # cut to whole numbers


def test_maps_do_not_depend_on_shards_nor_on_memory(
    toy: Any, fitted: Fit, surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = localizer(references=3)
    whole = applied(part, toy, fitted, surroundings())
    shards = [applied(part, toy, fitted, surroundings(), toy.weak.photos[i : i + 7]) for i in range(0, 48, 7)]
    monkeypatch.setattr(pair_inference, "MEMORY_LIMIT", 1)
    recomputed = applied(part, toy, fitted, surroundings())
    for one, two, three in zip(whole, [record for shard in shards for record in shard], recomputed, strict=True):
        assert np.abs(one.maps_CHW - two.maps_CHW).max() < 0.005
        assert np.abs(one.maps_CHW - three.maps_CHW).max() < 0.005


def test_each_photos_features_are_read_once_whatever_the_references(
    toy: Any, fitted: Fit, surroundings: Callable[..., Any]
) -> None:
    toy.bank.asked.clear()
    applied(localizer(references=10), toy, fitted, surroundings())
    plain = [request for request in toy.bank.asked if not request.flip]
    assert len(plain) == len(toy.weak.photos)


def test_what_is_read_follows_from_the_switches() -> None:
    plain, mirrored, half = FeatureRequest(), FeatureRequest(flip=True), FeatureRequest(0.5)
    assert localizer(scaled_pairs=(0.5,)).apply_features() == (plain, mirrored, half)
    assert localizer(scaled_pairs=(0.5,), inference="own").apply_features() == (plain, mirrored)
    assert localizer().reference_features() == (plain,)
    assert localizer(references=0).reference_features() == ()
    assert localizer(inference="basic").reference_features() == ()


def test_views_show_every_kind_of_map(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    photo, context = toy.weak.photos[1], surroundings(weights=fitted.weights, bank=toy.bank, weak=toy.weak)
    views = localizer().views(photo, context)
    assert list(views) == ["basic", "own", "mirrored pair", "mirror image", "references"]
    (basic,) = applied(localizer(inference="basic"), toy, fitted, context, [photo])
    assert np.allclose(views["basic"].maps_CHW, basic.maps_CHW)
    (own,) = applied(localizer(inference="own"), toy, fitted, context, [photo])
    assert np.allclose(views["own"].maps_CHW, own.maps_CHW)


def test_references_alone_are_what_views_show_of_them(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    part, photo = localizer(inference="references"), toy.weak.photos[1]
    context = surroundings(weights=fitted.weights, bank=toy.bank, weak=toy.weak)
    assert part.apply_features() == (FeatureRequest(), FeatureRequest(flip=True))
    assert part.reference_features() == (FeatureRequest(),)
    (alone,) = applied(part, toy, fitted, context, [photo])
    shown = part.views(photo, context)["references"]
    assert np.abs(alone.maps_CHW - shown.maps_CHW).max() < 1.01 / 255  # cut to whole numbers


def naive_affinity(fit: Fit, toy: Any, photo: Any, references: list[str]) -> np.ndarray:
    """log Σ exp of x W y over every position y of a reference, the mean over references, then stretched to [0, 1]."""
    weights = part_of(fit.weights, "network")["head.affinity.weight"].double().numpy()
    query, keys = hidden_features(toy, fit, photo.id), [hidden_features(toy, fit, other) for other in references]
    means = []
    for position in query.T:
        sums = []
        for key in keys:
            terms = [float((weights @ position) @ other) for other in key.T]
            sums.append(max(terms) + np.log(sum(np.exp(term - max(terms)) for term in terms)))
        means.append(sum(sums) / len(sums))
    map_HW = np.reshape(means, (8, 8))
    return (map_HW - map_HW.min()) / (map_HW.max() - map_HW.min())


def test_affinity_maps_are_those_of_the_formula(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    photos, references = toy.weak.photos[:4], References(toy.weak, 0, 2)
    alone = applied(localizer(inference="affinity", references=2), toy, fitted, surroundings(), photos)
    common = applied(localizer(references=2), toy, fitted, surroundings(), photos)
    product = applied(localizer(inference="common_affinity", references=2), toy, fitted, surroundings(), photos)
    for photo, *records in zip(photos, alone, common, product, strict=True):
        for label, map_HW, common_HW, product_HW in zip(photo.labels, *(r.maps_CHW for r in records), strict=True):
            expected = naive_affinity(fitted, toy, photo, list(references.of(photo.id, label)))
            assert np.abs(map_HW - expected).max() < 1e-4
            expected = common_HW * expected
            assert np.abs(product_HW - expected / expected.max()).max() < 1e-4


def test_attention_is_between_one_position_and_all(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    measured = localizer().measures(toy.weak.photos, surroundings(weights=fitted.weights, bank=toy.bank, weak=toy.weak))
    assert measured["uniform attention"] == pytest.approx(np.log(64))
    assert 0 < measured["attention entropy (nats)"] < np.log(64)


def test_scores_rank_the_labels(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    from sklearn.metrics import average_precision_score

    scores_NK = localizer().scores_NK(toy.weak.photos, surroundings(weights=fitted.weights, bank=toy.bank))
    assert average_precision_score(toy.weak.labels_NK(), scores_NK, average="macro") > 0.9


def test_without_common_attention_it_trains_as_cam_on_pairs(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = localizer(common=False, mirrored_pair=False, inference="basic")
    fit = part.fit(toy.weak, surroundings(bank=toy.bank))
    assert set(fit.log[0]) == {"epoch", "learning_rate", "basic"}
    untouched = torch.nn.Linear(16, 16, bias=False).weight.shape
    assert fit.weights["network.head.affinity.weight"].shape == untouched
    cam = Cam(CamOptions(hidden=16, training=TRAINING)).fit(toy.weak, surroundings(bank=toy.bank))
    assert fit.log[-1]["basic"] < 1.5 * cam.log[-1]["classification"]


def test_a_fit_without_the_common_branch_needs_no_inference() -> None:
    """Options that only `apply` reads are in no fit's key, from which its stage builds the localizer anew."""
    options = CoAttentionOptions(common=False)
    assert options.inference == "basic"
    assert CoAttentionOptions(**options.model_dump(exclude=set(CoAttention.apply_options))) == options


@pytest.mark.parametrize(
    "switches",
    [
        {"common": False, "inference": "common"},
        {"mirrored_pair": False, "references": 0},
        {"inference": "nothing"},
        {"inference": "references", "references": 0},
        {"inference": "affinity", "references": 0},
        {"inference": "affinity", "common": False},
        {"inference": "common_affinity", "references": 0},
    ],
)
def test_switches_that_leave_no_map_are_refused(switches: dict) -> None:
    with pytest.raises(ValidationError):
        localizer(**switches)
