"""What an audit drops, and why."""

from pathlib import Path

import numpy as np
import pytest

from settings.audit import Audit, AuditOptions, Drop, audit
from settings.errors import UserError
from settings.progress import listener
from settings.records import Image, Photo
from tests.settings.test_perceptual import picture


def photo(photo_id: str, image: Image, content: str = "") -> Photo:
    return Photo(photo_id, (0,), content or f"{photo_id}-{image.tobytes()[:40]!r}", lambda: image, "web")


def broken(photo_id: str) -> Photo:
    def load() -> Image:
        raise UserError(f"{photo_id}.jpg", "no image", "a photo")

    return Photo(photo_id, (0,), f"broken {photo_id}", load, "web")


EVALUATED = tuple(photo(f"val_{n}", picture(100 + n)) for n in range(5))


def test_each_photo_is_dropped_for_its_reason_and_once() -> None:
    good, other = picture(0), picture(1)
    extra = [
        photo("a", good, "twice"),
        photo("b", good, "twice"),
        photo("c", picture(101)),
        broken("d"),
        photo("e", picture(2, 20, 90)),
        photo("f", other),
        photo("g", picture(3, 20, 90)),
    ]
    found = audit(extra, EVALUATED, AuditOptions())
    assert found.declared == 7
    assert found.drops == (
        Drop("b", "exact duplicate", "a"),
        Drop("c", "near duplicate", "val_1", 0),
        Drop("d", "unreadable", detail="d.jpg: found no image; expected a photo"),
        Drop("e", "tiny", detail="90×20 pixels"),
        Drop("g", "tiny", detail="90×20 pixels"),
    )
    assert found.counts == {"exact duplicate": 1, "near duplicate": 1, "unreadable": 1, "tiny": 2}
    assert found.drops[1].describe() == "c: near duplicate of val_1"
    assert found.to_json()["drops"][0]["twin"] == "a"


def test_a_crop_of_an_evaluated_photo_is_found_at_its_nearest_twin() -> None:
    image = picture(150, 200, 260)
    evaluated = (*EVALUATED, photo("large", image))
    (drop,) = audit([photo("x", image[10:, 13:])], evaluated, AuditOptions()).drops
    assert (drop.twin, drop.reason) == ("large", "near duplicate")
    assert drop.distance is not None and drop.distance <= 60


def test_options_say_what_is_looked_for() -> None:
    near = [photo("c", picture(101)[:, ::-1])]
    assert audit(near, EVALUATED, AuditOptions(near_duplicates=False)).drops == ()
    assert audit([photo("e", picture(2, 40, 90))], (), AuditOptions(min_side=41)).counts == {"tiny": 1}


def test_nothing_to_hold_against_is_no_error() -> None:
    assert audit([], EVALUATED, AuditOptions()) == Audit(0, ())
    assert audit([photo("a", picture(0))], (broken("v"),), AuditOptions()) == Audit(1, ())


def test_a_listener_hears_how_far_it_is() -> None:
    heard: list[tuple[int, int, str]] = []
    token = listener.set(lambda *step: heard.append(step))
    try:
        audit([photo("a", picture(0)), photo("b", picture(1))], EVALUATED, AuditOptions())
    finally:
        listener.reset(token)
    assert heard[:2] == [(1, 2, "extra photos audited"), (2, 2, "extra photos audited")]
    assert heard[-1] == (5, 5, "evaluated photos hashed")


def test_real_photos_that_were_planted_are_found(real_data: Path) -> None:
    """Mirrored and cropped by 5 %: at least 19 of 20 are found; of real web photos at most 1 % are hit."""
    from settings.aliases import Aliases
    from settings.datasets.voc12 import Voc12, Voc12Options
    from settings.sources.class_folders import ClassFolders

    classes = ("cat", "cow", "dog", "horse", "sheep", "person")
    animals = Voc12(Voc12Options(root=real_data / "voc12-animals", subset="voc12-animals", classes=classes))
    evaluated = animals.eval_set("val").photos[::8]
    planted = []
    for shown in evaluated:
        image = shown.image()[:, ::-1]
        height, width = image.shape[:2]
        planted.append(photo(f"planted {shown.id}", image[round(0.03 * height) : round(0.98 * height), width // 20 :]))
    source = ClassFolders(ClassFolders.options_model(root=real_data / "animals-web"))
    clean = source.photos("web", animals.label_space, Aliases())[::10]
    found = {drop.photo_id: drop for drop in audit([*planted, *clean], evaluated, AuditOptions()).drops}
    hits = [found.get(f"planted {shown.id}") for shown in evaluated]
    right = sum(hit is not None and hit.twin == shown.id for hit, shown in zip(hits, evaluated, strict=True))
    assert right >= 0.95 * len(evaluated)
    assert sum(p.id in found for p in clean) <= 0.01 * len(clean)


@pytest.mark.parametrize("options", [{"distance": -1}, {"distance": 200}, {"min_side": 0}, {"near": True}])
def test_odd_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        AuditOptions(**options)


def test_a_thousand_photos_are_compared_in_blocks() -> None:
    rng = np.random.default_rng(0)
    extra = [photo(f"x{n:03}", np.full((40, 40, 3), rng.integers(256), np.uint8), f"flat {n}") for n in range(130)]
    assert audit(extra, EVALUATED, AuditOptions(distance=0)).declared == 130
