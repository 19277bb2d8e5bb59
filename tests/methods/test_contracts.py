"""What every component has to keep, by being there. A new kind of component is one more entry in KINDS.

A component that cannot be built from its defaults (it reads files, say) needs an entry in PREPARED too.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import FeatureRequest, LocalizationMaps, Localized, PairPretraining, PseudoLabelled
from methods.networks import u2net
from methods.networks.backbones import build as build_backbone
from methods.segmenting import Inference, SegmenterOptions, variants_of
from methods.training import part_of
from settings.discovery import (
    CLASSIFIERS,
    CUES,
    LABELERS,
    LOCALIZERS,
    PRETRAININGS,
    REFINERS,
    REGISTRIES,
    SEGMENTERS,
    Registry,
)
from settings.masks import write_mask
from settings.options import Options
from settings.records import UNKNOWN
from settings.saliency import write_saliency
from tests.methods.conftest import SMALL, Toy, make_photo

METHODS = [registry for registry in REGISTRIES.values() if registry.package.startswith("methods.")]
COMPONENTS = [(registry, name) for registry in METHODS for name in registry.names()]
MODES = {"frozen", "fine_tuned"}
SIZE = (21, 30)
PHOTOS = [
    make_photo(photo_id, labels, np.full((*SIZE, 3), 90, np.uint8))
    for photo_id, labels in {"none": (), "one": (1,), "many": (0, 4, 7)}.items()
]
"""For what looks at photos alone; all else is tried on the toy set."""


@pytest.fixture
def folder(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What other programs made of the photos: maps, saliency, masks and predictions; random weights for a network."""

    def weights(path: Path) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return u2net.U2NetP().state_dict()

    monkeypatch.setattr(u2net, "read_weights", weights)
    monkeypatch.setattr(u2net, "SIDE", 32)
    for name in ("maps", "saliency", "masks"):
        (tmp_path / name).mkdir()
    for photo in toy.weak.photos:
        maps_CHW = np.full((len(photo.labels), 5, 7), 0.5, np.float32)
        np.savez(tmp_path / "maps" / f"{photo.id}.npz", keys=np.array(photo.labels, int), maps=maps_CHW)
        write_mask(tmp_path / "predictions" / f"{photo.id}.png", np.ones((64, 64), np.uint8))
    for photo in PHOTOS:
        write_saliency(tmp_path / "saliency" / f"{photo.id}.png", np.full(SIZE, 200, np.uint8))
        value = photo.labels[0] + 1 if photo.labels else 0
        write_mask(tmp_path / "masks" / f"{photo.id}.png", np.full(SIZE, value, np.uint8))
        for name, columns in (("left", slice(0, 20)), ("right", slice(10, 30))):
            proposal_HW = np.zeros(SIZE, np.uint8)
            proposal_HW[:, columns] = 255
            write_saliency(tmp_path / "proposals" / photo.id / f"{name}.png", proposal_HW)
    return tmp_path


PREPARED: Mapping[tuple[str, str], Callable[[Path], dict[str, Any]]] = {
    ("localizers", "folder"): lambda folder: {"root": folder / "maps", "supervision": "I"},
    ("cues", "folder"): lambda folder: {"root": str(folder / "saliency")},
    ("cues", "mean_of"): lambda folder: {"cues": ["boundary", {"name": "folder", "root": str(folder / "saliency")}]},
    ("cues", "rerank"): lambda folder: {"cues": ["boundary", "spectral"]},
    ("cues", "u2netp"): lambda folder: {"weights": folder / "u2netp.onnx"},
    ("labelers", "folder"): lambda folder: {"root": folder / "masks", "supervision": "I"},
    ("labelers", "proposals"): lambda folder: {"root": folder / "proposals", "supervision": "I+S"},
    ("segmenters", "folder"): lambda folder: {"root": folder / "predictions", "supervision": "I"},
}
"""Options of the components that have none by default."""


QUICK = {
    "training": {"epochs": 1, "batch": 16},
    "hidden": 16,
    "width": 16,
    "crop": 65,
    "size": 32,
    "query_size": 32,
    "side": 32,
    "pairs": 20,
}
"""Instead of the defaults, where a component has such options."""


def build(registry: Registry, name: str, folder: Path) -> Any:
    """A component with its default options, but small and trained for one short epoch."""
    kind = registry.load(name)
    prepared = PREPARED.get((registry.kind, name))
    options = kind.options_model(**prepared(folder) if prepared else {})
    for key, value in QUICK.items():
        if key in kind.options_model.model_fields:
            quick = getattr(options, key).model_copy(update=value) if isinstance(value, dict) else value
            options = options.model_copy(update={key: quick})
    return kind(options)


