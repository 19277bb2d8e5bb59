"""Inputs as the field has them, beside the naive way: CAM at several scales, and training on crops read ahead.

Localization: the naive loop reads the photo, resizes it and runs the network as it was trained anew for each scale and
mirroring, and enlarges the maps of all classes. Training: the share of time in which no step waits for its crops.

Run: OMP_NUM_THREADS=2 python -m benchmarks.field_inputs; --backbone, --photos and --crop change what is measured.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch.nn.functional import interpolate, multilabel_soft_margin_loss, pad

from methods.base import BackboneOptions, Surroundings, TrainingOptions
from methods.crop_inputs import CropInputs
from methods.localizers.cam import Cam, CamOptions
from methods.networks.backbones import Backbone, build
from methods.networks.heads import ClassMaps
from methods.photo_inputs import ColourJitterOptions, CropOptions
from methods.training import groups_of, named_tensors, train
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.images import read_photo, resize
from settings.records import LabelSpace, Photo

SIZE = (375, 500)
SCALES = (0.5, 1.0, 1.5, 2.0)
CLASSES, ROUNDS, STEPS, BATCH = 20, 3, 8, 8


def main() -> None:
    """Print the ratio of the least core times of localization, and the share of training in the network."""
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--crop", type=int, default=321)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    options = BackboneOptions(name=given.backbone, weights="random", size=320)
    with TemporaryDirectory() as folder:
        photos = jpegs(Path(folder), given.photos)
        localization(options, photos)
        for is_ahead in (False, True):
            share, seconds = in_network(options, photos, given.crop, is_ahead)
            how = "read ahead by threads" if is_ahead else "read in the step"
            print(
                f"training, crops of {given.crop}, {how}: {share:.1%} in the network, {seconds / BATCH:.3f} s a photo"
            )


def jpegs(folder: Path, count: int) -> tuple[Photo, ...]:
    """Scenes as JPEG files of VOC's usual size, read anew whenever they are asked for."""
    scenes = Scenes(ScenesOptions(train=count, size=96))
    photos = []
    for photo_id in scenes.splits["train"]:
        path = folder / f"{photo_id}.jpg"
        PillowImage.fromarray(resize(scenes.photo(photo_id).image(), *SIZE)).save(path, quality=92)
        photos.append(Photo(photo_id, (0, 7), photo_id, lambda path=path: read_photo(path)))  # type: ignore[misc]
    return tuple(photos)


def localization(options: BackboneOptions, photos: Sequence[Photo]) -> None:
    """Both ways in turn; they must agree where both lay maps over photos alike."""
    backbone, head = build(options, (4,)), ClassMaps(320 if "lite0" in options.name else 2048, CLASSES, 0)
    backbone, head = backbone.eval(), head.eval()
    space = LabelSpace(tuple(f"class{number}" for number in range(CLASSES)))
    surroundings = Surroundings(space, options, named_tensors(head=head, backbone=backbone.body))
    cam = Cam(CamOptions(aspect="kept", scales=SCALES))
    ways: dict[str, Callable[[], object]] = {
        "naive": lambda: [naive(backbone, head, photo) for photo in photos],
        "ours": lambda: list(cam.apply(photos, surroundings)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = process_time()
            way()
            seconds[name].append((process_time() - start) / len(photos))
    least = {name: min(times) for name, times in seconds.items()}
    for name, value in least.items():
        print(f"{name}: {value:.2f} core-seconds a photo ({options.name}, {len(SCALES)} scales, mirrored too)")
    print(f"ours against naive: {least['naive'] / least['ours']:.2f} times as fast")


def naive(backbone: Backbone, head: ClassMaps, photo: Photo) -> NDArray[np.float32]:
    """IRN's sum, a pass at a time."""
    total = None
    for scale in SCALES:
        for flip in (False, True):
            image = photo.image()
            height, width = (round(length * scale) for length in image.shape[:2])
            copy = resize(image, height, width)
            copy = np.ascontiguousarray(copy[:, ::-1]) if flip else copy
            input_BCHW = pad(backbone.to_input(np.stack([copy])), (0, -width % 16, 0, -height % 16))
            with torch.inference_mode():
                maps_BKHW = head(backbone(input_BCHW)[0]).relu()
                large_BKHW = interpolate(maps_BKHW, input_BCHW.shape[2:], mode="bilinear", align_corners=False)
                shown_BKHW = large_BKHW[:, :, :height, :width]
                own_BKHW = interpolate(shown_BKHW, image.shape[:2], mode="bilinear", align_corners=False)
            own_BKHW = own_BKHW.flip(3) if flip else own_BKHW
            total = own_BKHW if total is None else total + own_BKHW
    assert total is not None
    kept_CHW = total[0, list(photo.labels)]
    found: NDArray[np.float32] = (kept_CHW / kept_CHW.amax((1, 2), keepdim=True)).numpy()
    return found


def in_network(options: BackboneOptions, photos: Sequence[Photo], crop: int, is_ahead: bool) -> tuple[float, float]:
    """(the share of the time in which no step waits for its crops, seconds a step) of a training of CAM."""
    jitter = ColourJitterOptions(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    crops = CropOptions(longer_side=(320, 640), crop=crop, jitter=jitter)
    space = LabelSpace(tuple(f"class{number}" for number in range(CLASSES)))
    many = [replace(photos[index % len(photos)], id=str(index)) for index in range(STEPS * BATCH)]
    inputs = CropInputs(many, (4,), crops, Surroundings(space, options))
    # Where cells lie is measured once, before the time counts.
    inputs.draw(np.zeros(2, np.int64), np.random.default_rng(0)).levels()
    head, waited, begun = ClassMaps(inputs.channels[-1], CLASSES, 0), [0.0], [0.0]

    def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
        start = perf_counter()
        begun[0] = begun[0] or start
        batch = inputs.draw(rows, rng)
        _ = batch.crops
        waited[0] += perf_counter() - start
        scores_BK = head(batch.levels()[-1]).mean((2, 3))
        return {"classification": multilabel_soft_margin_loss(scores_BK, torch.zeros(len(rows), CLASSES))}

    groups = [*groups_of(head), *inputs.groups(0.1)]
    training = TrainingOptions(epochs=1, batch=BATCH)
    modules = torch.nn.ModuleDict({"head": head, "inputs": inputs.module})
    train(modules, groups, len(many), step, training, Surroundings(space), ahead=inputs.ahead if is_ahead else None)
    seconds = perf_counter() - begun[0]
    return 1 - waited[0] / seconds, seconds / STEPS


if __name__ == "__main__":
    main()
