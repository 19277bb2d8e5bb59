"""The setting `clean`: the image-level labels of the target set, and nothing else."""

from settings.records import WeakSet
from settings.setting import Offer, Setting, Target

__all__ = ["Clean"]


class Clean(Setting):
    """Train and dev photos of the target set with their own labels."""

    def offer(self, target: Target) -> Offer:
        """All photos of train and dev, in id order."""
        return Offer(WeakSet(target.photos, target.label_space), target.photos)
