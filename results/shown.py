"""A table as it is shown: as Markdown, LaTeX and CSV, and for the terminal."""

import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import StringIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from results.lines import Column, Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group

__all__ = ["BY_CLASS", "MAX_NAME", "TEXTS", "Further", "Table", "code", "joined_csv", "markdown", "unmarked"]

BY_CLASS = "IoU by class"
"""The title of the table that has a column a class."""
TEXTS = (
    *("setting", "backbone", "against", "verdict", "compared", "class", "size", "side", "mostly with", "photo"),
    *("effect", "mixed up with", "source of variance"),
)
"""Columns of words; all others but the recipe hold numbers."""
MAX_FLOAT = 40
"""Lines of a table in LaTeX that has to fit on a page."""
MANY_COLUMNS = 12
"""In LaTeX more of them are set smaller, so that they fit across a page."""
HEAD_LETTERS = 9
"""Of a line of a column's head in LaTeX: a head is not to make its column wider than its numbers do."""
MAX_NAME = 40
"""Letters of a recipe's name that are kept on one line, however narrow the terminal, and that figures show."""


@dataclass(frozen=True)
class Table:
    """A table as it is shown; `records` are the same results as unrounded numbers, `sections` stand below it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    sections: tuple["Table", ...] = ()
    common: str = ""
    """What all lines have in common, and no column tells therefore; it stands under the title."""
    explained: tuple[str, ...] = ()
    """Of a board: those of its notes that say what its title means, and what its numbers are and of which photos."""
    leading: Column | None = None
    """Of a board: the scored stage that its lines are ordered and ranked by."""
    made_of: tuple[Line, ...] = ()
    """Of a board: what each of its lines was made of, in the same order."""
    bold: tuple[str, frozenset[int]] | None = None
    """For LaTeX: the column whose best values stand in bold, and the lines that have them."""
    apart: frozenset[tuple[int, int]] = frozenset()
    """The pairs of lines that a test can tell apart, the upper line first."""

    def to_markdown(self, level: int = 2) -> str:
        """A heading of that level, the table, its notes and its sections."""
        head, *lines = [[markdown(text) for text in line] for line in (self.columns, *self.lines)]
        body = "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])
        parts = [f"{'#' * level} {markdown(self.title)}", *filter(None, [markdown(self.common)]), body]
        if self.notes:
            parts.append("\n".join(f"- {markdown(note)}" for note in self.notes))
        return "\n\n".join([*(part.rstrip() for part in parts), *(s.to_markdown(level + 1) for s in self.sections)])

    def to_latex(self, without: Collection[str] = ()) -> str:
        """A `table` for the package booktabs, without its sections; the best of a column and what is tied with it bold.

        One of many lines is a `longtable`, for the package of that name, which goes on over pages.
        `without` names columns that are left out. The caption is the title, what all lines have in common, and what is
        bold; the notes are comments above it.
        """
        places = [place for place, name in enumerate(self.columns) if name not in without]
        column, best = self.bold or ("", frozenset())
        kinds = "".join("l" if self.columns[place] in ("recipe", *TEXTS) else "r" for place in places)
        rows = [[_latex_head(self.columns[place], kind) for place, kind in zip(places, kinds, strict=True)]]
        for n, line in enumerate(self.lines):
            cells = [(self.columns[place], _latex(line[place])) for place in places]
            rows.append([rf"\textbf{{{text}}}" if n in best and name == column else text for name, text in cells])
        head, *body = [" & ".join(row) + r" \\" for row in rows]
        bold = f"Bold: the highest {column}, and what is not separated from it" if best else ""
        caption = ". ".join(_latex(text) for text in (self.title, self.common, bold) if text)
        comments = [f"% {' '.join(note.split())}" for note in self.notes]
        size = [r"\scriptsize" if len(places) > MANY_COLUMNS else r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"]
        ruled = [r"\toprule", head, r"\midrule"]
        if len(self.lines) > MAX_FLOAT:
            # A float is as high as a page at most.
            begin = [r"\begingroup", *size, rf"\begin{{longtable}}{{{kinds}}}", *ruled, r"\endhead"]
            end = [r"\bottomrule", rf"\caption{{{caption}.}}", r"\end{longtable}", r"\endgroup"]
            return "\n".join(["% for the packages booktabs and longtable", *comments, *begin, *body, *end])
        begin = [r"\begin{table}", r"\centering", *size, rf"\begin{{tabular}}{{{kinds}}}", *ruled]
        end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}.}}", r"\end{table}"]
        return "\n".join(["% for the package booktabs", *comments, *begin, *body, *end])

    def to_csv(self) -> str:
        """One record per line and scored stage, numbers unrounded, empty where there is none."""
        text = StringIO()
        writer = csv.DictWriter(text, list(self.records[0]) if self.records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return text.getvalue()

    def to_rich(self) -> "Group":
        """For the terminal: the title, the table, and below it the notes, which may be wider than a small table."""
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable()
        for place, column in enumerate(self.columns):
            if column == "recipe":
                names = [line[place] for line in self.lines]
                # In a narrow terminal numbers may be wrapped; of names that are cut off several look alike.
                width = min(MAX_NAME, max(map(len, [column, *names])))
                shown.add_column(Text(column), min_width=width, overflow="fold")
            else:
                shown.add_column(Text(column), justify="left" if column in TEXTS else "right")
        for line in self.lines:
            shown.add_row(*(Text(text) for text in line))
        heads = [Text(self.title, style="bold"), *([Text(self.common)] if self.common else [])]
        return Group(*heads, shown, *(Text(note) for note in self.notes), Text())


@dataclass(frozen=True)
class Further:
    """What else a leaderboard's folder holds beside its boards: a table, and a figure of it where there is one."""

    table: Table
    draw: "Callable[[], Figure] | None" = None
    explained: str = ""
    """What is to be seen on the figure."""
    levels: int = 0
    """How many of the first columns hold levels of factors: those that are not the first line's stand out."""


