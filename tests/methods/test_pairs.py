"""Partners and references share a class but for photos without one; references do not depend on sharding."""

from collections import Counter

import numpy as np

from methods.pairs import PartnerRule, Partners, References
from settings.records import LabelSpace, Photo, WeakSet


def photo(photo_id: str, *labels: int, source: str = "target") -> Photo:
    return Photo(photo_id, labels, "c", lambda: np.zeros((2, 2, 3), np.uint8), source)


WEAK = WeakSet((photo("a", 0), photo("b", 0, 1), photo("c", 1), photo("d", 2), photo("e")), LabelSpace(("x", "y", "z")))


def test_partners_are_drawn_by_class_then_by_photo() -> None:
    """b has both classes: x leads to a or b, y to b or c, each with probability 1/4, so b with 1/2."""
    partners, rng = Partners(WEAK), np.random.default_rng(0)
    drawn = Counter(int(other) for other in partners.of(np.full(4000, 1), rng))
    assert set(drawn) == {0, 1, 2}
    assert abs(drawn[1] / 4000 - 1 / 2) < 0.03
    assert abs(drawn[0] / 4000 - 1 / 4) < 0.03
    assert partners.of(np.array([3, 3]), rng).tolist() == [3, 3]


def test_a_photo_without_labels_is_put_beside_any() -> None:
    drawn = Counter(int(other) for other in Partners(WEAK).of(np.full(5000, 4), np.random.default_rng(0)))
    assert set(drawn) == set(range(5))
    assert all(abs(count / 5000 - 1 / 5) < 0.03 for count in drawn.values())
    photos = (photo("a", 0), photo("b"), photo("c", 0, source="web"))
    assert drawn_from(WeakSet(photos, LabelSpace(("x",))), "same_source", 1) == {"a", "b"}
    assert drawn_from(WeakSet(photos, LabelSpace(("x",))), "any", 1) == {"a", "b", "c"}


def drawn_from(weak: WeakSet, rule: PartnerRule, row: int) -> set[str]:
    rows = Partners(weak, rule).of(np.full(200, row), np.random.default_rng(0))
    return {weak.photos[other].id for other in rows}


def test_the_sources_of_a_pair_follow_the_rule() -> None:
    photos = (photo("a", 0), photo("b", 0), photo("c", 0, source="web"), photo("d", 0, source="web"))
    weak = WeakSet((*photos, photo("e", 1, source="web")), LabelSpace(("x", "y")))
    assert drawn_from(weak, "any", 0) == drawn_from(weak, "any", 2) == {"a", "b", "c", "d"}
    assert drawn_from(weak, "with_target", 0) == {"a", "b", "c", "d"}
    assert drawn_from(weak, "with_target", 2) == {"a", "b"}
    assert drawn_from(weak, "with_target", 4) == {"e"}  # no target photo of that class
    assert drawn_from(weak, "same_source", 0) == {"a", "b"}
    assert drawn_from(weak, "same_source", 3) == {"c", "d"}


def test_references_have_the_class_and_come_with_replacement() -> None:
    references = References(WEAK, 0, 50)
    assert set(references.of("a", 0)) == {"a", "b"}
    assert set(references.of("b", 1)) == {"b", "c"}
    assert references.of("d", 2) == ["d"] * 50


def test_a_draw_depends_on_seed_photo_and_class_alone() -> None:
    few, many = References(WEAK, 0, 3), References(WEAK, 0, 10)
    assert many.of("a", 0)[:3] == few.of("a", 0)
    assert References(WEAK, 1, 10).of("a", 0) != many.of("a", 0)
    assert many.of("b", 0) != many.of("a", 0)
