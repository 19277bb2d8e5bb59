"""Files for tests of what reads them: PNG headers made by hand, and a VOC folder of a few tiny photos."""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from settings.datasets.voc12 import CLASSES, Voc12, Voc12Options
from settings.masks import write_mask


def encode_png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file of raw scan lines (each begins with its filter byte), which need not fit its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.fixture
def png() -> Callable[[int, int, int, int, bytes], bytes]:
    return encode_png


@dataclass
class VocFolder:
    """A VOC folder under `root`; photo i is (8 + i) × 10 pixels with a vertical stripe of each of its classes."""

    root: Path
    lists: dict[str, list[str]] = field(
        default_factory=lambda: {
            "train": ["2007_b", "2007_a"],
            "val": ["2008_v", "2008_w"],
            "trainaug": ["2007_b", "2007_a", "2009_d", "2009_c"],
        }
    )
    classes: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "2007_a": ("dog", "cat"),
            "2007_b": ("car",),
            "2008_v": ("cat", "car"),
            "2008_w": ("person",),
            "2009_c": ("cat", "person"),
            "2009_d": ("dog",),
        }
    )

    @property
    def voc(self) -> Path:
        return self.root / "VOCdevkit" / "VOC2012"

    def mask_path(self, photo_id: str) -> Path:
        folder = "SegmentationClassAug" if photo_id.startswith("2009") else "SegmentationClass"
        return self.voc / folder / f"{photo_id}.png"

    def photo_path(self, photo_id: str) -> Path:
        return self.voc / "JPEGImages" / f"{photo_id}.jpg"

    def annotation_path(self, photo_id: str) -> Path:
        return self.voc / "Annotations" / f"{photo_id}.xml"

    def list_path(self, split: str) -> Path:
        return self.voc / "ImageSets" / "Segmentation" / f"{split}.txt"

    def true_mask(self, photo_id: str) -> np.ndarray:
        """VOC's own values: background, a stripe of two columns a class, a column of 255."""
        mask_HW = np.zeros((8 + sorted(self.classes).index(photo_id), 10), np.uint8)
        for position, name in enumerate(self.classes[photo_id]):
            mask_HW[:, 2 * position : 2 * position + 2] = CLASSES.index(name) + 1
        mask_HW[:, 9] = 255
        return mask_HW

    def write(self) -> None:
        for folder in (
            "JPEGImages",
            "Annotations",
            "SegmentationClass",
            "SegmentationClassAug",
            "ImageSets/Segmentation",
        ):
            (self.voc / folder).mkdir(parents=True)
        for split, ids in self.lists.items():
            self.list_path(split).write_text("".join(f"{photo_id}\n" for photo_id in ids))
        for index, photo_id in enumerate(self.classes):
            mask_HW = self.true_mask(photo_id)
            write_mask(self.mask_path(photo_id), mask_HW)
            PillowImage.new("RGB", mask_HW.shape[::-1], (20 * index, 90, 30)).save(self.photo_path(photo_id))
            self.annotate(photo_id, *self.classes[photo_id], *self.classes[photo_id][:1])

    def annotate(self, photo_id: str, *names: str) -> None:
        objects = "".join(f"<object><name>{name}</name><part><name>head</name></part></object>" for name in names)
        self.annotation_path(photo_id).write_text(f"<annotation>{objects}</annotation>")

    def open(self, *classes: str, subset: str = "tiny") -> Voc12:
        return Voc12(Voc12Options(root=self.root, subset=subset, classes=classes))


@pytest.fixture
def voc(tmp_path: Path) -> VocFolder:
    folder = VocFolder(tmp_path / "data")
    folder.write()
    return folder
