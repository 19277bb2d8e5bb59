"""Scores of single photos from the counts that are kept per image, and the photos worth looking at."""

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from results.metrics.miou import iou, mean_of_defined
from results.per_image import image_ids
from settings.records import UNKNOWN

__all__ = ["Pick", "best_median_worst", "miou_by_image"]

Place = Literal["best", "median", "worst"]


class Pick(NamedTuple):
    """A photo that stands for how good or bad a line gets."""

    image: str
    miou: float
    place: Place


def miou_by_image(table: pa.Table, classes: int) -> dict[str, float]:
    """The mean IoU (0..1) of each image of a confusion table, in the table's order of images.

    The mean goes over the classes, background included, that the image's truth or prediction holds: nan without any.
    Undecided pixels of a pseudo label (255) are background.
    """
    images = image_ids(table)
    number = {image: position for position, image in enumerate(images)}
    image_N = np.array([number[str(image)] for image in table.column("image").to_pylist()], np.int64)
    truth_N, prediction_N = (table.column(name).to_numpy().astype(np.int64) for name in ("truth", "prediction"))
    prediction_N = np.where(prediction_N == UNKNOWN, 0, prediction_N)
    pixels_N = table.column("pixels").to_numpy()
    hits, true, predicted = (np.zeros((len(images), classes), np.int64) for _ in range(3))
    np.add.at(true, (image_N, truth_N), pixels_N)
    np.add.at(predicted, (image_N, prediction_N), pixels_N)
    np.add.at(hits, (image_N, truth_N), np.where(truth_N == prediction_N, pixels_N, 0))
    return dict(zip(images, mean_of_defined(iou(hits, true, predicted)).tolist(), strict=True))


def best_median_worst(scores: Mapping[str, float], count: int) -> list[Pick]:
    """`count` images, a third each: the best, those around the median, and the worst; best first, ties by id.

    Images without a score (nan) are left out; where there are no more than `count`, all are taken.
    """
    defined = {image: score for image, score in scores.items() if not isnan(score)}
    ranked = sorted(defined, key=lambda image: (-defined[image], image))
    return [Pick(ranked[at], defined[ranked[at]], place) for at, place in _places(len(ranked), min(count, len(ranked)))]


def _places(ranked: int, count: int) -> Iterator[tuple[int, Place]]:
    best, median, worst = (count + 2) // 3, (count + 1) // 3, count // 3
    middle = max(best, (ranked - median) // 2)
    yield from ((at, "best") for at in range(best))
    yield from ((at, "median") for at in range(middle, middle + median))
    yield from ((at, "worst") for at in range(ranked - worst, ranked))
