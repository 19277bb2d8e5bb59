"""What lies in a folder that is not laid out as the data set `folder` is, and the command or change that mends it."""

from collections.abc import Collection
from pathlib import Path

from settings.photo_ids import composed

__all__ = [
    "PICTURES",
    "VOC_FOLDER",
    "label_source",
    "mend_of_layout",
    "mend_of_list",
    "mend_of_no_photos",
    "other_folders",
    "voc_root",
]

VOC_FOLDER = Path("VOCdevkit") / "VOC2012"
PICTURES = (".jpg", ".jpeg", ".png")
LABELS = ("*cls_labels*.npy", "_classes.csv", "*.json", "*_cls.txt", "annotations/*.json", "Annotations")
"""Where other programs keep image-level labels, the likeliest first."""


def voc_root(root: Path) -> Path | None:
    """The folder that holds VOCdevkit/VOC2012: this one, or one of the two above it."""
    return next((each for each in (root, root.parent, root.parent.parent) if (each / VOC_FOLDER).is_dir()), None)


def mend_of_layout(root: Path) -> str:
    """What makes a data set of a folder without classes.txt."""
    if above := voc_root(root):
        return f"that is VOC's layout: seedbed data check voc12 --set root={above}"
    if source := label_source(root):
        return f"seedbed data import-labels {source} {root / 'labels.csv'} writes it too"
    if (root / "labelmap.txt").is_file():
        return f"seedbed data import-masks {root} {root / 'masks'} writes it too"
    if not (root / "images").is_dir() and any(_pictures(folder) for folder in _folders(root)):
        return "folders of photos, one a class, are extra photos: a source of the settings single_label and web"
    return "write them in the order of their mask values, from 1; background is left out"


def label_source(root: Path) -> Path | None:
    """What `seedbed data import-labels` could read; masks are not looked for."""
    found = [path for pattern in LABELS for path in sorted(root.glob(pattern))]
    # Captions and key points of COCO stand beside the objects.
    found.sort(key=lambda path: path.name.startswith(("captions", "person_keypoints", "panoptic")))
    return next(iter(found), None)


def mend_of_list(root: Path, name: str) -> str:
    """How the list `name` (train, val) comes about: from a list of another name, else from the photos."""
    others = [path for pattern in (f"*{name}*.txt", f"ImageSets/*/{name}.txt") for path in sorted(root.glob(pattern))]
    if others:
        return f"copy {others[0].relative_to(root)} there, if that is it"
    return "list the photos of images/ by name, one a line"


def mend_of_no_photos(root: Path) -> str:
    """What folder could be meant where images/ is not there: the one beside masks/ that holds most pictures."""
    counts = {folder.name: len(_pictures(folder)) for folder in _folders(root) if folder.name != "masks"}
    most = max(counts, key=lambda other: counts[other], default="")
    if not counts.get(most):
        return ""
    return f"is it '{most}', with {counts[most]} pictures? Then rename it"


def other_folders(root: Path, known: Collection[str], ids: Collection[str]) -> tuple[str, ...]:
    """The subfolders beside the `known` ones that hold pictures of these photo ids."""
    wanted = frozenset(map(composed, ids))
    found = []
    for folder in _folders(root):
        if folder.name not in known and any(composed(path.stem) in wanted for path in _pictures(folder)):
            found.append(folder.name)
    return tuple(found)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by their names; none of one that may not be read, which is nobody's data set."""
    try:
        return [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    except OSError:
        return []