def check_localizer(localizer: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Maps in [0, 1] of the photo's own labels, whatever other photos are asked for beside it.

    Some of the photos to train on show no class.
    """
    weights = {}
    negatives = tuple(photo.without_labels() for photo in toy.weak.photos[40:])
    weak = replace(toy.weak, photos=(*toy.weak.photos[:40], *negatives))
    if localizer.trained:
        fit = localizer.fit(weak, surroundings(bank=toy.bank if "frozen" in localizer.modes else None))
        weights = fit.weights
        assert all(np.isfinite(list(row.values())).all() for row in fit.log)
        assert all(np.isfinite(tensor.numpy()).all() for tensor in weights.values())
    photos = (*weak.photos[:3], weak.photos[47])
    records = list(localizer.apply(photos, surroundings(weights=weights, bank=toy.bank, weak=weak)))
    assert [record.photo_id for record in records] == [photo.id for photo in photos]
    for photo, record in zip(photos, records, strict=True):
        assert record.class_ids == photo.labels
        assert record.maps_CHW.dtype == np.float32
        assert record.maps_CHW.shape[0] == len(photo.labels)
        assert record.image_size == (64, 64)
        if photo.labels:
            assert 0 <= record.maps_CHW.min() <= record.maps_CHW.max() <= 1
            assert (record.background_HW is not None) == localizer.gives_background
        (alone,) = localizer.apply([photo], surroundings(weights=weights, bank=toy.bank, weak=weak))
        assert np.allclose(alone.maps_CHW, record.maps_CHW, atol=1e-5)


def check_cue(cue: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Saliency at photo size, from photos (without labels) or, in a simulation, from true masks."""
    reads_features = cue.fit_features() or cue.apply_features()
    photos = [photo.without_labels() for photo in (toy.weak.photos if reads_features else PHOTOS)]
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 3, photo.image().shape[:2]).astype(np.uint8) for photo in photos]
    if cue.reads_masks:
        runs = [[cue.simulate(photo.id, mask) for photo, mask in zip(photos, truths, strict=True)] for _ in range(2)]
    else:
        # What a cue that fuses others is given of them: as many maps as it names, of any kind.
        given = {
            photo.id: tuple(rng.integers(0, 256, truth.shape).astype(np.uint8) for _ in cue.parts)
            for photo, truth in zip(photos, truths, strict=True)
        }
        around = surroundings(bank=toy.bank, cues=given.__getitem__)
        weights = cue.fit(photos, around).weights if cue.trained else {}
        runs = [list(cue.apply(photos, replace(around, weights=weights))) for _ in range(2)]
    for photo, first, second in zip(photos, *runs, strict=True):
        assert (first.shape, first.dtype) == (photo.image().shape[:2], np.uint8)
        assert np.array_equal(first, second)


