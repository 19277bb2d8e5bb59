"""The setting `shuffled`, a control: target photos under each other's labels. What is learned here is chance."""

from dataclasses import replace
from hashlib import sha256
from typing import ClassVar

from pydantic import Field

from settings.options import Options
from settings.records import Photo, WeakSet
from settings.setting import Offer, Setting, Target

__all__ = ["Shuffled", "ShuffledOptions"]


class ShuffledOptions(Options):
    """Which shuffle."""

    shuffle_seed: int = Field(0, ge=0, lt=2**63, description="another number, other labels")


class Shuffled(Setting):
    """Every photo gets the labels of another one, so that labels keep their frequencies."""

    options_model = ShuffledOptions
    version: ClassVar[int] = 1
    options: ShuffledOptions

    def offer(self, target: Target) -> Offer:
        """All photos of train and dev, in id order, labels moved on by one in the order of hashes."""
        order = sorted(target.photos, key=self._place)
        labels = {photo.id: order[position - 1].labels for position, photo in enumerate(order)}
        photos = tuple(replace(photo, labels=labels[photo.id]) for photo in target.photos)
        identity = self.options.model_dump(mode="json")
        return Offer(WeakSet(photos, target.label_space), photos, identity=identity)

    def _place(self, photo: Photo) -> bytes:
        return sha256(f"{self.options.shuffle_seed}/{photo.id}".encode()).digest()