def joined_csv(tables: Sequence[Table]) -> str:
    """One CSV of tables whose records have the same columns: the first brings the line that names them."""
    first, *others = [table.to_csv() for table in tables if table.records] or [""]
    return first + "".join(text.split("\n", 1)[1] for text in others)


MARKUP = re.compile(r"[\\`*<|~]|(?<!\w)_|_(?!\w)|(?<=\])[(\[:]|&(?=#?\w+;)|^[#>=+-]+(?=\s|$)|(?<=^\d)[.)](?=\s|$)")
"""Letters that would begin emphasis, code, a link, an entity, HTML, a heading or a list in Markdown."""


def markdown(text: str) -> str:
    """A text in one line that Markdown shows as it is: names of classes, say, and what users write of a suite."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def unmarked(text: str) -> str:
    """What `markdown` or `code` was given: without the backslashes, or without the backticks around it."""
    if fenced := re.fullmatch(r"(`+) ?(.*?) ?\1", text):
        return fenced[2]
    return re.sub(r"\\(.)", r"\1", text)


def code(text: str) -> str:
    """A text in one line as code: between more backticks than it has in a row."""
    words = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", words)), default=0) + 1)
    # Blanks where it would begin or end with one; Markdown takes them away.
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def _latex_head(title: str, kind: str) -> str:
    """A column's head, on several lines where it has many words."""
    lines = wrap(title, HEAD_LETTERS, break_long_words=False)
    if len(lines) < 2:
        return _latex(title)
    return rf"\shortstack[{kind}]{{" + r" \\ ".join(map(_latex, lines)) + "}"


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "✓": r"$\checkmark$", "→": r"$\to$", "×": r"$\times$", "²": r"$^2$", "‡": r"$\ddagger$", "§": r"\S{}",
    "±": r"$\pm$", "–": "--", "†": r"$\dagger$", "✗": r"$\times$", "−": "$-$",
    "°": r"$^\circ$", "Δ": r"$\Delta$", "·": r"$\cdot$",
}  # fmt: skip
"""What stands in LaTeX for a letter that means something else there, or that its fonts do not have."""


def _latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
