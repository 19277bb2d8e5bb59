"""Names that almost match: which file somebody means where the one that is asked for is not there.

Wanted and present stems are compared as other programs vary them: a photo's extension left on, a folder before it, a
suffix such as `_mask`, the mark of an upload, another case, accents in another Unicode form, blanks for underscores.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from settings.errors import counted, printable
from settings.photo_ids import FILE_ENDING, composed, photo_stem

__all__ = ["alike", "names_alike", "possible_stems", "shorter_stems", "told_renames"]

_SUFFIX = re.compile(
    rf"({FILE_ENDING}|[_ .-](masks?|pred(iction)?s?|pseudo|labels?|labelids|labeltrainids|gt(fine)?|ground_?truth)"
    rf"|[_ .-](seg(mentation)?|annotations?)|(mask|pred|gt)|_(jpe?g|png)\.rf\.[0-9a-f]{{32}})$",
    re.IGNORECASE,
)
"""What programs append to a name; Roboflow the old extension and a hash."""
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded photos."""
_TOLD = 3


def shorter_stems(name: str) -> Iterator[str]:
    """The stem of a name, then it without one suffix after the other: `x_gtFine_labelIds`, `x_gtFine`, `x`."""
    stem, shorter = "", photo_stem(name)
    while shorter and shorter != stem:
        yield shorter
        stem, shorter = shorter, _SUFFIX.sub("", shorter)


def possible_stems(name: str) -> Iterator[str]:
    """The stems of the photo that a name may mean, the likeliest first, the barest last."""
    stems = list(shorter_stems(name))
    yield from stems
    yield from (_UPLOADED.sub("", stem) for stem in stems if _UPLOADED.match(stem))


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
    *folders, last = re.split(r"[/\\]", composed(name))
    *_, barest = ["", *possible_stems(last)]
    return tuple(re.sub(r"[\s_]+", "_", part.casefold()) for part in (*folders, barest))


def _are_one(plain: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two names may mean one photo: their stems agree, and so do the folders that both of them name."""
    shared = min(len(plain), len(other))
    return plain[-shared:] == other[-shared:]
