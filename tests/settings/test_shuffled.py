"""Labels change hands and keep their frequencies."""

from collections import Counter

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


def test_a_shuffle_is_repeated() -> None:
    one, two = (Shuffled(ShuffledOptions(shuffle_seed=3)).offer(TARGET) for _ in range(2))
    assert one.weak.fingerprint == two.weak.fingerprint
