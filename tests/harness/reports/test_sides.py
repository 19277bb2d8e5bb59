"""The sides of a comparison: which rows a name means, and what is refused of them."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.reports.leaderboard import Finished
from harness.reports.sides import (
    LeaderboardPlace,
    MaskOptions,
    Place,
    StorePlace,
    Wanted,
    place_at,
    sides_of_masks,
    sides_of_rows,
)
from results import scoring
from results.counted import ImageSums, joined_sums
from results.pair import compared
from results.rows import Row
from results.scoring import score_folder
from settings.errors import UserError
from settings.masks import write_mask
from tests.results.conftest import make_row

KEPT = Path(__file__).parents[3] / "results/leaderboards/voc12-animals-coattention-question"


class Made(Place):
    """Rows without a file; every row has the counts of two photos, and its rng seed among them."""

    def counts(self, positions: Sequence[int]) -> list[ImageSums]:
        made = []
        for position in positions:
            hits = np.array([[30, 10], [20, 5]]) + self.rows[position].rng_seed
            truth = np.full((2, 2), 60)
            confusion = np.diag(hits.sum(axis=0))
            made.append(ImageSums(("a", "b"), hits, hits, truth, confusion))
        return made


def place(*rows: Row, name: str = "store") -> Made:
    return Made(name, rows, [f"{n:064x}" for n in range(len(rows))])


def rows_of(recipe: str, **fields: object) -> list[Row]:
    return [make_row(recipe=recipe, stage="segmentation", rng_seed=seed, **fields) for seed in range(3)]


def test_a_kept_leaderboards_rows_are_compared_as_they_are_scored() -> None:
    kept = LeaderboardPlace(KEPT)
    recipes = list(dict.fromkeys(row.recipe for row in kept.rows if row.stage == "segmentation"))[:2]
    found = sides_of_rows(recipes[0], recipes[1], kept, kept, Wanted(stage="segmentation"))
    own = []
    for recipe, side in zip(recipes, (found.a, found.b), strict=True):
        miou = {row.rng_seed: row.miou for row in kept.rows if (row.recipe, row.stage) == (recipe, "segmentation")}
        np.testing.assert_allclose(joined_sums(side.rows).miou(), [miou[seed] for seed in sorted(miou)], atol=1e-6)
        own.append(np.mean(list(miou.values())))
    assert compared(found.a, found.b).difference.mean == pytest.approx(own[0] - own[1], abs=1e-6)


def test_a_store_gives_the_rows_of_a_suite_and_those_of_single_keys(smoke: Finished) -> None:
    store = smoke.run.store_folder
    of_suite, whole = StorePlace(store, "smoke"), place_at(str(store))
    assert set(of_suite.keys) == set(whole.keys)
    for one in (of_suite, whole):
        found = sides_of_rows("cam", "all-background", one, one, Wanted())
        assert (found.a.name, found.b.name) == ("cam, clean", "all-background, clean")
        assert found.scored == "scenes, segmentation ss, val"
        (row,) = (row for row in one.rows if (row.recipe, row.stage) == ("cam", "segmentation"))
        assert joined_sums(found.a.rows).miou() == pytest.approx([row.miou])
    position = next(n for n, row in enumerate(whole.rows) if (row.recipe, row.stage) == ("cam", "segmentation"))
    by_key = sides_of_rows(whole.keys[position][:12], "all-background", whole, of_suite, Wanted())
    assert by_key.first_rows is not None
    assert by_key.first_rows[0] == whole.rows[position]


def test_the_last_stage_that_both_have_is_compared_unless_another_is_named() -> None:
    labels = [make_row(recipe="cam", stage="pseudo_labels", rng_seed=seed, split="train") for seed in range(3)]
    other = [make_row(recipe="seam", stage="pseudo_labels", rng_seed=seed, split="train") for seed in range(3)]
    both = place(*rows_of("cam"), *labels, *other)
    assert sides_of_rows("cam", "seam", both, both, Wanted()).scored == "scenes, pseudo labels, train"
    with pytest.raises(UserError, match="no stage in common"):
        sides_of_rows("cam", "seam", place(*rows_of("cam")), both, Wanted())


def test_rng_seeds_of_one_side_alone_are_left_out_and_told() -> None:
    made = place(*rows_of("cam"), *rows_of("seam")[1:])
    found = sides_of_rows("cam", "seam", made, made, Wanted())
    assert len(found.a.rows) == len(found.b.rows) == 2
    assert found.notes == ("left out, for cam, clean alone has them: rng seeds 0",)
    assert found.first_rows is not None and found.first_rows[0].rng_seed == 1


def test_two_rows_named_by_key_are_compared_whatever_their_rng_seeds() -> None:
    made = place(*rows_of("cam"))
    found = sides_of_rows(made.keys[0], made.keys[2], made, made, Wanted())
    assert found.notes == ("the rng seeds differ: 0 and 2",)
    assert found.a.name != found.b.name


def test_what_else_differs_is_told() -> None:
    made = place(*rows_of("cam"), *rows_of("seam", supervision="I+S", masks_chosen=16))
    assert sides_of_rows("cam", "seam", made, made, Wanted()).notes == (
        "A and B differ in supervision (I and I+S), masks chosen (none and 16)",
    )


def test_settings_are_named_beside_the_recipe() -> None:
    made = place(*rows_of("cam"), *rows_of("cam", setting="web"))
    found = sides_of_rows("cam@web", "cam", made, made, Wanted(setting="clean"))
    assert (found.a.name, found.b.name) == ("cam, web", "cam, clean")


OTHER = rows_of("seam")
HOLE = make_row(recipe="seam", stage="segmentation", status="failed", reason="no memory", per_class=[], classes=[])


@pytest.mark.parametrize(
    ("rows", "wanted", "told"),
    [
        ([], Wanted(), "unknown recipe 'seam'"),
        (OTHER, Wanted(setting="cleen"), "--setting: found unknown setting of cam 'cleen'"),
        (OTHER, Wanted(variant="ms"), "--variant"),
        ([*OTHER, *rows_of("seam", setting="web")], Wanted(), "rows of seam that differ in setting: clean, web"),
        ([*OTHER, *rows_of("seam", options="0123abcd")], Wanted(), "differ in options"),
        ([HOLE], Wanted(), "no mIoU of seam, rng seed 0 (no memory)"),
        ([OTHER[0], *rows_of("seam", evaluation_fingerprint="w" * 64)[1:]], Wanted(), "one evaluation fingerprint"),
        ([make_row(recipe="seam", stage="segmentation", rng_seed=7)] * 1, Wanted(), "no rng seed in common"),
        (rows_of("seam", protocol_version=2), Wanted(), "the protocols voc/1 version 1 and voc/1 version 2"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: list[Row], wanted: Wanted, told: str) -> None:
    made = place(*rows_of("cam"), *rows)
    with pytest.raises(UserError, match=re.escape(told)):
        sides_of_rows("cam", "seam", made, made, wanted)


def test_other_fingerprints_and_classes_are_refused_when_they_are_compared() -> None:
    for fields, told in (
        ({"evaluation_fingerprint": "w" * 64}, "the evaluation fingerprints vvvvvvvvvvvv and wwwwwwwwwwww"),
        ({"classes": ["background", "ring"]}, "the classes background, disc and background, ring"),
    ):
        made = place(*rows_of("cam"), *rows_of("seam", **fields))
        found = sides_of_rows("cam", "seam", made, made, Wanted())
        with pytest.raises(UserError, match=told):
            compared(found.a, found.b)


def test_an_oracles_rows_are_compared_where_they_are_asked_for_alone() -> None:
    made = place(*rows_of("cam"), *rows_of("cam", policy="oracle"), *OTHER, *rows_of("seam", policy="oracle"))
    for policy, expected in ((None, "fixed"), ("oracle", "oracle")):
        found = sides_of_rows("cam", "seam", made, made, Wanted(policy=policy))
        assert found.first_rows is not None and {row.policy for row in found.first_rows} == {expected}


@pytest.fixture
def masks(tmp_path: Path) -> MaskOptions:
    """Four true masks of two classes; `a` has a third of each object, `b` two thirds."""
    for name, rows in (("truth", 6), ("a", 2), ("b", 4)):
        (tmp_path / name).mkdir()
        for n in range(4):
            mask = np.zeros((9, 10), np.uint8)
            mask[:rows] = 1 + n % 2
            write_mask(tmp_path / name / f"photo-{n}.png", mask)
    return MaskOptions(tmp_path / "a", tmp_path / "b", tmp_path / "truth", 3)


@pytest.mark.parametrize("many", [400, 1])
def test_folders_of_masks_are_scored_as_by_score(masks: MaskOptions, many: int, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "MANY", many)
    found = sides_of_masks(masks)
    assert (found.a.name, found.b.name) == ("a", "b")
    for folder, side in ((masks.a, found.a), (masks.b, found.b)):
        assert joined_sums(side.rows).miou() == pytest.approx([score_folder(folder, masks.truth, 3).miou])
    pair = compared(found.a, found.b)
    # By class: 2 of 6 rows and 4 of 6; background: 3 of 7 rows and 3 of 5.
    assert pair.difference.mean == pytest.approx((2 * (2 / 6 - 4 / 6) + 3 / 7 - 3 / 5) / 3)


def test_a_mask_that_one_folder_lacks_is_refused_by_name(masks: MaskOptions) -> None:
    (masks.b / "photo-2.png").unlink()
    with pytest.raises(UserError, match=r"photo-2\.png"):
        sides_of_masks(masks)
