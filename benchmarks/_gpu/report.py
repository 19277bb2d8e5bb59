"""What a GPU check found, as JSON and as one page without anything beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

FORMAT = "seedbed-gpu-check/1"
Status = Literal["passed", "failed", "timed out"]
STYLE = """
:root { color-scheme: light dark; --line: #8885; --good: #1a7f37; --bad: #c93c37; --doubt: #9a6700 }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .6rem .2rem 0;
border-bottom: 1px solid var(--line); vertical-align: top } td.number { text-align: right; white-space: nowrap;
font-variant-numeric: tabular-nums } .passed, .good { color: var(--good) } .failed, .bad { color: var(--bad) }
.timed { color: var(--doubt) } .rehearsal { border: 2px solid var(--doubt); padding: .6rem 1rem; font-weight: 600 }
pre { white-space: pre-wrap; border-left: 3px solid var(--bad); padding-left: .8rem } small { opacity: .75 }
"""


@dataclass(frozen=True)
class Measure:
    """One number; `ok` None where nothing says what it should be. `expected` says it in words."""

    name: str
    value: float | int | str
    unit: str = ""
    ok: bool | None = None
    expected: str = ""


def at_most(name: str, value: float, limit: float, unit: str = "") -> Measure:
    """A measure that is to be no larger than the limit, and finite."""
    # Written so that it fails for nan.
    return Measure(name, float(f"{value:.3g}"), unit, bool(value <= limit), f"≤ {limit:g}")


def is_true(name: str, value: bool, expected: str) -> Measure:
    """A measure that is a yes or a no, and is to be a yes."""
    return Measure(name, "yes" if value else "no", "", value, expected)


@dataclass(frozen=True)
class Part:
    """How one part ended; what it measured until then is kept."""

    name: str
    title: str
    status: Status
    seconds: float
    limit_s: float
    reason: str = ""
    measures: Sequence[Measure] = ()


@dataclass(frozen=True)
class Report:
    """All parts, and where they ran. A rehearsal ran on a CPU at tiny sizes, and claims nothing."""

    machine: Mapping[str, str]
    rehearsal: bool
    parts: Sequence[Part]
    format: str = field(default=FORMAT)

    @property
    def failed(self) -> Sequence[str]:
        """The names of the parts that did not pass."""
        return [part.name for part in self.parts if part.status != "passed"]

    def summary(self) -> str:
        """One line."""
        passed = len(self.parts) - len(self.failed)
        told = f"{passed} of {len(self.parts)} parts passed"
        if self.failed:
            told += f"; not: {', '.join(self.failed)}"
        if self.rehearsal:
            told += "; a rehearsal on a CPU at tiny sizes, which claims nothing"
        return told

    def to_json(self) -> dict[str, Any]:
        """As it is written to a file."""
        return asdict(self)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.json` and `<name>.html` into the folder; returns both."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / f"{name}.json", folder / f"{name}.html"
        paths[0].write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")
        paths[1].write_text(page(self), encoding="utf-8")
        return paths


def read(path: Path) -> Report:
    """The report in a JSON file; raises ValueError for another format."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise ValueError(f"{path}: format {content.get('format')!r}, expected {FORMAT}")
    parts = []
    for part in content["parts"]:
        measures = tuple(Measure(**measure) for measure in part.pop("measures"))
        parts.append(Part(**part, measures=measures))
    return Report(content["machine"], content["rehearsal"], tuple(parts))


def page(report: Report) -> str:
    """The report as HTML."""
    title = "Seedbed on a GPU"
    if report.rehearsal:
        title = "Rehearsal of Seedbed's GPU check"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    whole = f"<head>{head}<style>{STYLE}</style></head><body>{_body(title, report)}</body>"
    return f'<!doctype html><html lang="en">{whole}</html>'


def _body(title: str, report: Report) -> str:
    lines = [f"<h1>{title}</h1><p>{escape(report.summary())}.</p>"]
    if report.rehearsal:
        lines.append(
            '<p class="rehearsal">This ran on a CPU at tiny sizes, to see that every part runs to its end. No number '
            "here says anything about a GPU.</p>"
        )
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in report.machine.items()
    )
    lines.append(f"<table>{rows}</table>")
    for part in report.parts:
        lines += _part(part)
    return "\n".join(lines)


def _part(part: Part) -> Iterator[str]:
    took = f"{part.seconds:.1f} s of at most {part.limit_s:g} s"
    shown = f'<span class="{part.status.split()[0]}">{part.status}</span>'
    yield f"<h2>{escape(part.title)}: {shown} <small>{took}</small></h2>"
    if part.reason:
        yield f"<pre>{escape(part.reason)}</pre>"
    if part.measures:
        yield f"<table><tr><th>measured<th><th>expected</tr>{''.join(map(_row, part.measures))}</table>"


def _row(measure: Measure) -> str:
    kind = {None: "", True: " good", False: " bad"}[measure.ok]
    value = measure.value
    if isinstance(value, int | float):
        value = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    cells = f'<td class="number{kind}">{escape(value)} {escape(measure.unit)}</td><td>{escape(measure.expected)}</td>'
    return f"<tr><td>{escape(measure.name)}</td>{cells}</tr>"
