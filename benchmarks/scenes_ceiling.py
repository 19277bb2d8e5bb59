"""Does `scenes` discriminate? Full supervision on the embedded data set, same frozen features and stage 2 as its suite.

Aim: above 0.80 (all background lies below 0.20, CAM between: `make leaderboard` shows both). Options are tried with
`--split dev` (trained on train, scored on dev); val is trained on train and dev.
Run: python -m benchmarks.scenes_ceiling [--split dev] [--threads 2] [key=value of the segmenter's training …]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
import yaml

from harness.suites.suite import load_suite
from methods.base import PseudoLabelled, Surroundings
from methods.features import Computed, FrozenBackbone, StoredFeatures, compute, write_shard
from methods.networks.backbones import build
from methods.segmenters.deeplab import LEVELS, DeepLab, DeepLabOptions
from results.metrics.counts import Counts, count
from results.metrics.miou import mean_iou
from settings.datasets.scenes import Scenes
from settings.records import Photo


def stored(folder: Path, name: str, computed: Computed) -> list[Path]:
    """Write features as the features stage does."""
    paths = [folder / f"{name}-{number}.safetensors" for number in range(len(computed.features))]
    for path, (request, features_NCHW) in zip(paths, computed.features.items(), strict=True):
        write_shard(path, request, computed.shard, features_NCHW)
    return paths


def main() -> None:
    """Train on true masks and print mIoU and seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", choices=("dev", "val"), default="val")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("training", nargs="*", help="key=value")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)

    suite, scenes = load_suite("scenes-leaderboard"), Scenes()
    segmenter_options = suite.recipes["cam"].segmenter.options  # the suite's stage 2
    changes = {key: yaml.safe_load(value) for key, value in (text.split("=") for text in arguments.training)}
    options = DeepLabOptions.model_validate(
        {**segmenter_options, "training": {**segmenter_options.get("training", {}), **changes}}
    )
    segmenter, backbone = DeepLab(options), FrozenBackbone(build(suite.backbone, LEVELS))
    known = scenes.splits["train"] if arguments.split == "dev" else scenes.training_ids
    photos: tuple[Photo, ...] = tuple(map(scenes.photo, known))
    scored = tuple(map(scenes.photo, scenes.splits[arguments.split]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = stored(folder, "known", compute(backbone, photos, segmenter.fit_features()))
        paths += stored(folder, "scored", compute(backbone, scored, segmenter.apply_features()))
        surroundings = Surroundings(scenes.label_space, suite.backbone, bank=StoredFeatures(paths))
        start = perf_counter()
        fit = segmenter.fit(PseudoLabelled(photos, scenes.label_space, scenes.read_mask), surroundings)
        seconds = perf_counter() - start
        classes = scenes.label_space.foreground + 1
        masks = segmenter.apply(scored, replace(surroundings, weights=fit.weights))
        total = Counts.zero(classes)
        for photo, mask_HW in zip(scored, masks, strict=True):
            total += count(mask_HW, scenes.read_mask(photo.id), classes)
    print(
        f"full supervision on {arguments.split}: mIoU {mean_iou(total).mean:.3f} (aim > 0.80), {seconds:.0f} s to train"
    )


if __name__ == "__main__":
    main()
