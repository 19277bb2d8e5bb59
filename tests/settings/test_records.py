"""Fingerprints and labels."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from settings.records import LabelSpace, Photo, WeakSet, fingerprint

SPACE = LabelSpace(("cat", "cow", "dog"))


def photo(photo_id: str, *labels: int, content: str = "c") -> Photo:
    return Photo(photo_id, labels, content, lambda: np.zeros((2, 3, 3), np.uint8))


WEAK = WeakSet((photo("a", 0, 2), photo("b"), photo("c", 1)), SPACE)


def test_a_fingerprint_is_the_sha256_of_canonical_json() -> None:
    assert fingerprint({"b": (1, 2), "a": None}) == sha256(b'{"a":null,"b":[1,2]}').hexdigest()
    assert fingerprint({"a": None, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": None})


def test_the_training_fingerprint_stays_as_it_is() -> None:
    """Results are compared by it: whatever moves it needs a reason."""
    photos = '[["a","target",[0,2],"c"],["b","target",[],"c"],["c","target",[1],"c"]]'
    assert WEAK.fingerprint == sha256(f'[["cat","cow","dog"],{photos}]'.encode()).hexdigest()


def test_the_training_fingerprint_names_all_that_is_seen() -> None:
    first, *rest = WEAK.photos
    changed = [
        replace(first, id="x"),
        replace(first, labels=(0,)),
        replace(first, content="d"),
        replace(first, source="web"),
    ]
    sets = [WeakSet((other, *rest), SPACE) for other in changed]
    sets += [WeakSet(WEAK.photos, LabelSpace(("cat", "cow", "elk"))), WeakSet(WEAK.photos[::-1], SPACE), WEAK]
    assert len({weak.fingerprint for weak in sets}) == len(sets)
    assert WeakSet(tuple(replace(p, load=p.load) for p in WEAK.photos), SPACE).fingerprint == WEAK.fingerprint


def test_labels() -> None:
    labels_NK = WEAK.labels_NK()
    assert labels_NK.dtype == np.float32
    assert labels_NK.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert WeakSet((), SPACE).labels_NK().shape == (0, 3)


def test_label_space() -> None:
    assert (SPACE.foreground, SPACE.mask_names) == (3, ("background", "cat", "cow", "dog"))


def test_photos_lose_their_labels_for_an_evaluation() -> None:
    bare = WEAK.photos[0].without_labels()
    assert (bare.id, bare.labels, bare.content) == ("a", (), "c")
    assert bare.image().shape == (2, 3, 3)
    with pytest.raises(AttributeError):
        bare.labels = (1,)  # type: ignore[misc]
