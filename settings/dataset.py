"""What every data set offers; each file in `settings/datasets/` holds one subclass of Dataset."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from settings.options import Options
from settings.records import EvalSet, LabelSpace, Mask, Photo
from settings.unread import Unread

__all__ = ["TEST", "Dataset", "ServerLayout"]

TEST = "test"
"""What the photos are called whose true masks nobody here has."""


class ServerLayout(NamedTuple):
    """Where predictions lie in the archive that is handed in, and what values they have there."""

    folder: str
    """Relative, with slashes; it holds `<id>.png`."""
    values: Mask
    """The value for each of ours, (256,)."""


class Dataset(ABC):
    """Photos with image-level labels and, behind the gate of `settings.supervision`, masks.

    `splits` maps train, dev and val (disjoint) to ids in ascending order. Methods may see the labels of
    train and dev; dev's masks choose options, train's masks report maps and pseudo labels, val's report segmentation.
    """

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    photos_are_ours: ClassVar[bool] = False
    """Whether pictures with these photos may be given away; others' photos leave a store as outlines only."""
    download: ClassVar[str] = ""
    """Which download of `seedbed data fetch` fills the folder `root` of its options; empty where none does."""

    name: str
    """As rows show it: a subset bears a name of its own."""
    label_space: LabelSpace
    splits: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """By split, the ids that are listed and not used; ascending."""

    @abstractmethod
    def photo(self, photo_id: str) -> Photo:
        """The photo with its image-level labels; its `content` as the file is now, not as it once was."""

    @abstractmethod
    def read_mask(self, photo_id: str) -> Mask:
        """The true mask at photo size; only the gate calls this."""

    @abstractmethod
    def mask_content(self, photo_id: str) -> str:
        """What identifies the mask's pixels as they are now, without decoding them."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that decides the data's content and is not in a photo's own `content`; no paths."""

    def has_mask(self, photo_id: str) -> bool:
        """Whether the photo has a true mask; one without is trained on and segmented, but not scored."""
        return True

    def mask_file(self, photo_id: str) -> Path | None:
        """The file of a true mask, for messages; None where masks are drawn."""
        return None

    def mask_folders(self) -> tuple[Path, ...]:
        """Where files of true masks lie: while a stage runs, the gate alone opens them. None where masks are drawn."""
        return ()

    def unread(self) -> tuple[Unread, ...]:
        """What lies among the data set's files and no run reads, for `seedbed data check`; no file is opened."""
        return ()

    def test_ids(self) -> tuple[str, ...]:
        """The ids of a test set, which no run reads and whose true masks nobody here has; ascending, none without one.

        `photo` gives its photos too.
        """
        return ()

    def server_layout(self, split: str) -> "ServerLayout":
        """How whoever holds the true masks of a split wants predictions to lie."""
        return ServerLayout(f"results/{self.name}/{split}", np.arange(256, dtype=np.uint8))

    def eval_set(self, split: str) -> EvalSet:
        """The photos of a split, or of the test set, as segmentation sees them: without labels."""
        ids = self.test_ids() if split == TEST else self.splits[split]
        return EvalSet(tuple(self.photo(photo_id).without_labels() for photo_id in ids), self.label_space)

    @property
    def training_ids(self) -> tuple[str, ...]:
        """The ids of train and dev together, ascending: what methods may train on."""
        return tuple(sorted(self.splits["train"] + self.splits["dev"]))
