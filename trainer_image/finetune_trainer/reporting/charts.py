"""Charts as SVG for a page without scripts: lines, bars by share, and the gain of every query. Pure.

Colours come from the page's style sheet by class, so that the page's dark form has dark charts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 520, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 34
_TICKS = 5
_MOST_BARS = 240

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart. style: a class of the style sheet; ends: (low, high) of every point's interval."""

    label: str
    points: Sequence[Point]
    style: str
    dots: bool = False
    ends: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True)
class Share:
    """One part of a bar."""

    label: str
    amount: float
    style: str


def ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """About `count` round numbers that span from low to high."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(f for f in (1, 2, 2.5, 5, 10) if f * unit >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def line_chart(
    lines: Sequence[Line], *, x_label: str, y_label: str, names: Sequence[str] = (), mark: float | None = None
) -> Markup:
    """Lines over numbers, or over `names` (points then lie at 0, 1...). mark: x of a vertical line."""
    points = [p for line in lines for p in line.points]
    if not points:
        return Markup('<p class="none">nothing was recorded</p>')
    ends = [value for line in lines for pair in line.ends if pair for value in pair]
    x = _Axis.over([p[0] for p in points], _LEFT, WIDTH - _RIGHT, round_up=False, pad=0.5 if names else 0.0)
    y = _Axis.over([*(p[1] for p in points), *ends], HEIGHT - _BOTTOM, _TOP, round_up=True)
    parts = [_grid(y), *_x_ticks(x, names)]
    if mark is not None:
        at = x.place(mark)
        parts.append(Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
            at, _TOP, HEIGHT - _BOTTOM))  # fmt: skip
    parts += [_line(line, x, y) for line in lines]
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (WIDTH + _LEFT) / 2, HEIGHT - 4, x_label
        )
    )
    legend = Markup("").join(
        Markup('<span><i class="key {}"></i>{}</span>').format(line.style, line.label)
        for line in lines
        if len(lines) > 1
    )
    picture = _svg(parts, f"{y_label} by {x_label}")
    return Markup("<figure><figcaption>{} {}</figcaption>{}</figure>").format(y_label, legend, picture)


@dataclass(frozen=True)
class _Axis:
    """From values to places on the picture."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]

    @classmethod
    def over(
        cls, values: Sequence[float], start: float, end: float, *, round_up: bool, pad: float = 0.0
    ) -> "_Axis":
        low, high = min(values) - pad, max(values) + pad
        if high == low:
            low, high = low - abs(low) * 0.05 - 0.01, high + abs(high) * 0.05 + 0.01
        marks = ticks(low, high)
        if round_up:
            low, high = marks[0], marks[-1]
        return cls(low, high, start, end, [m for m in marks if low - 1e-12 <= m <= high + 1e-12])

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _grid(y: _Axis) -> Markup:
    return Markup("").join(
        Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
               '<text class="axis" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _LEFT, WIDTH - _RIGHT, y.place(t), y.place(t), _LEFT - 6, y.place(t) + 4, shown(t))
        for t in y.ticks
    )  # fmt: skip


def _x_ticks(x: _Axis, names: Sequence[str]) -> list[Markup]:
    places = list(enumerate(names)) if names else [(t, shown(t)) for t in x.ticks]
    return [
        Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            x.place(at), HEIGHT - _BOTTOM + 15, name
        )
        for at, name in places
    ]


def _line(line: Line, x: _Axis, y: _Axis) -> Markup:
    places = [(x.place(a), y.place(b)) for a, b in line.points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    parts = [Markup('<polyline class="line {}" points="{}"/>').format(line.style, path)]
    for (at, _), pair in zip(places, line.ends, strict=False):
        if pair is not None:
            low, high = y.place(pair[0]), y.place(pair[1])
            parts.append(
                Markup(
                    '<path class="ends {0}" d="M{1:.1f},{2:.1f}V{3:.1f}m-4,0h8M{4:.1f},{2:.1f}h8"/>'
                ).format(line.style, at, low, high, at - 4)
            )
    for (a, b), (_, value) in zip(places, line.points, strict=True):
        if line.dots:
            parts.append(
                Markup(
                    '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}: {}</title></circle>'
                ).format(line.style, a, b, line.label, shown(value, 4))
            )
    return Markup("").join(parts)


def share_bar(shares: Sequence[Share]) -> Markup:
    """One bar cut into parts, with a legend below."""
    whole = sum(s.amount for s in shares)
    if whole <= 0:
        return Markup("")
    parts = Markup("").join(
        Markup('<i class="{}" style="width:{:.3f}%" title="{}"></i>').format(
            s.style, 100 * s.amount / whole, s.label
        )
        for s in shares
        if s.amount > 0
    )
    legend = Markup("").join(
        Markup('<span><i class="key {}"></i>{}</span>').format(s.style, s.label) for s in shares
    )
    return Markup('<div class="bar">{}</div><p class="legend">{}</p>').format(parts, legend)


def gain_chart(gains: Sequence[float]) -> Markup:
    """The gain of every query, from largest loss to largest gain; of very many queries, every n-th."""
    if not gains:
        return Markup("")
    ordered = sorted(gains)
    if len(ordered) > _MOST_BARS:
        step = (len(ordered) - 1) / (_MOST_BARS - 1)
        ordered = [ordered[round(n * step)] for n in range(_MOST_BARS)]
    reach = max(abs(ordered[0]), abs(ordered[-1])) or 1.0
    y = _Axis(-reach, reach, HEIGHT - _BOTTOM, _TOP, (-reach, 0.0, reach))
    width = (WIDTH - _LEFT - _RIGHT) / len(ordered)
    zero = y.place(0)
    bars = [
        Markup('<rect class="{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"/>').format(
            "gain" if g > 0 else "loss", _LEFT + n * width, min(zero, y.place(g)), max(width - 0.4, 0.4),
            abs(y.place(g) - zero),
        )
        for n, g in enumerate(ordered)
        if g
    ]  # fmt: skip
    label = Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">queries, by gain</text>').format(
        (WIDTH + _LEFT) / 2, HEIGHT - 10
    )
    return _svg([_grid(y), *bars, label], "gain of every query")


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(parts)
    )


def shown(value: float, digits: int = 3) -> str:
    """A number for people: no needless zeros, thousands apart."""
    if value and abs(value) < 1e-3:
        return f"{value:.{digits - 1}g}"
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


__all__ = ["Line", "Share", "escape", "gain_chart", "line_chart", "share_bar", "shown", "ticks"]
