"""The held-out fifth: fixed, of dev alone, and left out of nothing else."""

from hashlib import sha256

import pytest

from harness.stages.held_out import held_out_ids, without
from settings.clean import Clean
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.options import Options
from settings.setting import Target


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


def test_without_leaves_all_others() -> None:
    dataset = scenes(6)
    weak = Clean(Options()).offer(Target.of(dataset)).weak
    ids = held_out_ids(dataset)
    rest = without(weak, ids)
    assert [photo.id for photo in rest.photos] == [photo.id for photo in weak.photos if photo.id not in ids]
    assert len(rest.photos) == len(weak.photos) - 2
    assert rest.fingerprint != weak.fingerprint
    assert without(weak, ()) == weak
