"""Precision and recall of a filter, by hand."""

from results.metrics.filter_quality import FilterQuality, filter_quality


def test_counts_and_shares() -> None:
    photos = [(True, True)] * 6 + [(True, False)] * 2 + [(False, True)] * 3 + [(False, False)] * 1
    quality = filter_quality(photos)
    assert quality == FilterQuality(6, 2, 3, 1)
    assert (quality.precision, quality.recall) == (6 / 8, 6 / 9)
    assert (quality.noise_precision, quality.noise_recall) == (1 / 4, 1 / 3)


def test_what_is_not_defined_is_none() -> None:
    nothing = filter_quality([])
    assert (nothing.precision, nothing.recall, nothing.noise_precision, nothing.noise_recall) == (None,) * 4
    assert filter_quality([(True, True)]).noise_recall is None
