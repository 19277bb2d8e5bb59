"""Near-duplicates of evaluated photos among extra ones: what is found, what is hit by mistake, photos hashed a second.

Run with OMP_NUM_THREADS=1. Planted near-duplicates are evaluated photos, resized, recompressed, mirrored and cropped;
clean photos are extra ones and, of rendered scenes, those of train and dev too.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from settings.aliases import Aliases
from settings.audit import AuditOptions
from settings.dataset import Dataset
from settings.datasets.scenes import Scenes
from settings.datasets.voc12 import Voc12, Voc12Options
from settings.perceptual import Look, distances, look_of
from settings.records import Image, Photo
from settings.sources.class_folders import ClassFolders
from settings.sources.scenes import Scenes as ExtraScenes
from settings.sources.scenes import ScenesOptions as ExtraScenesOptions

ANIMALS = ("cat", "cow", "dog", "horse", "sheep", "person")
Change = Callable[[Pillow.Image, np.random.Generator], Pillow.Image]


def resized(image: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """To half the size up to half as much again."""
    factor = rng.uniform(0.5, 1.5)
    return image.resize((round(image.width * factor), round(image.height * factor)))


def recompressed(image: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """As a JPEG of quality 30 to 90."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(30, 91)))
    return Pillow.open(buffer).convert("RGB")


def mirrored(image: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Left to right."""
    return ImageOps.mirror(image)


def cropped(image: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """By 5 % of each side, wherever that leaves the rest."""
    left, upper = rng.uniform(0, 0.05, 2)
    width, height = image.size
    return image.crop(
        (round(left * width), round(upper * height), round((left + 0.95) * width), round((upper + 0.95) * height))
    )


def trimmed(image: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """By 2.5 % on each of two opposite sides."""
    width, height = image.size
    cut = round(0.025 * width), round(0.025 * height)
    if rng.random() < 0.5:
        return image.crop((cut[0], 0, width - cut[0], height))
    return image.crop((0, cut[1], width, height - cut[1]))


CHANGES: dict[str, tuple[Change, ...]] = {
    "resized": (resized,),
    "recompressed": (recompressed,),
    "mirrored": (mirrored,),
    "cropped by 5 %": (cropped,),
    "cropped, opposite sides": (trimmed,),
    "mirrored, cropped": (mirrored, cropped),
    "resized, recompressed": (resized, recompressed),
    "cropped, recompressed": (cropped, recompressed),
}


def main() -> None:
    """Print one line a kind of change, then the false hits and the speed."""
    for name, evaluation, clean in samples():
        images = [photo.image() for photo in evaluation]
        start = time.process_time()
        held = [look_of(photo.image(), "held against") for photo in evaluation]
        middle = time.process_time()
        looked_at = [look_of(photo.image(), "looked at") for photo in clean]
        end = time.process_time()
        most = AuditOptions().distance
        print(f"{name}: {len(evaluation)} evaluated photos, {len(clean)} extra ones, at most {most} bits")
        for change, steps in CHANGES.items():
            found = own_distances(images, held, steps)
            print(f"  {change:24} recall {np.mean(found <= most):.3f}, distance 99 % {np.quantile(found, 0.99):.0f}")
        nearest = np.sort(distances(looked_at, held).min(1))
        print(f"  clean photos hit: {np.mean(nearest <= most):.4f}; nearest {nearest[:5].tolist()}")
        speed = len(evaluation) / (middle - start), len(clean) / (end - middle)
        print(f"  photos a CPU second, decoding included: {speed[0]:.0f} evaluated, {speed[1]:.0f} extra")


def own_distances(images: Sequence[Image], held: Sequence[Look], steps: Sequence[Change]) -> np.ndarray:
    """How far each changed photo is from its original."""
    rng = np.random.default_rng(0)
    found = []
    for image, look in zip(images, held, strict=True):
        changed = Pillow.fromarray(image)
        for step in steps:
            changed = step(changed, rng)
        found.append(distances([look_of(np.asarray(changed), "looked at")], [look])[0, 0])
    return np.array(found)


def samples() -> list[tuple[str, Sequence[Photo], Sequence[Photo]]]:
    """Data sets with evaluated and extra photos."""
    scenes = Scenes()
    rendered = ExtraScenes(ExtraScenesOptions()).photos("web", scenes.label_space, Aliases())
    own = [scenes.photo(photo_id) for photo_id in scenes.training_ids]
    found: list[tuple[str, Sequence[Photo], Sequence[Photo]]] = [
        ("scenes", scenes.eval_set("val").photos, [*rendered, *own])
    ]
    root = Path(os.environ.get("SEEDBED_REAL_DATA", "../shared/data"))
    if root.is_dir():
        animals: Dataset = Voc12(Voc12Options(root=root / "voc12-animals", subset="voc12-animals", classes=ANIMALS))
        extra: list[Photo] = []
        for folder in ("animals-single-label", "animals-web"):
            tree = ClassFolders(ClassFolders.options_model(root=root / folder))
            extra += tree.photos("web", animals.label_space, Aliases())
        found.append(("voc12-animals", animals.eval_set("val").photos, extra))
    return found


if __name__ == "__main__":
    main()
