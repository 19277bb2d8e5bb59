"""Drawn pairs as stages: what is written, what is refused, and that segmentation is trained on them too."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.stages.pairs import DrawPairs
from harness.stages.segmenter import SegmenterFit
from harness.stages.stored import StoredPairs
from harness.store.layout import MaskFiles, PairFiles, StageFiles
from harness.suites.recipes import ComponentIdentity
from methods.base import DrawnPair, Fit, Localized, PseudoLabelled, Surroundings
from methods.pretraining.copied_pairs import CopiedPairs, CopiedPairsOptions
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import make_photo

SPACE = LabelSpace(("cat", "dog"))
PHOTOS = tuple(make_photo(f"p{n}", (n % 2,), np.full((6, 8, 3), 40 * n, np.uint8)) for n in range(4))


@pytest.fixture
def pseudo_labels(tmp_path: Path) -> MaskFiles:
    """Of three of the four photos."""
    files = MaskFiles(tmp_path / "labels")
    for number, photo in enumerate(PHOTOS[:3]):
        write_mask(files.of(photo.id), np.full((6, 8), number % 3, np.uint8))
    return files


def work_on(folder: Path, component: Any, **inputs: StageFiles) -> Any:
    """What a stage is given, of a data set of these photos; it fills `folder`."""
    folder.mkdir(exist_ok=True)
    identity = ComponentIdentity("pretraining", "mine", 1, {})
    return SimpleNamespace(
        identity=SimpleNamespace(component=identity, backbone={}, extra_in_stage_2=None),
        dataset=SimpleNamespace(label_space=SPACE),
        photos=lambda: PHOTOS,
        component=lambda _: component,
        read=lambda role, kind: [inputs[role]] if role in inputs else [],
        files=lambda kind: kind(folder),
        surroundings=lambda space, **_: Surroundings(space),
        weights=dict,
        counted=iter,
        check_backbone=lambda _: None,
    )


def test_pairs_are_written_and_segmentation_is_trained_on_them_too(tmp_path: Path, pseudo_labels: MaskFiles) -> None:
    copies = CopiedPairs(CopiedPairsOptions(pairs=5))
    DrawPairs().run(work_on(tmp_path / "drawn", copies, pseudo_labels=pseudo_labels))
    files = PairFiles(tmp_path / "drawn")
    assert files.sheet.read_bytes().startswith(b"\x89PNG")
    drawn = StoredPairs([files])
    assert [photo.id for photo in drawn.photos] == [f"~drawn/{number:05d}" for number in range(5)]
    seen: list[PseudoLabelled] = []

    class Noting:
        def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
            seen.append(data)
            return Fit({})

    work = work_on(tmp_path / "fit", Noting(), pseudo_labels=pseudo_labels, pairs=files)
    SegmenterFit().fit(work, WeakSet(PHOTOS, SPACE), Surroundings(SPACE))
    (data,) = seen
    # Three masks for four photos: one comes twice. Then the pairs.
    assert [photo.id for photo in data.photos[:4]] == ["p0", "p1", "p2", "p0"]
    assert data.photos[4:] == drawn.photos
    for photo in data.photos[4:]:
        value = int(data.pseudo_label(photo.id)[0, 0])
        assert (photo.image() == 40 * value).all()
    assert (data.pseudo_label("p1") == 1).all()


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (DrawnPair(np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)), "an RGB photo, uint8"),
        (DrawnPair(np.zeros((6, 8, 3), np.uint8), np.zeros((6, 7), np.uint8)), "a mask of shape (6, 7)"),
        (DrawnPair(np.zeros((6, 8, 3), np.uint8), np.full((6, 8), 9, np.uint8)), "mask value 9"),
        (None, "0 pairs; expected the 1"),
    ],
)
def test_what_is_no_pair_is_told_with_the_component(
    pair: DrawnPair | None, told: str, tmp_path: Path, pseudo_labels: MaskFiles
) -> None:
    class Mine(CopiedPairs):
        def draw(self, data: Localized, surroundings: Surroundings) -> Iterator[DrawnPair]:
            return iter([pair] if pair else [])

    with pytest.raises(UserError) as refused:
        work = work_on(tmp_path / "drawn", Mine(CopiedPairsOptions(pairs=1)), pseudo_labels=pseudo_labels)
        DrawPairs().run(work)
    assert str(refused.value).startswith("pretraining 'mine': found ")
    assert told in str(refused.value)
