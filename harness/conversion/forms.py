"""Maps and labels as the field's programs write them, so that a stage of theirs goes on from one of ours.

irn    <id>.npy               {"keys": class ids, "cam": (C, ⌈H/4⌉, ⌈W/4⌉), "high_res": (C, H, W)}; IRN's make_cam.py
psa    <id>.npy               {class id: (H, W), …}; PSA's infer_cls.py, SEAM, MCTformer
mcis   <id>_<class id>.png    8-bit grey at the photo's size; OAA, SeeNet, MCIS

Values are in [0, 1], or 0 to 255 in PNGs; class ids are 0-based. `maps.import_maps` reads each of them back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from methods.base import LocalizationMaps
from methods.refining import maps_at
from methods.upsampling import upsample
from settings.errors import UserError
from settings.files import write_bytes
from settings.photo_ids import file_of
from settings.saliency import encode_saliency

__all__ = ["MAP_FORMS", "Keys", "write_labels_form", "write_map_form"]

STRIDE = 4
"""IRN walks on maps of this stride, and counts the last, incomplete cell."""
Keys: TypeAlias = Literal["text", "numbers"]
"""What photos are called in cls_labels.npy: PSA and most others have text, IRN a number (2007_000032: 2007000032)."""
NUMBERED = re.compile(r"([1-9][0-9]{3})_([0-9]+)")


def write_map_form(form: str, folder: Path, record: LocalizationMaps) -> None:
    """Write the maps of one photo into the folder; `form` is a key of MAP_FORMS. Files are replaced, each at once."""
    MAP_FORMS[form](folder, record)


def _write_irn(folder: Path, record: LocalizationMaps) -> None:
    import torch

    height, width = record.image_size
    strided_CHW = maps_at(record, (-(-height // STRIDE), -(-width // STRIDE)))
    content = {
        # Tensors, where IRN has them: its own programs call methods of theirs.
        "keys": torch.tensor(record.class_ids, dtype=torch.int64),
        "cam": torch.from_numpy(np.ascontiguousarray(strided_CHW, np.float32)),
        "high_res": upsample(record),
    }
    write_bytes(file_of(folder, record.photo_id, ".npy"), _pickled(content))


def _write_psa(folder: Path, record: LocalizationMaps) -> None:
    content = dict(zip(record.class_ids, upsample(record), strict=True))
    write_bytes(file_of(folder, record.photo_id, ".npy"), _pickled(content))


def _write_mcis(folder: Path, record: LocalizationMaps) -> None:
    for class_id, map_HW in zip(record.class_ids, upsample(record), strict=True):
        grey_HW = np.rint(map_HW * 255).astype(np.uint8)
        write_bytes(file_of(folder, f"{record.photo_id}_{class_id}", ".png"), encode_saliency(grey_HW))


def _pickled(content: object) -> bytes:
    """The bytes of a `.npy` file that numpy.load(…, allow_pickle=True).item() reads."""
    buffer = BytesIO()
    np.save(buffer, np.array(content, dtype=object), allow_pickle=True)
    return buffer.getvalue()


MAP_FORMS: Mapping[str, Callable[[Path, LocalizationMaps], None]] = {
    "irn": _write_irn,
    "psa": _write_psa,
    "mcis": _write_mcis,
}
"""What writes the maps of one photo, by the form's name."""


def write_labels_form(path: Path, labels: Mapping[str, Sequence[int]], classes: int, keys: Keys = "text") -> None:
    """Write image-level labels, 0-based class ids by photo id, in the form that the file's ending says.

    `.npy` is a pickled dictionary of multi-hot float32 arrays (K,), `.txt` a list of lines `id class class`. Raises
    UserError for another ending, for a photo that has no number, for an id with a blank in a list, and for a file that
    cannot be written.
    """
    match path.suffix:
        case ".npy":
            content = _pickled({_key(photo_id, keys): _hot(labels[photo_id], classes) for photo_id in sorted(labels)})
        case ".txt":
            content = "".join(_line(path, photo_id, labels[photo_id]) for photo_id in sorted(labels)).encode()
        case suffix:
            raise UserError(path, f"a file that ends in '{suffix}'", "cls_labels.npy, or a list .txt")
    try:
        write_bytes(path, content)
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None


def _line(path: Path, photo_id: str, class_ids: Sequence[int]) -> str:
    if " " in photo_id:
        raise UserError(path, f"photo '{photo_id}', with a blank, in a list", "ids without blanks", "write a .npy")
    return " ".join([photo_id, *map(str, class_ids)]) + "\n"


def _hot(class_ids: Sequence[int], classes: int) -> NDArray[np.float32]:
    hot_K = np.zeros(classes, np.float32)
    hot_K[list(class_ids)] = 1
    return hot_K


def _key(photo_id: str, keys: Keys) -> str | int:
    if keys == "text":
        return photo_id
    if match := NUMBERED.fullmatch(photo_id):
        return int(match[1] + match[2])
    raise UserError("--keys", f"numbers, and photo '{photo_id}'", "ids such as 2007_000032", "--keys text writes ids")
