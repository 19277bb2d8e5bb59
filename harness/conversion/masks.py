"""`seedbed data import-masks`: masks as annotation tools write them become PNGs of class indices.

*.json                        COCO: polygons and run lengths; Label Studio: polygons and painted areas
a folder of *.json            LabelMe
a folder of *.png             colours of labelmap.txt (CVAT) or VOC, any palette, 1 to 16 bits, with alpha
  task-7-…-tag-cat-0.png      Label Studio: a file a label
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from harness.conversion._annotations import (
    MAX_PIXELS,
    CocoAnnotation,
    CocoFile,
    CocoImage,
    LabelMeFile,
    StudioFile,
    read_annotations,
    studio_annotations,
)
from harness.conversion._names import (
    ClassNames,
    classes_beside,
    declared_classes,
    ids_beside,
    match_ids,
    write_classes,
)
from harness.conversion._outlines import coco_mask, labelme_mask, mask_of_areas, studio_mask
from harness.conversion._pictures import Read, decide, load, read_labelmap, survey
from settings.errors import UserError, counted, kind_of
from settings.files import write_bytes
from settings.lists import implied_value
from settings.masks import encode_mask
from settings.photo_ids import file_of, files_below, id_of
from settings.records import UNKNOWN, Mask

__all__ = ["Crowd", "MaskOptions", "import_masks"]

Watch: TypeAlias = Callable[[Sequence[str]], Iterable[str]]
Crowd: TypeAlias = Literal["object", "void"]
AS_MASKS = "XML is not read: from CVAT export COCO, or its segmentation masks"
EXPECTED = "COCO or Label Studio .json, or a folder of LabelMe .json or of .png"
LABEL_STUDIO = re.compile(r"(task-\d+)-annotation-\d+-by-.*?-(?:tag|label)-(.+)-\d+")
OF_LABEL_STUDIO = re.compile(r"task-\d+-annotation-\d+-by-.*")


class MaskOptions(NamedTuple):
    """What the user settles: names of classes, colours, how palettes are read, and what COCO's crowds are."""

    classes: Path | None = None
    labelmap: Path | None = None
    read: Read | None = None
    crowd: Crowd | None = None


class Masks(NamedTuple):
    """The masks of a source by the names that they have there, each made when it is asked for."""

    names: tuple[str, ...]
    make: Callable[[str], Mask]
    classes: ClassNames
    note: str
    # Where the masks lie as pictures; the output must be elsewhere.
    folder: Path | None


def import_masks(source: Path, output: Path, options: MaskOptions | None = None, watch: Watch = iter) -> str:
    """Write `<output>/<photo id>.png` for each mask of the source; says what was done.

    Names are matched with the lists, or `images/`, beside the output; masks of other photos are left out. Masks that
    are there are replaced. Raises UserError for what cannot be read and for doubt.
    """
    options = options or MaskOptions()
    folder = output.absolute().parent
    classes = classes_beside(folder, options.classes)
    known = ids_beside(folder)
    # Elsewhere subfolders hold other things: pictures of instances, of single annotations.
    in_folders = any("/" in photo_id for photo_id in known)
    masks = _read(source, folder, classes, options, in_folders)
    if output.exists() and masks.folder is not None and output.samefile(masks.folder):
        raise UserError(output, "the folder of the source as output", "another folder", "move the originals first")
    if not masks.names:
        raise UserError(source, "no mask in it", EXPECTED)
    ids = match_ids(source, masks.names, known)
    if classes is None:
        write_classes(folder, masks.classes)
    shown: Counter[int] = Counter()
    for name in watch([name for name in masks.names if name in ids]):
        mask = masks.make(name)
        _write(file_of(output, ids[name], ".png"), mask)
        shown.update(np.unique(mask).tolist())
    notes = [masks.note] * bool(masks.note)
    if others := len(masks.names) - len(ids):
        notes.append(f"left out {counted(others, 'mask')} of no known id")
    if missing := sorted(known - set(ids.values())):
        notes.append(f"nothing about {counted(len(missing), 'photo')} ('{missing[0]}')")
    if classes is None:
        notes.append(f"wrote {folder / 'classes.txt'}")
    return "; ".join([_summary(len(ids), output, shown, masks.classes), *notes])


