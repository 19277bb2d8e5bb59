"""Standard output and error that take whatever is printed: in any encoding, and where they are closed."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

__all__ = ["prepare_output"]

PLAIN = {
    **dict.fromkeys("·–—─━═╌", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┠┨┣┫┳┻╋┡┩╇╈╔╗╚╝", "+"),
    **dict.fromkeys("×✗", "x"),
    **dict.fromkeys("°•", "*"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    "±": "+-",
    "†": "+",
    "‡": "++",
    "§": "S",
    "Δ": "d",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
}
"""What stands for letters of ours where an encoding lacks them."""
HANDLER = "seedbed.plain"


def prepare_output() -> None:
    """Have this process's standard output and error print plain letters for those that their encoding lacks.

    What is closed takes all and keeps nothing: after a night's work it is too late to refuse to print.
    """
    # Also below Python: the next file that is opened would get the number, and what libraries print.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Child processes too are to find it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 # as long as the process
    codecs.register_error(HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Plain letters for those that cannot be encoded, as codecs ask for them; others are told by their number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(map(_spelled, letters)), error.end


def _spelled(letter: str) -> str:
    # Without its accents, where it has any.
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return PLAIN.get(letter) or bare or letter.encode("ascii", "backslashreplace").decode()
