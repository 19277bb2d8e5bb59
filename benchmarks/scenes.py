"""Speed of the embedded data set on one core: photos, masks and labels a second, beside the target.

The naive way to anti-alias is to render at twice the size and average; it is measured too.
Run: OMP_NUM_THREADS=1 python -m benchmarks.scenes
"""

from collections.abc import Callable
from time import process_time

from settings.datasets.scenes import Scenes, ScenesOptions

PHOTOS = 300
TARGET = 100
"""Photos a second on one core at 128 px."""


def rate(work: Callable[[str], object], ids: tuple[str, ...]) -> float:
    """Calls a second of processor time, after a few to warm up."""
    for photo_id in ids[:10]:
        work(photo_id)
    start = process_time()
    for photo_id in ids[10:]:
        work(photo_id)
    return len(ids[10:]) / (process_time() - start)


def main() -> None:
    """Print the table."""
    small = Scenes(ScenesOptions(size=128, train=PHOTOS))
    double = Scenes(ScenesOptions(size=256, train=PHOTOS))
    ids = small.splits["train"]
    rows = {
        f"photos, 128 px (target {TARGET})": rate(lambda photo_id: small.photo(photo_id).image(), ids),
        "photos, super-sampled from 256 px": rate(lambda photo_id: halved(double, photo_id), ids),
        "masks, 128 px": rate(small.read_mask, ids),
        "labels": rate(Scenes(ScenesOptions(data_seed=1, train=PHOTOS)).photo, ids),
    }
    for name, value in rows.items():
        print(f"{name:36} {value:8.0f} / s")


def halved(dataset: Scenes, photo_id: str) -> object:
    """A photo at half its size, the mean of 2 x 2 pixels."""
    image = dataset.photo(photo_id).image()
    side = len(image) // 2
    return image.reshape(side, 2, side, 2, 3).mean((1, 3))


if __name__ == "__main__":
    main()
