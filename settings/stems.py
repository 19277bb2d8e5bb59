"""Names that almost match: which file somebody means where the one that is asked for is not there.

Wanted and present stems are compared as other programs vary them: a photo's extension left on, a folder before it, a
suffix such as `_mask`, another case, accents in another Unicode form, blanks for underscores.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from settings.errors import counted, printable
from settings.photo_ids import composed, photo_stem

__all__ = ["alike", "names_alike", "told_renames"]

_SUFFIX = re.compile(
    r"([_ .-](masks?|pred(iction)?s?|pseudo|labels?|labelids|labeltrainids|gt(fine)?|ground_?truth|seg(mentation)?)"
    r"|(mask|pred|gt))$"
)
_TOLD = 3


def alike(wanted: str, present: Iterable[str]) -> str:
    """The one name among `present` that is a wanted one as programs vary names; empty for none, and for several."""
    plain = _plain(wanted)
    found = [name for name in present if _are_one(plain, _plain(name))]
    return found[0] if len(found) == 1 else ""


def names_alike(wanted: Collection[str], present: Collection[str]) -> Mapping[str, str]:
    """For each wanted name that is not present, the one that is meant, where that is clear and no other means it."""
    by_stem: dict[str, list[str]] = {}
    for name in set(present) - set(wanted):
        by_stem.setdefault(_plain(name)[-1], []).append(name)
    meant: dict[str, str] = {}
    askers: Counter[str] = Counter()
    for name in wanted:
        if name in present:
            continue
        plain = _plain(name)
        found = [other for other in by_stem.get(plain[-1], ()) if _are_one(plain, _plain(other))]
        askers.update(found)
        if len(found) == 1:
            meant[name] = found[0]
    return {name: other for name, other in meant.items() if askers[other] == 1}


def told_renames(pairs: Mapping[str, str], extension: str) -> str:
    """The mend for files that lie there under almost their name: how many, and how to rename the first of them."""
    shown = [f"{printable(found)}{extension} to {printable(name)}{extension}" for name, found in pairs.items()][:_TOLD]
    more = ", …" if len(pairs) > _TOLD else ""
    return f"{counted(len(pairs), 'file')} of almost that name: rename {', '.join(shown)}{more}"


def _plain(name: str) -> tuple[str, ...]:
    """What names have in common that mean one photo: their folders, and the stem without what programs append."""
    *folders, last = re.split(r"[/\\]", composed(name).casefold())
    stem = photo_stem(last)
    # One after the other, as in `x.jpg.npy`, `x_mask.png` and `x_gtFine_labelIds.png`.
    while shorter := _SUFFIX.sub("", photo_stem(stem)):
        if shorter == stem:
            break
        stem = shorter
    return tuple(re.sub(r"[\s_]+", "_", part) for part in (*folders, stem))


def _are_one(plain: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two names may mean one photo: their stems agree, and so do the folders that both of them name."""
    shared = min(len(plain), len(other))
    return plain[-shared:] == other[-shared:]
