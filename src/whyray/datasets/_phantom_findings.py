"""Planted findings of the phantom: what each one changes of the soft tissue, and exactly where.

A finding changes tissue only inside its mask, and depends on nothing but the case number, the healthy chest and its own
severity: two findings never move each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ._phantom_anatomy import Chest, cavity, heart_map, lung_map
from ._phantom_factors import stream
from ._phantom_fields import AIR, Map, cloud, ellipsoid, lines, root, step

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Lesion:
    """One planted finding. ``change``: soft tissue in cm; ``mask`` bool; ``side`` "left", "right" or "both"."""

    finding: str
    severity: float
    change: Map
    mask: NDArray[np.bool_]
    side: str
    place: str
    kind: str = ""
    size_cm: float = 0.0


def make_lesion(n: int, finding: str, severity: float, chest: Chest, nth: int = 0) -> Lesion:
    """The ``nth`` lesion of case ``n``. ``severity`` 0 (barely visible) .. 1."""
    name = f"finding {finding}" if nth == 0 else f"finding {finding} {nth}"
    lesion = _MAKERS[finding](stream(n, name), severity, chest, finding)
    return replace(lesion, change=np.asarray(lesion.change * lesion.mask, np.float32))


def _nodule(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    x0, y0, side, zone = _spot(rng, chest, 4.0)
    radius = float(rng.uniform(0.4, 1.4))
    stretch = float(rng.uniform(0.85, 1.15))
    grid = chest.grid
    wobble = np.float32(0.12 * radius) * cloud(grid, rng, 24)
    axes = (radius * stretch, radius / stretch, radius)
    ball = ellipsoid(grid.x + wobble, grid.y - wobble, (x0, y0), axes, rng.uniform(0, 3))
    change = ball * np.float32(0.22 + 0.75 * u + (0.6 if rng.random() < 0.15 else 0.0))
    return Lesion(finding, u, change, ball > 0, side, zone, "", 2 * radius)


def _mass(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    x0, y0, side, zone = _spot(rng, chest, 6.0)
    radius = float(rng.uniform(1.55, 3.2))
    grid = chest.grid
    wobble = np.float32(0.17 * radius) * cloud(grid, rng, 10)
    angle = np.arctan2(grid.y - np.float32(y0), grid.x - np.float32(x0))
    long = np.float32(0.05 * radius * rng.uniform(0, 2))
    spikes = long * np.sin(angle * np.float32(rng.integers(9, 17)) + wobble * 3)
    dx, dy = grid.x - np.float32(x0) + wobble, grid.y - np.float32(y0) - wobble
    r = np.sqrt(dx * dx + dy * dy) + spikes
    ball = 2 * root(np.float32(radius * radius) - r * r) * step(chest.lung - np.float32(0.5), 1.0)
    return Lesion(finding, u, ball * np.float32(0.16 + 0.5 * u), ball > 0, side, zone, "", 2 * radius)


def _effusion(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    side = _side(rng)
    sign = -1 if side == "right" else 1
    grid, body = chest.grid, chest.body
    x, y = grid.x, grid.y
    dome = body.right_dome if sign < 0 else body.left_dome
    here = step(x * np.float32(sign) - np.float32(1.0), 1.0)
    if chest.pose.supine:
        veil = step(y - np.float32(dome - 12 - 6 * u), 16.0) * np.float32(0.05 + 0.4 * u)
        change = _over(AIR * chest.lung * veil * here, 0.12)
        return Lesion(finding, u, change, change > 0, side, "layering", "supine", 0.0)
    height = 0.3 + 10.0 * u**1.4
    lateral = np.clip((x * np.float32(sign) - 4) / np.float32(body.half_width - 4), 0, 1.1)
    climb = np.float32(2.6 + 1.6 * u) * lateral * lateral * lateral
    level = np.float32(dome + 3.6 - height) - climb + np.float32(0.25) * cloud(grid, rng, 8)
    fluid = AIR * chest.lung * step(y - level, 2.6) * here
    change = _over(fluid, 0.25)
    return Lesion(finding, u, change, change > 0, side, "base", "upright", height)


def _cardiomegaly(_: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    ctr = 0.505 + 0.165 * u
    grid = chest.grid
    big = heart_map(grid.x, grid.y, chest.body, chest.pose, ctr)
    change = AIR * np.clip(big - chest.heart, 0, chest.lung)
    return Lesion(finding, u, change, (big > 0.3) | (change > 0), "both", "heart", "", ctr)


def _pneumothorax(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    side = _side(rng)
    sign = -1 if side == "right" else 1
    grid, body = chest.grid, chest.body
    shrink = 0.025 + 0.42 * u**1.3
    apical = not chest.pose.supine
    dx, dy = grid.x - np.float32(sign * 3.0), grid.y + np.float32(1.0)
    up, down = (1 + 1.5 * shrink, 1 + 0.35 * shrink) if apical else (1 + 0.5 * shrink, 1 + 1.2 * shrink)
    tilt = np.where(dy < 0, np.float32(up), np.float32(down))
    wave = 1 + np.float32(0.02) * cloud(grid, rng, 7)
    wide = 1 + np.float32(shrink) * step((-dy if apical else dy) + 8, 14.0)
    beside = np.maximum(np.abs(grid.x) - 5, -grid.y - 1)  # not the strip along the mediastinum
    inner = cavity(np.float32(sign * 3.0) + dx * wide * wave, dy * tilt * wave - 1, body)
    here = step(grid.x * np.float32(sign) - np.float32(1.5), 0.5) * step(chest.lung - np.float32(0.6), 1.0)
    here = here * step(beside, 1.0)
    gone = here * (1 - step(inner - np.float32(1.0), 1.4))
    pleura = np.exp(-(((inner - np.float32(1.9)) / np.float32(1.0)) ** 2))
    line = here * pleura * step(inner, 0.2) * np.float32(0.16 + 0.16 * u)
    missing = chest.markings + np.float32(0.05 + 0.1 * u) * chest.lung
    change = line * step(gone + line - np.float32(0.06), 0.1) - gone * missing
    mask = (gone > 0.05) | (line > 0.06)
    return Lesion(finding, u, change * mask, mask, side, "apex" if apical else "base", "", 12 * shrink)


def _consolidation(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    x0, y0, side, zone = _spot(rng, chest, 7.0)
    grid = chest.grid
    wide, high = rng.uniform(2.6, 5.2), rng.uniform(2.2, 4.4)
    dx, dy = grid.x - np.float32(x0), grid.y - np.float32(y0)
    r = np.sqrt((dx / np.float32(wide)) ** 2 + (dy / np.float32(high)) ** 2)
    r = r + np.float32(0.17) * cloud(grid, rng, 11)
    filled = step(1 - r, 0.9)
    fissure = float(rng.uniform(0.35, 0.8) * high * rng.choice([-1, 1]))  # a lobe's edge: sharp
    beyond = (dy + np.float32(rng.normal(0, 0.12)) * dx - np.float32(fissure)) * np.float32(np.sign(fissure))
    bowed = beyond + np.float32(rng.normal(0, 0.05)) * dx * dx + np.float32(0.2) * cloud(grid, rng, 9)
    filled = filled * step(-bowed, rng.uniform(0.3, 1.6))
    even = 1 + np.float32(0.14) * cloud(grid, rng, 22) + np.float32(0.1) * cloud(grid, rng, 50)
    change = filled * (AIR * chest.lung * np.float32(0.13 + 0.55 * u) * even - np.float32(1.4 * u) * chest.vessels)
    keep = filled > 0.12
    return Lesion(finding, u, change, keep & (chest.lung > 0.5), side, zone, "", 2 * max(wide, high))


def _pneumonia(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    grid = chest.grid
    x0, y0, side, zone = _spot(rng, chest, 6.0, low=0.4)
    centres = [(x0, y0)]
    centres += [(x0 + rng.normal(0, 2.6), y0 + rng.normal(0, 2.6)) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.3:
        x1, y1, other, _ = _spot(rng, chest, 6.0)
        centres.append((x1, y1))
        side = side if other == side else "both"
    field = grid.zeros()
    for cx, cy in centres:
        radius = np.float32(rng.uniform(1.5, 3.6))
        dx, dy = (grid.x - np.float32(cx)) / radius, (grid.y - np.float32(cy)) / radius
        field = np.maximum(field, 1 - np.float32(0.5) * (dx * dx + dy * dy))
    patches = field + np.float32(0.24) * cloud(grid, rng, 15) + np.float32(0.16) * cloud(grid, rng, 34)
    filled = step(patches - np.float32(0.62), 0.95)
    filled = np.maximum(filled * step(field - np.float32(0.05), 0.5) - np.float32(0.06), 0) / np.float32(0.94)
    change = filled * (AIR * chest.lung * np.float32(0.10 + 0.5 * u) - np.float32(0.8 * u) * chest.vessels)
    return Lesion(finding, u, change, (filled > 0) & (chest.lung > 0.3), side, zone, "", 0.0)


def _opacity(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    grid = chest.grid
    x0, y0, side, zone = _spot(rng, chest, 6.0)
    wide, high = rng.uniform(2.2, 5.0), rng.uniform(2.2, 5.5)
    dx, dy = (grid.x - np.float32(x0)) / np.float32(wide), (grid.y - np.float32(y0)) / np.float32(high)
    haze = np.exp(-(dx * dx + dy * dy)) * (1 + np.float32(0.2) * cloud(grid, rng, 16))
    haze = np.maximum(haze - np.float32(0.15), 0)
    change = AIR * chest.lung * haze * np.float32(0.09 + 0.3 * u)
    return Lesion(finding, u, change, (haze > 0) & (chest.lung > 0.3), side, zone, "", 2 * max(wide, high))


def _edema(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    grid = chest.grid
    side = np.abs(grid.x)
    reach = 3.6 + 3.4 * u
    down = (grid.y - np.float32(0.5)) / np.float32(reach + 2.2)
    wings = np.exp(-(((side - 5.0) / np.float32(reach)) ** 2) - down**2)
    wings = wings * (1 + np.float32(0.22) * cloud(grid, rng, 14) + np.float32(0.14) * cloud(grid, rng, 40))
    haze = AIR * chest.lung * np.maximum(wings, 0) * np.float32(0.05 + 0.27 * u)
    swollen = chest.vessels * np.float32(0.25 + 0.9 * u)
    septa = _septal_lines(rng, u, chest)
    change = _over(haze + swollen + septa, 0.10)
    return Lesion(finding, u, change, change > 0, "both", "perihilar", "", 0.0)


def _septal_lines(rng: Rng, u: float, chest: Chest) -> Map:
    """Short horizontal lines at the lateral bases (Kerley B)."""
    count = 18
    sign = rng.choice([-1.0, 1.0], count)
    edge = chest.body.half_width - rng.uniform(0.3, 1.2, count)
    height, long = rng.uniform(2.5, 10, count), rng.uniform(0.8, 1.9, count)
    t = np.linspace(0, 1, 24)[None, :]
    x = sign[:, None] * (edge[:, None] - long[:, None] * t)
    y = height[:, None] + 0.15 * t
    amounts = np.full(x.shape, 0.022 * u) * long[:, None] / 24
    return lines(chest.grid, x.ravel(), y.ravel(), amounts.ravel(), 0.07) * step(chest.lung - np.float32(0.5), 1.0)


def _atelectasis(rng: Rng, u: float, chest: Chest, finding: str) -> Lesion:
    grid = chest.grid
    side = _side(rng)
    sign = -1 if side == "right" else 1
    dome = chest.body.right_dome if sign < 0 else chest.body.left_dome
    if rng.random() < 0.6:
        band = grid.zeros()
        for _ in range(rng.integers(1, 4)):
            centre = (sign * rng.uniform(4.5, 9.5), dome - rng.uniform(0.3, 5.5))
            axes = (rng.uniform(1.6, 3.8), rng.uniform(0.16, 0.38), rng.uniform(1.0, 2.6))
            wave = np.float32(0.12) * cloud(grid, rng, 12)
            band = np.maximum(band, ellipsoid(grid.x, grid.y + wave, centre, axes, sign * rng.normal(-0.15, 0.25)))
        change = band * np.float32(0.14 + 0.6 * u) * step(chest.lung - np.float32(1.0), 2.0)
        return Lesion(finding, u, change, change > 0, side, "lower", "linear", 0.0)
    top = dome - rng.uniform(5, 8)
    down = (grid.y - np.float32(top)) / np.float32(dome + 2 - top)
    edge = np.float32(1.0) + np.float32(rng.uniform(4.0, 6.5)) * np.clip(down, 0, 1.5)  # a wedge behind the heart
    inner = np.float32(sign) * grid.x - edge + np.float32(0.25) * cloud(grid, rng, 10)
    wedge = step(-inner, 0.8) * step(np.float32(sign) * grid.x - np.float32(0.8), 0.6) * step(down, 0.5)
    wedge = np.maximum(wedge - np.float32(0.06), 0)
    change = AIR * chest.lung * wedge * np.float32(0.10 + 0.45 * u)
    return Lesion(finding, u, change, (wedge > 0) & (chest.lung > 0.3), side, "lower", "lobar", 0.0)


def _spot(rng: Rng, chest: Chest, deep: float, low: float = 0.0) -> tuple[float, float, str, str]:
    """A place with at least ``deep`` cm of lung, inside the picture; ``low`` = chance to insist on the lower half."""
    x, y = rng.uniform(2.5, 12.5, 400) * rng.choice([-1.0, 1.0], 400), rng.uniform(-12, 12, 400)
    down = rng.random() < low
    column, row = chest.grid.pixels(x, y)
    size = chest.grid.size
    lung = lung_map(x.astype(np.float32), y.astype(np.float32), chest.body, chest.pose)
    good = (lung > deep) & (np.minimum(column, row) > 0.08 * size) & (np.maximum(column, row) < 0.92 * size)
    best = np.flatnonzero(good & (y > 0)) if down else np.flatnonzero(good)
    i = int((best if len(best) else np.flatnonzero(good))[0]) if good.any() else int(lung.argmax())
    span = (chest.body.right_dome - chest.body.apex) / 3
    zone = ("upper", "mid", "lower")[int(np.clip((y[i] - chest.body.apex) // span, 0, 2))]
    return float(x[i]), float(y[i]), "right" if x[i] < 0 else "left", zone


def _side(rng: Rng) -> str:
    return "right" if rng.random() < 0.5 else "left"


def _over(values: Map, floor: float) -> Map:
    """What exceeds ``floor``: soft edges end exactly at zero."""
    return np.asarray(np.maximum(values - np.float32(floor), 0), np.float32)


_MAKERS: dict[str, Callable[[Rng, float, Chest, str], Lesion]] = {
    "atelectasis": _atelectasis,
    "cardiomegaly": _cardiomegaly,
    "consolidation": _consolidation,
    "edema": _edema,
    "lung_opacity": _opacity,
    "mass": _mass,
    "nodule": _nodule,
    "pleural_effusion": _effusion,
    "pneumonia": _pneumonia,
    "pneumothorax": _pneumothorax,
}
