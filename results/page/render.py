"""From what is shown of leaderboards to the text of the page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from results.page.content import Shown, board_of, provenance_of
from results.page.figures import Figure, figures_of
from results.shown import Table

__all__ = ["render"]

HERE = Path(__file__).parent


def render(
    leaderboards: Sequence[Shown], outlines: bool = False, take: Callable[[Shown, Figure], None] | None = None
) -> str:
    """The whole page; whatever users named or wrote is shown as text.

    `outlines` says that no photo of others is among the pictures; `take` is given every figure, to keep it elsewhere.
    """
    # Every value is escaped, but the two files beside this one and the figures, which are drawn here.
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["csv_link"] = _csv_link
    environment.filters["latex_link"] = _latex_link
    parts = [
        {
            "shown": shown,
            "boards": [board_of(table, shown) for table in shown.tables],
            "figures": [_as_markup(figure) for figure in _figures(shown, take)],
            "provenance": provenance_of(shown.rows),
            "holes": [row for row in shown.rows if row.status == "failed"],
        }
        for shown in leaderboards
    ]
    return environment.get_template("page.html").render(
        parts=parts,
        title=" · ".join(shown.name for shown in leaderboards),
        outlines=outlines,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def _figures(shown: Shown, take: Callable[[Shown, Figure], None] | None) -> Iterator[Figure]:
    for figure in figures_of(shown):
        if take is not None:
            take(shown, figure)
        yield figure


def _as_markup(figure: Figure) -> dict[str, object]:
    return {"title": figure.title, "explained": figure.explained, "svg": Markup(figure.svg)}


def _csv_link(table: Table) -> str:
    return _link("text/csv", table.to_csv())


def _latex_link(table: Table) -> str:
    return _link("application/x-tex", table.to_latex() + "\n")


def _link(kind: str, text: str) -> str:
    """The text as a `data:` URI, which can be saved without a script and from a page that is a file."""
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"
