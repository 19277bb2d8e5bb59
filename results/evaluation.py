"""What a score was measured on: the evaluation fingerprint, equal for scores that may be compared."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from settings.records import Mask, fingerprint

__all__ = ["evaluation_fingerprint", "mask_digest"]


def mask_digest(truth_HW: Mask) -> str:
    """sha256 of a true mask's size and values, in hexadecimal; however its file was compressed."""
    return sha256(repr(truth_HW.shape).encode() + truth_HW.tobytes()).hexdigest()


def evaluation_fingerprint(classes: Sequence[str], digests: Mapping[str, str]) -> str:
    """sha256 of the class names (K + 1, by mask value, background first) and of each photo's id and `mask_digest`.

    Two scores have one fingerprint where names, ids and true masks are equal, whoever made the predictions: a row of a
    run, and a folder that `seedbed score` was given the names for.
    """
    return fingerprint([list(classes), sorted(digests.items())])
