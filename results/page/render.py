"""From what is shown of leaderboards to the text of the page."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from results.page.content import Shown, board_of, provenance_of
from results.page.figures import Figure, figures_of
from results.page.heat_maps import STEPS
from results.shown import TEXTS, Table

__all__ = ["render"]

HERE = Path(__file__).parent
NUMBER = re.compile(r"[-+[< ]*\d")


def render(leaderboards: Sequence[Shown], take: Callable[[Shown, Figure], None] | None = None) -> str:
    """The whole page; whatever users named or wrote is shown as text.

    `take` is given every figure, to keep it elsewhere.
    """
    # Every value is escaped, but the two files beside this one and the figures, which are drawn here.
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["csv_link"] = _csv_link
    environment.filters["latex_link"] = _latex_link
    environment.filters["coded"] = _coded
    environment.filters["quoted"] = shlex.quote
    environment.filters["broken"] = _broken
    environment.globals["words_in"] = _words_in
    environment.globals["colour_steps"] = STEPS
    parts = [
        {
            "shown": shown,
            "boards": [board_of(table, shown) for table in shown.tables],
            "figures": [_as_markup(figure, f"s{part}-f{n}") for n, figure in enumerate(_figures(shown, take), start=1)],
            "provenance": provenance_of(shown.rows),
            "holes": [row for row in shown.rows if row.status == "failed"],
        }
        for part, shown in enumerate(leaderboards, start=1)
    ]
    return environment.get_template("page.html").render(
        parts=parts,
        title=" · ".join(shown.name for shown in leaderboards),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def _figures(shown: Shown, take: Callable[[Shown, Figure], None] | None) -> Iterator[Figure]:
    for figure in figures_of(shown):
        if take is not None:
            take(shown, figure)
        yield figure


def _as_markup(figure: Figure, anchor: str) -> dict[str, object]:
    width, height = (round(72 * inches) for inches in figure.drawing.get_size_inches())
    return {
        "id": anchor,
        "title": figure.title,
        "short": figure.title.removesuffix(figure.board).rstrip(" ·"),
        "board": figure.board,
        "explained": figure.explained,
        "svg": Markup(figure.svg),
        "width": width,
        "height": height,
    }


def _coded(text: str) -> Markup:
    """A text with what stands between backticks as code."""
    plain, *others = text.split("`")
    if len(others) % 2:
        return escape(text)
    parts = [escape(plain)]
    for coded, following in zip(others[::2], others[1::2], strict=True):
        parts.append(Markup("<code>{}</code>{}").format(coded, following))
    return Markup("").join(parts)


def _broken(title: str) -> Markup:
    """The title of a column, which may be broken behind each plus sign, so that no column is wider than its numbers."""
    return Markup("+<wbr>").join(map(escape, title.split("+")))


def _words_in(table: Table) -> list[bool]:
    """For each column whether it holds words: they stand at the left, numbers at the right."""
    columns = zip(*table.lines, strict=True) if table.lines else [()] * len(table.columns)
    return [
        title in ("recipe", *TEXTS) or not any(NUMBER.match(text) for text in cells)
        for title, cells in zip(table.columns, columns, strict=True)
    ]


def _csv_link(table: Table) -> str:
    return _link("text/csv", table.to_csv())


def _latex_link(table: Table) -> str:
    return _link("application/x-tex", table.to_latex() + "\n")


def _link(kind: str, text: str) -> str:
    """The text as a `data:` URI, which can be saved without a script and from a page that is a file."""
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"
