"""What labels cost to make, in seconds of an annotator's work; published means, not measured here.

Bearman, Russakovsky, Ferrari, Fei-Fei, "What's the Point: Semantic Segmentation with Point Supervision", ECCV 2016,
§4: an image-level label takes 1 second a class and photo (20 seconds for PASCAL VOC's 20 classes), a full mask 239.7
seconds a photo.
"""

__all__ = ["label_seconds"]

SECONDS_A_CLASS = 1.0
SECONDS_A_MASK = 239.7


def label_seconds(source: str, photos: int, classes: int) -> float:
    """Seconds to label photos of a source: `target`, `single_label`, `web`, or `mask` for true masks.

    Target photos are asked for every class, single-label photos for the one that they were found under; what a web
    query returns is labelled by nobody. Another source counts as the target does.
    """
    a_photo = {"single_label": SECONDS_A_CLASS, "web": 0.0, "mask": SECONDS_A_MASK}
    return photos * a_photo.get(source, SECONDS_A_CLASS * classes)