def _summary(count: int, output: Path, shown: Mapping[int, int], classes: ClassNames) -> str:
    parts = [f"{name} in {shown[value]}" for value, name in enumerate(classes.names, 1) if shown.get(value)][:8]
    absent = sum(not shown.get(value) for value in range(1, len(classes.names) + 1))
    parts += [f"{counted(absent, 'class', 'classes')} in none"] * (absent > 0)
    parts += [f"{UNKNOWN} in {shown.get(UNKNOWN)}"] * (UNKNOWN in shown)
    return f"{counted(count, 'mask')} in {output} ({', '.join(parts)})"


def _write(path: Path, mask: Mask) -> None:
    try:
        write_bytes(path, encode_mask(mask))
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None


def _read(source: Path, folder: Path, classes: ClassNames | None, options: MaskOptions, in_folders: bool) -> Masks:
    """The source by its extension or that of its files; raises UserError for a source of no kind."""
    if source.is_file() and source.suffix.lower() == ".json":
        content = read_annotations(source)
        if isinstance(content, CocoFile):
            return _of_coco(source, content, classes, options.crowd)
        if isinstance(content, StudioFile):
            return _of_studio_json(source, content, classes)
        return _of_labelme(source.parent, [source], classes)
    if not source.is_dir():
        raise UserError(source, kind_of(source), EXPECTED, AS_MASKS if source.suffix.lower() == ".xml" else "")
    # CVAT's archive: the masks lie in a folder of their own, beside labelmap.txt.
    inner = source / "SegmentationClass"
    place = inner if inner.is_dir() else source
    by_extension = _files(place, in_folders)
    pngs, jsons, others = (by_extension.get(extension, []) for extension in (".png", ".json", ".jpg"))
    if pngs and all(OF_LABEL_STUDIO.fullmatch(path.stem) for path in pngs):
        return _of_studio_pngs(pngs, classes)
    # Before PNGs: photos may lie beside the JSON files.
    if jsons:
        return _of_labelme(place, jsons, classes)
    if pngs:
        return _of_pngs(place, pngs, classes, _labelmap(options.labelmap, (place, source, folder)), options.read)
    raise UserError(
        place, f"no .png and no .json file ({counted(len(others), 'JPEG file')})", EXPECTED, _mend_of(place)
    )


def _mend_of(folder: Path) -> str:
    """What to import instead of a folder without masks."""
    by_extension = _files(folder)
    if ".jpg" in by_extension:
        return "JPEG changes values: export masks as PNG"
    if ".xml" in by_extension:
        return AS_MASKS
    if next(folder.glob("*_json/label.png"), None):
        return "label.png numbers the classes of each photo anew: import LabelMe's .json files"
    inner = next((path.parent for path in sorted(folder.glob("*/*")) if path.suffix.lower() in (".png", ".json")), None)
    return f"name the folder itself, such as {inner}" if inner else ""


def _of_coco(path: Path, content: CocoFile, classes: ClassNames | None, crowd: Crowd | None) -> Masks:
    classes = classes or declared_classes(path, content.names())
    values, others = {}, 0
    for category in content.categories:
        is_known = classes.find(category.name) is not None or implied_value(category.name) is not None
        values[category.id] = classes.mask_value(path, category.name) if is_known else 0
        others += not is_known
    by_image: dict[int | str, list[CocoAnnotation]] = defaultdict(list)
    for annotation in content.annotations:
        by_image[annotation.image_id].append(annotation)
    images = {image.file_name: image for image in content.images}
    notes = ["of two objects that overlap the smaller is on top"]
    notes += [f"left out {counted(others, 'other class', 'other classes')}"] * (others > 0)
    crowds = sum(annotation.iscrowd for annotation in content.annotations)
    if crowd is None:
        # CVAT marks whatever was painted with a brush; a file of crowds alone has none.
        crowd = "object" if crowds == len(content.annotations) else "void"
        if crowds and crowd == "object":
            notes.append("all objects are marked as crowds, as CVAT does with painted ones: taken as objects")
        elif crowds:
            crowd_is = f"{counted(crowds, 'crowd')} became {UNKNOWN}"
            notes.append(f"{crowd_is} (--crowd object where an exporter marks painted objects so)")
    value = UNKNOWN if crowd == "void" else 0

    def make(name: str) -> Mask:
        image = images[name]
        return coco_mask(f"{path} ({name})", by_image[image.id], values, _size(path, image), value)

    return Masks(tuple(images), make, classes, "; ".join(notes), None)


def _size(path: Path, image: CocoImage) -> tuple[int, int]:
    if image.height is None or image.width is None or image.height * image.width > MAX_PIXELS:
        found = f"{image.width}×{image.height} pixels of {image.file_name[:80]}"
        raise UserError(path, found, f"width and height, at most {MAX_PIXELS} pixels")
    return image.height, image.width


