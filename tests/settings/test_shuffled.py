"""Labels change hands and keep their frequencies."""

from collections import Counter
from dataclasses import replace

from settings.datasets.scenes import Scenes, ScenesOptions
from settings.setting import Target
from settings.shuffled import Shuffled, ShuffledOptions

TARGET = Target.of(Scenes(ScenesOptions(size=32, train=40, dev=20, val=2)))


def test_labels_are_those_of_others() -> None:
    offer = Shuffled(ShuffledOptions()).offer(TARGET)
    assert Counter(p.labels for p in offer.weak.photos) == Counter(p.labels for p in TARGET.photos)
    assert [p.id for p in offer.weak.photos] == [p.id for p in TARGET.photos]
    same = [a.labels == b.labels for a, b in zip(offer.weak.photos, TARGET.photos, strict=True)]
    assert 0 < sum(same) < 0.5 * len(same)  # some classes meet themselves again
    assert offer.weak.fingerprint != Shuffled(ShuffledOptions(shuffle_seed=1)).offer(TARGET).weak.fingerprint


def test_having_no_class_is_shuffled_too() -> None:
    photos = tuple(replace(photo, labels=() if i % 3 == 0 else photo.labels) for i, photo in enumerate(TARGET.photos))
    offer = Shuffled(ShuffledOptions()).offer(replace(TARGET, photos=photos))
    assert Counter(photo.labels for photo in offer.weak.photos) == Counter(photo.labels for photo in photos)
    stay = [
        after.id for before, after in zip(photos, offer.weak.photos, strict=True) if not before.labels + after.labels
    ]
    assert 0 < len(stay) < 20


def test_a_shuffle_is_repeated() -> None:
    one, two = (Shuffled(ShuffledOptions(shuffle_seed=3)).offer(TARGET) for _ in range(2))
    assert one.weak.fingerprint == two.weak.fingerprint
