"""Three plain SVG charts that a browser and a PDF renderer draw alike: stacked bars, lines, and one bar per label."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 200, 52, 22, 10
ROW, NAME_WIDTH, VALUE_WIDTH = 22, 190, 90
COLOURS = ("#2f7d4f", "#d1495b", "#b8c4bb", "#3d6fb6", "#e09f3e", "#7b6ca8")

Series = Mapping[str, Sequence[float | None]]
"""Name → one value per column; None where there is none."""


def number(value: float) -> str:
    """As short as it can be read: 1,234 · 0.052 · 3.4"""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def nice_top(highest: float) -> float:
    """The end of an axis: 1, 2 or 5 times a power of ten."""
    step = 1.0
    while step < highest:
        step *= 10
    while step / 10 >= highest > 0:
        step /= 10
    return next(top for top in (step / 5, step / 2, step) if top >= highest)


def _frame(columns: Sequence[str], top: float, drawn: str, names: Sequence[str]) -> Markup:
    width = (WIDTH - LEFT) / max(1, len(columns))
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share * top, top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e8e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{number(share * top)}</text>')
    for place, column in enumerate(columns):
        x = LEFT + (place + 0.5) * width
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(column)}</text>')
    return _svg(HEIGHT, "".join(parts) + drawn) + _legend(names)


def _svg(height: int, body: str) -> Markup:
    """`body` has numbers and escaped names only."""
    font = 'font-size="9" font-family="NanumGothic, sans-serif" fill="#44524a"'
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height}" {font} role="img">{body}</svg>')  # noqa: S704  # nosec B704


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup()
    keys = [
        Markup('<span><i style="background:{}"></i>{}</span>').format(COLOURS[place % len(COLOURS)], name)
        for place, name in enumerate(names)
    ]
    return Markup('<p class="legend">{}</p>').format(Markup().join(keys))


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / top)


def stacked(columns: Sequence[str], series: Series) -> Markup:
    sums = [sum(row[place] or 0 for row in series.values()) for place in range(len(columns))]
    top = nice_top(max([*sums, 0]) or 1)
    width = (WIDTH - LEFT) / max(1, len(columns))
    drawn = []
    for place in range(len(columns)):
        base = 0.0
        for colour, row in zip(COLOURS, series.values(), strict=False):
            value = row[place] or 0
            if value:
                y, height = _y(base + value, top), _y(base, top) - _y(base + value, top)
                x = LEFT + (place + 0.18) * width
                box = f'x="{x:.1f}" y="{y:.1f}" width="{0.64 * width:.1f}" height="{height:.1f}"'
                drawn.append(f'<rect {box} fill="{colour}"/>')
            base += value
    return _frame(columns, top, "".join(drawn), list(series))


def lines(columns: Sequence[str], series: Series) -> Markup:
    """Points that follow each other are joined; a column without a value leaves a gap."""
    top = nice_top(max([value for row in series.values() for value in row if value is not None], default=0) or 1)
    width = (WIDTH - LEFT) / max(1, len(columns))
    drawn = []
    for colour, row in zip(COLOURS, series.values(), strict=False):
        points = [(LEFT + (n + 0.5) * width, _y(v, top)) if v is not None else None for n, v in enumerate(row)]
        for one, other in pairwise(points):
            if one and other:
                ends = f'x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}"'
                drawn.append(f'<line {ends} stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="3" fill="{colour}"/>' for p in points if p]
    return _frame(columns, top, "".join(drawn), list(series))


def ranked(values: Mapping[str, float]) -> Markup:
    """One horizontal bar per label, the longest first."""
    rows = sorted(values.items(), key=lambda row: (-row[1], row[0]))
    highest = max([value for _, value in rows], default=0) or 1
    total = sum(values.values()) or 1
    parts = []
    for place, (name, value) in enumerate(rows):
        y = place * ROW
        long = (WIDTH - NAME_WIDTH - VALUE_WIDTH) * value / highest
        parts.append(f'<text x="{NAME_WIDTH - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{NAME_WIDTH}" y="{y + 3}" width="{long:.1f}" height="{ROW - 7}" fill="{COLOURS[0]}"/>')
        text = f"{number(value)} ({value / total:.0%})"
        parts.append(f'<text x="{NAME_WIDTH + long + 6:.1f}" y="{y + 15}">{text}</text>')
    return _svg(max(1, len(rows)) * ROW, "".join(parts))
