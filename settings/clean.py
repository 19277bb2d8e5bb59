"""The setting `clean`: the image-level labels of the target set, and nothing else."""

from settings.dataset import Dataset
from settings.records import WeakSet
from settings.setting import Setting


class Clean(Setting):
    """Train and dev photos of the target set with their own labels."""

    def weak_set(self, dataset: Dataset) -> WeakSet:
        """All photos of train and dev, in id order."""
        return WeakSet(tuple(map(dataset.photo, dataset.training_ids)), dataset.label_space)