def _of_labelme(folder: Path, paths: Sequence[Path], classes: ClassNames | None) -> Masks:
    by_name = _by_name(folder, paths)
    if classes is None:
        labels = {shape.label for path in paths for shape in _labelme(path).shapes}
        classes = declared_classes(folder, sorted(labels))
    found = classes

    def make(name: str) -> Mask:
        path = by_name[name]
        return labelme_mask(path, _labelme(path), lambda label: found.mask_value(path, label))

    return Masks(tuple(by_name), make, found, "", folder)


def _labelme(path: Path) -> LabelMeFile:
    content = read_annotations(path)
    if not isinstance(content, LabelMeFile):
        found = "JSON of another kind in a folder"
        raise UserError(path, found, "LabelMe JSON, a file a photo", "name the COCO or Label Studio file itself")
    return content


def _of_studio_json(path: Path, content: StudioFile, classes: ClassNames | None) -> Masks:
    annotations = studio_annotations(path, content)
    # A photo without an area has no size here, and no mask can be drawn.
    drawn = {name: each for name, each in annotations.items() if any(region.value.classes for region in each.result)}
    if classes is None:
        labels = {label for each in drawn.values() for region in each.result for label in region.value.classes}
        classes = declared_classes(path, sorted(labels))
    found = classes
    notes = [f"pixels of two labels became {UNKNOWN}"]
    if without := len(content.tasks) - len(drawn):
        notes.append(f"left out {counted(without, 'task')} without an area")

    def make(name: str) -> Mask:
        return studio_mask(f"{path} ({name})", drawn[name], lambda label: found.mask_value(path, label))

    return Masks(tuple(drawn), make, found, "; ".join(notes), None)


def _of_studio_pngs(paths: Sequence[Path], classes: ClassNames | None) -> Masks:
    by_task: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for path in paths:
        match = LABEL_STUDIO.fullmatch(path.stem)
        if match is None:
            expected = "…-tag-<label>-<number>.png or …-label-<label>-<number>.png"
            raise UserError(path, "labels of another name", expected, "import Label Studio's JSON export instead")
        by_task[match[1]].append((match[2], path))
    if classes is None:
        classes = declared_classes(paths[0].parent, sorted({label for each in by_task.values() for label, _ in each}))
    found = classes

    def make(task: str) -> Mask:
        areas = [(found.mask_value(path, label), load(path).pixels > 0) for label, path in by_task[task]]
        size = areas[0][1].shape
        for (_, path), (_, area_HW) in zip(by_task[task], areas, strict=True):
            if area_HW.shape != size:
                raise UserError(path, f"{area_HW.shape[1]}×{area_HW.shape[0]} pixels", "the size of the other labels")
        return mask_of_areas(areas, size)

    note = (
        f"pixels of two labels became {UNKNOWN}; these files name tasks, not photos: "
        "name photos task-<number>, or import the JSON export"
    )
    return Masks(tuple(by_task), make, found, note, paths[0].parent)


def _of_pngs(
    folder: Path, paths: Sequence[Path], classes: ClassNames | None, labelmap: Path | None, read: Read | None
) -> Masks:
    names = read_labelmap(labelmap) if labelmap else {}
    if classes is None:
        classes = declared_classes(labelmap or folder, names)
    colours = {colour: classes.mask_value(labelmap, name) for name, colour in names.items()}
    meaning = decide(folder, survey(paths), classes, colours, read)
    by_name = _by_name(folder, paths)
    notes = [meaning.note] * bool(meaning.note) + [f"colours of {labelmap}"] * bool(labelmap)

    def make(name: str) -> Mask:
        return meaning.mask(by_name[name], load(by_name[name]))

    return Masks(tuple(by_name), make, classes, "; ".join(notes), folder)


def _labelmap(named: Path | None, folders: Iterable[Path]) -> Path | None:
    if named is not None:
        return named
    return next((folder / "labelmap.txt" for folder in folders if (folder / "labelmap.txt").is_file()), None)


def _by_name(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    return {id_of(path.relative_to(folder)): path for path in paths}


def _files(folder: Path, below: bool = False) -> dict[str, list[Path]]:
    """The files of a folder by their lower-case extension, with `below` also those of folders in it: one walk."""
    found: dict[str, list[Path]] = {}
    for path in files_below(folder):
        if below or len(path.parts) == 1:
            found.setdefault(path.suffix.lower(), []).append(folder / path)
    return found
