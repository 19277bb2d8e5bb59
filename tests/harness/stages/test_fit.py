"""The held-out fifth: fixed, and of dev alone."""

from hashlib import sha256

import pytest

from harness.stages.fit import held_out_ids
from settings.datasets.scenes import Scenes, ScenesOptions


def scenes(dev: int, **options: int) -> Scenes:
    return Scenes(ScenesOptions(classes=2, size=32, train=3, val=1, dev=dev, **options))


@pytest.mark.parametrize(("dev", "count"), [(0, 0), (1, 1), (5, 1), (6, 2), (128, 26)])
def test_a_fifth_rounded_up_of_dev(dev: int, count: int) -> None:
    ids = held_out_ids(scenes(dev))
    assert len(ids) == len(set(ids)) == count
    assert set(ids) <= {f"dev_{number:05d}" for number in range(dev)}
    assert list(ids) == sorted(ids)


def test_those_whose_hashes_come_first() -> None:
    left_out = held_out_ids(scenes(20))
    kept = set(scenes(20).splits["dev"]) - set(left_out)
    assert max(sha256(i.encode()).hexdigest() for i in left_out) < min(sha256(i.encode()).hexdigest() for i in kept)
    assert left_out == held_out_ids(scenes(20, data_seed=5))
