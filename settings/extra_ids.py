"""Ids of extra photos: file names that tell kind, class and file, one to one, whatever a tree calls its files.

A photo's id follows from its own path alone, so that further files change no other photo's id.
"""

import os
import re
from hashlib import sha256

__all__ = ["extra_id"]

LONGEST = 100
"""Bytes of a class or stem that an id shows: file systems allow 255 a name."""


def extra_id(kind: str, class_name: str, stem: str, path: str) -> str:
    """`<kind>.<class>.<stem>`, in letters, digits, `_`, `-` and `.`.

    Where `path` (relative to the photos' root) is more than `<class>/<stem>.jpg`, or class and stem cannot be shown as
    they are, ten digits of the path's hash follow: `cat/a b.jpg`, `cat/a_b.jpg` and `cat/a_b.png` stay three photos.
    """
    shown = f"{_safe(class_name, '-')}.{_safe(stem, '.-')}"
    # A stem that ends as a tag does could be taken for one.
    plain = path == f"{class_name}/{stem}.jpg" and shown == f"{class_name}.{stem}"
    if plain and not re.search(r"-[0-9a-f]{10}$", stem):
        return f"{kind}.{shown}"
    return f"{kind}.{shown}-{sha256(os.fsencode(path)).hexdigest()[:10]}"


def _safe(text: str, allowed: str) -> str:
    safe = re.sub(rf"[^\w{allowed}]", "_", text)
    return safe.encode()[:LONGEST].decode(errors="ignore")
