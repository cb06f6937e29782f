"""Bars with their intervals as inline SVG: one a method, the value and n written beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LINE, LEFT, RIGHT, TOP, BOTTOM = 560, 24, 150, 128, 6, 26


@dataclass(frozen=True)
class Bar:
    """A value with its 95 % interval (NaN = none) and n; controls are drawn in outline."""

    label: str
    value: float
    low: float
    high: float
    n: int
    control: bool = False


def bars_svg(bars: Sequence[Bar], *, title: str, unit: str = "") -> str:
    """An ``<svg>`` element, 560 units wide, from 0 to a round number that holds every interval; all text is escaped."""
    ends = [v for b in bars for v in (b.value, b.high) if math.isfinite(v)]
    end = _round_up(max(ends, default=1.0))
    height = TOP + LINE * len(bars) + BOTTOM
    floor = TOP + LINE * len(bars)
    rules = [
        f'<path d="M{_at(v, end):.1f} {TOP}V{floor}"/>' for v in (end * i / 4 for i in range(5))
    ]  # fmt: skip
    words = [
        f'<text x="{_at(end * i / 4, end):.1f}" y="{floor + 17}" text-anchor="middle">{end * i / 4:.3g}</text>'
        for i in range(5)
    ]
    words.append(f'<text x="{WIDTH - 4}" y="{floor + 17}" text-anchor="end">{escape(unit)}</text>')
    drawn = "".join(_bar(bar, TOP + LINE * i, end) for i, bar in enumerate(bars))
    told = "; ".join(f"{b.label}: {_told(b)}" for b in bars)
    return (
        f'<svg class="bars" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<desc>{escape(told)}</desc><g stroke="currentColor" stroke-opacity=".18" fill="none">{"".join(rules)}</g>'
        f'<g fill="currentColor" fill-opacity=".75">{"".join(words)}</g>{drawn}</svg>'
    )


def _bar(bar: Bar, top: float, end: float) -> str:
    middle = top + LINE / 2
    label = bar.label if len(bar.label) <= 24 else bar.label[:23] + "…"
    out = [f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end" fill="currentColor">{escape(label)}</text>']
    if math.isfinite(bar.value):
        wide = max(0.0, _at(bar.value, end) - LEFT)
        look = (
            'fill="none" stroke="currentColor" stroke-opacity=".55" stroke-dasharray="3 2"'
            if bar.control
            else 'fill="currentColor" fill-opacity=".38"'
        )
        out.append(f'<rect x="{LEFT}" y="{top + 5}" width="{wide:.1f}" height="{LINE - 10}" {look}/>')
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        low, high = _at(bar.low, end), _at(bar.high, end)
        ends = "".join(f"M{x:.1f} {middle - 4}v8" for x in (low, high))
        out.append(f'<path d="M{low:.1f} {middle}H{high:.1f}{ends}" stroke="currentColor" stroke-width="1.5"/>')
    told = f'<text x="{WIDTH - RIGHT + 10}" y="{middle + 4}" fill="currentColor">{escape(_told(bar))}</text>'
    return "".join((*out, told))


def _told(bar: Bar) -> str:
    return f"{bar.value:.3f}, n = {bar.n}" if math.isfinite(bar.value) else f"none, n = {bar.n}"


def _at(value: float, end: float) -> float:
    return LEFT + min(max(value / end, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _round_up(value: float) -> float:
    """The least of 1, 2, 4, 5, 8, 10 times a power of ten that is not below the value."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 4, 5, 8, 10) if m * power >= value * 0.9999)
