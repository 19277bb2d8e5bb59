"""Runs one component's `fit` in the build that PYTHONPATH names, and prints what each training step took, as JSON.

Started by `benchmarks.steps`, and by file, so that nothing of this build is imported by the way. It imports only what
an older build has too; where `fit` takes other arguments there, `fitted` says which.
"""

import json
import resource
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np

PHOTOS = 48
SIZE = 224
"""Backbone size of the suite scenes-leaderboard."""
LEVELS = ((16, 2), (24, 4), (40, 8), (112, 16), (320, 16))
"""Channels and strides of tf_efficientnet_lite0 at output stride 16."""
EPOCHS = {"affinity": 3, "deeplab": 3, "coattention": 5, "cam": 6}
"""Co-attention's contrastive terms count from the third epoch on."""
OPTIONS = {
    "affinity": {"low": 0.5, "high": 2.0, "log2_steps": 6, "background_power": 1.0},
    "deeplab": {},
    "coattention": {"scaled_pairs": []},
    "cam": {},
}
"""As in the suite."""


class RandomFeatures:
    """A bank of normally distributed features that follow from the photo's id and the request alone."""

    def __init__(self, ids):
        import torch

        self._rows = {photo_id: row for row, photo_id in enumerate(ids)}
        generator = torch.Generator().manual_seed(0)
        self._levels = {}
        for level, (channels, stride) in enumerate(LEVELS[1:], 1):
            shape = (len(ids), channels, SIZE // stride, SIZE // stride)
            # As stored: half precision.
            self._levels[level] = torch.randn(shape, generator=generator).half()

    def features_BCHW(self, ids, requests):
        """float32, mirrored where it is asked for."""
        import torch

        rows = []
        for photo_id, request in zip(ids, requests, strict=True):
            features_CHW = self._levels[request.level][self._rows[photo_id]].float()
            rows.append(features_CHW.flip(2) if request.flip else features_CHW)
        return torch.stack(rows)

    def image_size(self, photo_id):
        """That of the scenes."""
        return 128, 128


class Heard:
    """What older builds call a context: the machine, and somebody who notes when each step was reported."""

    device, precision, rng_seed = "cpu", "float32", 0

    def __init__(self, folder, share):
        self.checkpoint_folder, self.share, self.times = Path(folder), share, []
        self.profiler = None

    def progress(self, done, total, unit, **values):
        self.times.append(time.process_time())
        # The first step warms up.
        if len(self.times) == 1 and self.profiler:
            self.profiler.start()

    def is_stopping(self):
        return False

    def batch(self, photos):
        return photos


def blurred_maps(truth_HW, labels, photo_id):
    """A map a label on the backbone's grid: the true mask, blurred, so that some pixels are sure and some are not."""
    from methods.base import LocalizationMaps

    grid = SIZE // 16
    step = truth_HW.shape[0] / grid
    centres = ((np.arange(grid) + 0.5) * step).astype(int)
    maps = []
    for label in labels:
        shape_HW = (truth_HW == label + 1).astype(np.float32)
        for axis in (0, 1):
            shape_HW = np.mean([np.roll(shape_HW, shift, axis) for shift in range(-12, 13)], axis=0)
        small_HW = shape_HW[np.ix_(centres, centres)]
        maps.append(small_HW / max(float(small_HW.max()), 1e-6))
    return LocalizationMaps(photo_id, tuple(labels), np.stack(maps).astype(np.float32), truth_HW.shape)


def component_of(name):
    """The component of that name with the suite's options, trained for `EPOCHS` epochs."""
    import methods.localizers.cam
    import methods.localizers.coattention
    import methods.refiners.affinity
    import methods.segmenters.deeplab

    kinds = {
        "affinity": methods.refiners.affinity.Affinity,
        "deeplab": methods.segmenters.deeplab.DeepLab,
        "coattention": methods.localizers.coattention.CoAttention,
        "cam": methods.localizers.cam.Cam,
    }
    kind = kinds[name]
    options = kind.options_model.model_validate(OPTIONS[name])
    training = options.training.model_copy(update={"epochs": EPOCHS[name]})
    return kind(options.model_copy(update={"training": training}))


def fitted(name, bank, photos, folder, profiler=None):
    """Fit the component; the times at which its steps were reported, and its last loss.

    A profiler watches all steps but the first.
    """
    from methods.base import BackboneOptions, Localized, PseudoLabelled
    from methods.sharing import Share
    from settings.datasets.scenes import Scenes, ScenesOptions
    from settings.records import WeakSet

    dataset = Scenes(ScenesOptions(train=PHOTOS))
    weak = WeakSet(photos, dataset.label_space)
    by_id = {photo.id: photo for photo in photos}

    def maps(photo_id):
        return blurred_maps(dataset.read_mask(photo_id), by_id[photo_id].labels, photo_id)

    data = {"affinity": Localized(weak, maps), "deeplab": PseudoLabelled(photos, weak.label_space, dataset.read_mask)}
    heard, backbone = Heard(folder, Share()), BackboneOptions(size=SIZE)
    heard.profiler = profiler
    component = component_of(name)
    try:
        from methods.base import Surroundings
    except ImportError:
        fit = component.fit(data.get(name, weak), bank, backbone, heard)
    else:
        surroundings = Surroundings(
            weak.label_space,
            backbone=backbone,
            bank=bank,
            weak=weak,
            checkpoint_folder=heard.checkpoint_folder,
            report=lambda done, total, unit, values: heard.progress(done, total, unit, **values),
        )
        fit = component.fit(data.get(name, weak), surroundings)
    if profiler:
        profiler.stop()
    return heard.times, fit.log[-1]


def dearest(profiler):
    """The ten operations that took most of the CPU by themselves, and the share of each."""
    found = sorted(profiler.key_averages(), key=lambda one: -one.self_cpu_time_total)
    whole = sum(one.self_cpu_time_total for one in found)
    return [[one.key, one.self_cpu_time_total / whole] for one in found[:10]]


def main():
    """Print the steps' CPU seconds but for the first, which warms up, and what came before them."""
    import torch

    from settings.datasets.scenes import Scenes, ScenesOptions

    torch.set_num_threads(1)
    dataset = Scenes(ScenesOptions(train=PHOTOS))
    ids = dataset.splits["train"]
    photos = tuple(dataset.photo(photo_id) for photo_id in ids)
    bank = RandomFeatures(ids)
    component_of(sys.argv[1])
    # What is imported on the way is no part of what a step needs, and differs from build to build.
    for module in ("methods.inputs", "methods.training", "timm", "torch._dynamo"):
        import_module(module)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    profiler = None
    if "--profile" in sys.argv:
        profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with tempfile.TemporaryDirectory() as folder:
        times, last = fitted(sys.argv[1], bank, photos, folder, profiler)
    told = {
        "first": times[0] - start,
        "steps": np.diff(times).tolist(),
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
        "last": last,
    }
    if profiler:
        told["operations"] = dearest(profiler)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
