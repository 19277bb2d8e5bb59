"""Features for all requests of a shard in one pass over the photos, beside the naive way: a pass a request.

Run: OMP_NUM_THREADS=1 python -m benchmarks.feature_sharing
"""

from time import process_time

import torch

from methods.base import BackboneOptions, FeatureRequest
from methods.features import FrozenBackbone, compute
from methods.networks.backbones import build
from settings.datasets.scenes import Scenes, ScenesOptions

PHOTOS = 32
REQUESTS = [FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in (1, 4)]


def main() -> None:
    """Print photos a second of both ways."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    scenes = Scenes(ScenesOptions(train=PHOTOS))
    photos = [scenes.photo(photo_id) for photo_id in scenes.splits["train"]]
    options = BackboneOptions(size=224)
    shared = FrozenBackbone(build(options, (1, 4)))
    start = process_time()
    compute(shared, photos, REQUESTS)
    together = process_time() - start
    start = process_time()
    for request in REQUESTS:
        compute(FrozenBackbone(build(options, (request.level,))), photos, [request])
    apart = process_time() - start
    print(f"features of {PHOTOS} photos, {len(REQUESTS)} requests: {PHOTOS / together:.1f} photos/s together, ", end="")
    print(f"{PHOTOS / apart:.1f} photos/s one by one: {apart / together:.1f} times faster")


if __name__ == "__main__":
    main()
