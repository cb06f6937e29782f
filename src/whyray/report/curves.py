"""Curves as inline SVG: a mean and its interval for each method, named beside it. No script, no style attribute.

Text follows the colour of the page; methods get hues of equal lightness, controls are grey and dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .colours import oklab_to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

WIDTH, HEIGHT = 600, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 168, 14, 44
LINE_HEIGHT = 17.0
HUES = (250, 40, 150, 320, 95, 200, 355, 280)  # neighbours in the list are far apart on the circle
DASHES = ("6 4", "2 3", "9 3 2 3")


@dataclass(frozen=True, eq=False)
class Curve:
    """One line: ``x [k]``, ``y [k]`` and its interval ``low``, ``high`` ``[k]`` (None = none). NaN breaks the line."""

    label: str
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    control: bool = False


def curves_svg(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    description: str = "",
) -> str:
    """An ``<svg>`` element of 600 x 300 units that scales with its container; every text is escaped.

    ``description`` is read to those who cannot see it. Curves without a finite value are left out.
    """
    shown = [c for c in curves if np.isfinite(c.y).any()]
    frame = _Frame.around(shown, y_range)
    parts = [_grid(frame, x_label, y_label)]
    colours = _colours(shown)
    parts += [_band(c, frame, colour) for c, (colour, _) in zip(shown, colours, strict=True)]
    parts += [_line(c, frame, colour, dash) for c, (colour, dash) in zip(shown, colours, strict=True)]
    parts += _names(shown, colours)
    about = f"<title>{escape(title)}</title><desc>{escape(description or _read_aloud(shown))}</desc>"
    return (
        f'<svg class="curves" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">{about}{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Frame:
    """Data ranges, and where they lie on the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, curves: Sequence[Curve], y_range: tuple[float, float] | None) -> _Frame:
        xs = [c.x for c in curves] or [np.array([0.0, 1.0])]
        ys = [a[np.isfinite(a)] for c in curves for a in (c.y, c.low, c.high) if a is not None] or [np.zeros(1)]
        found = y_range or (float(min(a.min() for a in ys if a.size)), float(max(a.max() for a in ys if a.size)))
        ticks = ticks_of(*found)
        return cls((float(min(a.min() for a in xs)), float(max(a.max() for a in xs))), (ticks[0], ticks[-1]))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Position on the picture."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0] or 1.0)
        up = (y - self.y[0]) / (self.y[1] - self.y[0] or 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _grid(frame: _Frame, x_label: str, y_label: str) -> str:
    left, bottom = frame.at(frame.x[0], frame.y[0])
    right, top = frame.at(frame.x[1], frame.y[1])
    rules, words = [], []
    for value in ticks_of(*frame.y):
        y = frame.at(frame.x[0], value)[1]
        rules.append(f'<path d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        words.append(f'<text x="{left - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    inside = [v for v in ticks_of(*frame.x) if frame.x[0] <= v <= frame.x[1]]
    for value in inside:
        x = frame.at(value, frame.y[0])[0]
        words.append(f'<text x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{_number(value)}</text>')
    middle = (top + bottom) / 2
    words.append(f'<text x="{(left + right) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f'transform="rotate(-90 13 {middle:.1f})" x="13" y="{middle:.1f}" text-anchor="middle"'
    words.append(f"<text {turned}>{escape(y_label)}</text>")
    return (
        f'<g stroke="currentColor" stroke-opacity=".18" fill="none">{"".join(rules)}</g>'
        f'<g fill="currentColor" fill-opacity=".75">{"".join(words)}</g>'
    )


def _band(curve: Curve, frame: _Frame, colour: str) -> str:
    """The interval, where there is one."""
    if curve.low is None or curve.high is None:
        return ""
    low, high = np.asarray(curve.low, np.float64), np.asarray(curve.high, np.float64)
    kept = np.isfinite(low) & np.isfinite(high)
    if kept.sum() < 2:
        return ""
    over = [frame.at(x, y) for x, y in zip(curve.x[kept], high[kept], strict=True)]
    under = [frame.at(x, y) for x, y in zip(curve.x[kept], low[kept], strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*over, *under[::-1]))
    return f'<polygon points="{points}" fill="{colour}" fill-opacity=".13"/>'


def _line(curve: Curve, frame: _Frame, colour: str, dash: str) -> str:
    steps, pen = [], "M"
    for x, y in zip(curve.x, curve.y, strict=True):
        if not np.isfinite(y):
            pen = "M"
            continue
        steps.append(f"{pen}{frame.at(x, y)[0]:.1f} {frame.at(x, y)[1]:.1f}")
        pen = "L"
    return f'<path d="{"".join(steps)}" {_stroke(curve, colour, dash)} stroke-linejoin="round"/>'


def _stroke(curve: Curve, colour: str, dash: str) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{colour}" stroke-width="{1.5 if curve.control else 2.2}" fill="none"{dashed}'


def _names(curves: Sequence[Curve], looks: Sequence[tuple[str, str]]) -> list[str]:
    """A sample of each line with its label, ordered as the lines lie: by their mean height (their ends often meet)."""
    out = []
    order = np.argsort([-float(np.nanmean(c.y)) for c in curves], kind="stable")
    for row, i in enumerate(order):
        curve, (colour, dash) = curves[i], looks[i]
        x, y = WIDTH - RIGHT + 14, TOP + 6 + row * LINE_HEIGHT
        label = curve.label if len(curve.label) <= 17 else curve.label[:16] + "…"
        out.append(f'<path d="M{x} {y:.1f}H{x + 20}" {_stroke(curve, colour, dash)}/>')
        out.append(f'<text x="{x + 25}" y="{y + 4:.1f}" fill="currentColor">{escape(label)}</text>')
    return out


def _colours(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """(colour, dashes) of each curve: methods by hue, controls grey and dashed."""
    out, methods, controls = [], 0, 0
    for curve in curves:
        if curve.control:
            out.append((_hex(0.5 + 0.12 * (controls % len(DASHES)), 0, 0.0), DASHES[controls % len(DASHES)]))
            controls += 1
        else:
            out.append((_hex(0.62, HUES[methods % len(HUES)], 0.13), "" if methods < len(HUES) else "4 2"))
            methods += 1
    return out


def _hex(lightness: float, hue: float, chroma: float) -> str:
    angle = np.radians(hue)
    rgb = oklab_to_srgb(np.array([[lightness, chroma * np.cos(angle), chroma * np.sin(angle)]]))[0]
    return "#" + "".join(f"{int(v):02x}" for v in np.rint(np.clip(rgb, 0, 1) * 255))


def ticks_of(low: float, high: float) -> list[float]:
    """Round numbers that enclose the range, four to eight of them."""
    span = high - low if high > low else max(abs(high), 1.0)
    rough = span / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [float(np.round(i * step, 12)) for i in range(first, max(last, first + 1) + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _read_aloud(curves: Sequence[Curve]) -> str:
    """First and last value of each line."""
    ends = []
    for curve in curves:
        known = curve.y[np.isfinite(curve.y)]
        ends.append(f"{curve.label}: from {known[0]:.3g} to {known[-1]:.3g}")
    return "; ".join(ends)