def check_labeler(labeler: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Masks at photo size of the photo's own labels; what is not needed may be absent."""
    rng = np.random.default_rng(0)
    for photo in PHOTOS:
        maps = LocalizationMaps(photo.id, photo.labels, rng.random((len(photo.labels), 5, 7)).astype(np.float32), SIZE)
        if labeler.needs_background:
            maps = replace(maps, background_HW=rng.random((5, 7)).astype(np.float32))
        saliency_HW = rng.integers(0, 256, SIZE).astype(np.uint8)
        mask = labeler.label(photo, maps, saliency_HW)
        assert (mask.shape, mask.dtype) == (SIZE, np.uint8)
        allowed = {0, UNKNOWN, *(label + 1 for label in photo.labels)} if photo.labels else {0}
        assert set(np.unique(mask).tolist()) <= allowed
        needed = (maps if labeler.needs_maps else None, saliency_HW if labeler.needs_cue else None)
        assert np.array_equal(mask, labeler.label(photo, *needed))
    if labeler.chosen_option is None:
        assert labeler.declared_threshold is None
    else:
        assert getattr(labeler.with_threshold(0.45).options, labeler.chosen_option) == 0.45
        assert labeler.with_threshold(0.45).declared_threshold == 0.45


def check_segmenter(segmenter: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Masks at photo size, one a photo, without undecided pixels."""
    space, weights = toy.weak.label_space, {}
    bank = toy.bank if "frozen" in segmenter.modes else None
    if segmenter.trained:
        data = PseudoLabelled(toy.weak.photos, space, toy.truth.__getitem__)
        weights = segmenter.fit(data, surroundings(bank=bank, weak=toy.weak)).weights
    photos = [photo.without_labels() for photo in toy.weak.photos[:9]]
    masks = list(segmenter.apply(photos, surroundings(weights=weights, bank=toy.bank)))
    assert len(masks) == 9
    for mask in masks:
        assert (mask.shape, mask.dtype) == ((64, 64), np.uint8)
        assert mask.max() <= space.foreground


def check_pretraining(pretraining: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """The weights of a backbone that is no longer the suite's, from photos that have labels where it reads them.

    Or, of one that draws pairs, so many of them.
    """
    if isinstance(pretraining, PairPretraining):
        check_pairs(pretraining, toy, surroundings)
        return

    def maps(photo_id: str) -> LocalizationMaps:
        assert pretraining.reads_maps
        labels = next(photo.labels for photo in toy.weak.photos if photo.id == photo_id)
        return LocalizationMaps(photo_id, labels, np.ones((len(labels), 4, 4), np.float32), (64, 64))

    has_labels = pretraining.reads_labels or pretraining.reads_maps
    photos = tuple(photo if has_labels else photo.without_labels() for photo in toy.weak.photos[:16])
    fit = pretraining.fit(Localized(replace(toy.weak, photos=photos), maps), surroundings())
    assert all(np.isfinite(list(row.values())).all() for row in fit.log)
    before = build_backbone(SMALL, (1, 4)).body.state_dict()
    trained = build_backbone(SMALL, (1, 4), part_of(fit.weights, "backbone")).body.state_dict()
    assert {name.partition(".")[0] for name in fit.weights} == {"backbone"}
    assert any(not torch.equal(trained[name], before[name]) for name in before)
    assert pretraining.supervision == ("I" if has_labels else "")


def check_pairs(pretraining: PairPretraining, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """As many drawn photos as it says, each with a pseudo label of known classes, from photos without labels."""
    photos = tuple(photo.without_labels() for photo in toy.weak.photos[:16])

    def maps(photo_id: str) -> LocalizationMaps:
        raise AssertionError("pairs are drawn from pseudo labels")

    data = Localized(replace(toy.weak, photos=photos), maps, pseudo_label=toy.truth.__getitem__)
    weights = pretraining.fit(data, surroundings()).weights if pretraining.trained else {}
    pairs = list(pretraining.draw(data, surroundings(weights=weights)))
    assert len(pairs) == pretraining.pairs
    for image, mask in pairs:
        assert (image.dtype, mask.dtype, image.shape) == (np.uint8, np.uint8, (*mask.shape, 3))
        assert set(np.unique(mask).tolist()) <= {UNKNOWN, *range(toy.weak.label_space.foreground + 1)}
    assert pretraining.supervision == ""
    assert pretraining.for_segmenter_alone


def check_classifier(classifier: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Probabilities of the extra photos, in their order; a photo's own label does not change its own."""
    target, extra, foreground = toy.weak.photos[:24], toy.weak.photos[24:], toy.weak.label_space.foreground
    probabilities_NK = classifier.out_of_fold(target, extra, surroundings(bank=toy.bank))
    assert set(toy.bank.asked[-1:]) <= set(classifier.fit_features())
    assert (probabilities_NK.shape, probabilities_NK.dtype) == ((len(extra), foreground), np.float32)
    assert np.all((probabilities_NK >= 0) & (probabilities_NK <= 1))
    turned = classifier.out_of_fold(target, extra[::-1], surroundings(bank=toy.bank))
    assert np.allclose(turned[::-1], probabilities_NK, atol=1e-4)
    relabelled = (replace(extra[0], labels=(2,) if extra[0].labels != (2,) else (0,)), *extra[1:])
    again = classifier.out_of_fold(target, relabelled, surroundings(bank=toy.bank))
    assert np.array_equal(again[0], probabilities_NK[0])
    assert classifier.out_of_fold(target, (), surroundings(bank=toy.bank)).shape == (0, foreground)


def check_refiner(refiner: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    """Maps of the same classes in [0, 1], each photo's whatever else is asked for; a photo without labels has none."""
    rng = np.random.default_rng(0)
    known = {
        photo.id: LocalizationMaps(photo.id, photo.labels, rng.random((len(photo.labels), 8, 8), np.float32), (64, 64))
        for photo in toy.weak.photos
    }
    blank = replace(toy.weak.photos[3], labels=())
    known[blank.id] = LocalizationMaps(blank.id, (), np.zeros((0, 8, 8), np.float32), (64, 64))
    weights = {}
    if refiner.trained:
        saliency = {photo_id: (mask_HW > 0) * np.uint8(255) for photo_id, mask_HW in toy.truth.items()}
        data = Localized(toy.weak, known.__getitem__, saliency.__getitem__ if refiner.needs_cue else None)
        weights = refiner.fit(data, surroundings(bank=toy.bank)).weights
        assert all(np.isfinite(tensor.numpy()).all() for tensor in weights.values())
    photos = (*toy.weak.photos[:3], blank)
    records = list(refiner.apply(photos, known.__getitem__, surroundings(weights=weights, bank=toy.bank)))
    assert [(r.photo_id, r.class_ids, r.image_size) for r in records] == [(p.id, p.labels, (64, 64)) for p in photos]
    for photo, record in zip(photos[:3], records, strict=False):
        assert record.maps_CHW.dtype == np.float32
        assert 0 <= record.maps_CHW.min() <= record.maps_CHW.max() <= 1 + 1e-6
        if record.background_HW is not None:
            assert record.background_HW.shape == record.maps_CHW.shape[1:]
        (alone,) = refiner.apply([photo], known.__getitem__, surroundings(weights=weights, bank=toy.bank))
        assert np.allclose(alone.maps_CHW, record.maps_CHW, atol=1e-5)
    for given_HW in (None, rng.random((8, 8), np.float32)):
        beside = replace(known[photos[0].id], background_HW=given_HW)
        maps = {beside.photo_id: beside}.__getitem__
        (record,) = refiner.apply(photos[:1], maps, surroundings(weights=weights, bank=toy.bank))
        passed_on = given_HW is not None if refiner.gives_background is None else refiner.gives_background
        assert (record.background_HW is not None) == passed_on


KINDS = {
    REFINERS: check_refiner,
    LOCALIZERS: check_localizer,
    CUES: check_cue,
    LABELERS: check_labeler,
    SEGMENTERS: check_segmenter,
    CLASSIFIERS: check_classifier,
    PRETRAININGS: check_pretraining,
}
"""What a kind of component does, tried on a toy set."""


def named(value: object) -> str:
    return str(getattr(value, "kind", value))


def test_every_kind_that_has_components_is_checked() -> None:
    assert {registry.kind for registry, _ in COMPONENTS} == {registry.kind for registry in KINDS}


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=named)
def test_it_does_what_its_kind_does(
    registry: Registry, name: str, toy: Toy, folder: Path, surroundings: Callable[..., Any]
) -> None:
    if name == "dense_crf":
        pytest.importorskip("pydensecrf", reason="the extra `crf` is not installed")
    KINDS[registry](build(registry, name, folder), toy, surroundings)


def test_options_are_read_without_torch() -> None:
    """Planning imports every component; one fresh process shows that none of them brings torch along."""
    code = (
        "import sys\n"
        "from settings.discovery import REGISTRIES\n"
        "for registry in REGISTRIES.values():\n"
        "    for name in registry.names():\n"
        "        registry.load(name).options_model.model_json_schema()\n"
        "        found = {'torch', 'timm', 'numba', 'matplotlib', 'ray', 'scipy'} & set(sys.modules)\n"
        "        assert not found, (name, found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=named)
def test_it_declares_itself(registry: Registry, name: str, folder: Path) -> None:
    kind = registry.load(name)
    assert isinstance(kind.version, int)
    assert kind.version >= 1
    assert kind.__doc__
    assert kind.__doc__.strip().endswith(".")
    part = build(registry, name, folder)
    assert set(part.supervision.split("+")) <= {"", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    assert kind.apply_options | kind.place_options <= set(kind.options_model.model_fields)


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=named)
def test_its_options_are_checked_and_go_into_keys(registry: Registry, name: str, folder: Path) -> None:
    part = build(registry, name, folder)
    model = type(part).options_model
    assert issubclass(model, Options)
    assert isinstance(part.options, model)
    dumped = part.options.model_dump(mode="json")
    assert model.model_validate(dumped) == part.options
    with pytest.raises(ValueError, match="no_such_option"):
        model.model_validate({**dumped, "no_such_option": 1})


@pytest.mark.parametrize(
    ("registry", "name"), [pair for pair in COMPONENTS if pair[0] in (LOCALIZERS, SEGMENTERS)], ids=named
)
def test_it_declares_modes(registry: Registry, name: str, folder: Path) -> None:
    part = build(registry, name, folder)
    assert part.modes
    assert set(part.modes) <= MODES


@pytest.mark.parametrize(
    ("registry", "name"), [pair for pair in COMPONENTS if hasattr(pair[0].load(pair[1]), "fit_features")], ids=named
)
def test_it_declares_features(registry: Registry, name: str, folder: Path) -> None:
    part = build(registry, name, folder)
    for request in (*part.fit_features(), *getattr(part, "apply_features", tuple)()):
        assert isinstance(request, FeatureRequest)
        assert 0 <= request.level <= 4
        assert request.scale > 0


@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_variants_of_a_segmenter_train_nothing_anew(name: str) -> None:
    kind = SEGMENTERS.load(name)
    if not issubclass(kind.options_model, SegmenterOptions):
        assert "inference" not in kind.options_model.model_fields
        return
    assert "inference" in kind.apply_options
    (plain, other) = variants_of(kind(kind.options_model()), [Inference(), Inference(flip=True)], SMALL, "r")
    assert "inference" not in plain.options.model_dump(mode="json")
    assert other.options.model_dump(mode="json")["inference"] == {"scales": [1.0], "flip": True, "crf": False}
