"""Named scoring protocols. A rule that changes a number gets a new version, and so a new name.

`voc/1`: one confusion over the whole set; IoU = tp / (tp + fp + fn); mean over all defined classes, background too;
unknown truth (255) left out.
"""

from typing import NamedTuple

from settings.errors import unknown_name

__all__ = ["PROTOCOLS", "Protocol", "protocol"]


class Protocol(NamedTuple):
    """A set of rules by which masks become a score, as rows name it."""

    name: str
    version: int


PROTOCOLS = {"voc/1": Protocol("voc/1", 1)}


def protocol(name: str) -> Protocol:
    """The protocol of that name; raises UserError with the nearest name for an unknown one."""
    if name not in PROTOCOLS:
        raise unknown_name("--protocol", "protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
