"""Radio-opaque things of the phantom: tubes, lines, pacemakers, and the letters on the film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from ._phantom_anatomy import Chest
from ._phantom_factors import stream
from ._phantom_fields import Grid, Map, ellipsoid, lines, make_grid

Path = list[tuple[float, float]]
KINDS = ("endotracheal tube", "central venous catheter", "pacemaker", "chest tube", "enteric tube", "ECG leads")
# strokes of letters on a 4 x 6 grid, y down
STROKES: dict[str, tuple[Path, ...]] = {
    "L": ([(0, 0), (0, 6), (4, 6)],),
    "R": ([(0, 6), (0, 0), (3, 0), (4, 1), (4, 2.2), (3, 3), (0, 3)], [(2, 3), (4, 6)]),
    "A": ([(0, 6), (2, 0), (4, 6)], [(0.8, 4), (3.2, 4)]),
    "P": ([(0, 6), (0, 0), (3, 0), (4, 1), (4, 2.2), (3, 3), (0, 3)],),
    "O": ([(1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)],),
    "T": ([(0, 0), (4, 0)], [(2, 0), (2, 6)]),
    "S": ([(4, 0.5), (3, 0), (1, 0), (0, 1), (0, 2), (4, 4), (4, 5), (3, 6), (1, 6), (0, 5.5)],),
    "U": ([(0, 0), (0, 5), (1, 6), (3, 6), (4, 5), (4, 0)],),
}


@dataclass(frozen=True, eq=False)
class Devices:
    """Metal in cm, the mask of the support devices, and their names."""

    metal: Map
    mask: NDArray[np.bool_]
    kinds: tuple[str, ...]


def plant_devices(n: int, severity: float, chest: Chest, kind: str | None = None) -> Devices:
    """One to three support devices; ``severity`` is how opaque they are."""
    rng = stream(n, "finding support_devices")
    order = [KINDS[i] for i in rng.permutation(len(KINDS))[: int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))]]
    kinds = (kind,) if kind else tuple(order)
    metal = chest.grid.zeros()
    mask = np.zeros(metal.shape, bool)
    for each in kinds:
        one = _draw(each, stream(n, f"device {each}"), severity, chest)
        metal += one
        mask |= one > 0.12 * max(float(one.max()), 1e-6)
    return Devices(metal * mask, mask, kinds)


def letters(text: str, chest: Chest, corner: tuple[float, float], height: float) -> Map:
    """Lead letters on the detector: ``corner`` as a share of the picture (x, y), ``height`` in cm."""
    field = chest.pose.field
    plate = make_grid(chest.grid.size, field, 1.0, 0.0, (0.0, 0.0))
    unit = height / 6
    left, top = (corner[0] - 0.5) * field, (corner[1] - 0.5) * field
    out = plate.zeros()
    for i, letter in enumerate(text):
        for stroke in STROKES[letter]:
            path = [(left + (x + 5.5 * i) * unit, top + y * unit) for x, y in stroke]
            out += _wire(plate, path, 0.085 * height, 0.9)
    return np.asarray(np.minimum(out * np.float32(14), np.float32(1.3)), np.float32)


def marker(n: int, chest: Chest) -> tuple[Map, str]:
    """The side marker of case ``n`` (on the true side), and on some AP pictures the word AP."""
    rng = stream(n, "marker")
    out = chest.grid.zeros()
    if rng.random() < 0.1:
        return out, ""
    letter = "L" if rng.random() < 0.6 else "R"
    x = rng.uniform(0.86, 0.93) if letter == "L" else rng.uniform(0.04, 0.1)
    height = rng.uniform(1.0, 1.9)
    y = rng.uniform(0.03, 0.25)
    out += letters(letter, chest, (x, y), height) * np.float32(rng.uniform(0.5, 1.0))
    if chest.pose.view == "AP" and rng.random() < 0.35:
        out += letters("AP", chest, (min(x, 0.86), y + 0.07), 0.6 * height)
        return out, f"{letter} AP"
    return out, letter


def _draw(kind: str, rng: np.random.Generator, severity: float, chest: Chest) -> Map:
    """One device as metal thickness."""
    grid, body = chest.grid, chest.body
    dense = 0.25 + 0.55 * severity
    wobble = float(rng.normal(0, 0.25))
    if kind == "endotracheal tube":
        tip = -6.0 + rng.normal(0, 1.0)
        return _wire(grid, [(-0.2 + wobble, -24), (-0.4 + wobble, -14), (-0.2 + wobble, tip)], 0.16, 0.5 * dense)
    if kind == "enteric tube":
        below = [(3.6, body.left_dome + 2.5), (6.0, body.left_dome + 4.5)]
        path = [(0.3, -24), (0.2 + wobble, -8), (0.6, 4), (1.4, 9), *below]
        return _wire(grid, path, 0.11, 0.5 * dense)
    sign = float(rng.choice([-1, 1]))
    if kind == "central venous catheter":
        below = [(sign * 10.5, -11.5), (sign * 6.0, -11.2), (sign * 2.6, -9.8)]
        entry = below if rng.random() < 0.5 else [(sign * 3.4, -20), (sign * 2.7, -13)]
        return _wire(grid, [*entry, (-1.7, -6.5), (-2.2 + wobble, rng.uniform(-3, 1.5))], 0.09, 0.55 * dense)
    if kind == "chest tube":
        low = rng.uniform(0, 7)
        path = [(sign * 17, low + 4), (sign * 12.4, low), (sign * 10.2, -4), (sign * 6, rng.uniform(-10, -6))]
        return _wire(grid, path, 0.17, 0.5 * dense)
    if kind == "pacemaker":
        return _pacemaker(rng, sign, dense, chest)
    out = grid.zeros()
    for _ in range(3):
        x, y = rng.uniform(-11, 11), rng.uniform(-9, 9)
        lead = _wire(grid, [(x, y), (x + rng.normal(0, 4), y + 6), (x * 0.6, 24)], 0.05, 0.5 * dense)
        out += ellipsoid(grid.x, grid.y, (x, y), (0.55, 0.55, 0.14 * dense)) + lead
    return out


def _pacemaker(rng: np.random.Generator, sign: float, dense: float, chest: Chest) -> Map:
    """A can below the clavicle with one or two leads."""
    grid = chest.grid
    at = (sign * rng.uniform(8.2, 10.2), rng.uniform(-8.6, -6.6))
    u = np.abs((grid.x - np.float32(at[0])) / np.float32(2.1))
    v = np.abs((grid.y - np.float32(at[1])) / np.float32(1.8))
    can = np.clip((1 - u * u * u - v * v * v) * 6, 0, 1) * np.float32(0.35 + 0.4 * dense)
    lead = [at, (sign * 6.5, -10.0), (sign * 2.8, -9.8), (-1.8, -7.0), (-2.4, 1.0)]
    heart = chest.body.left_dome
    out = can + _wire(grid, [*lead, (0.5, heart - 1.6), (3.9, heart - 0.8)], 0.07, 0.7 * dense)
    if rng.random() < 0.6:
        out += _wire(grid, [*lead[:-1], (-3.1, 0.2), (-2.6, 2.6), (-1.6, 1.6)], 0.07, 0.7 * dense)
    return np.asarray(out, np.float32)


def _wire(grid: Grid, path: Path, radius: float, dense: float) -> Map:
    """A smooth curve through points, as a tube of the given radius (cm) and density."""
    points = np.array(path, float)
    steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    t = np.linspace(0, steps[-1], max(8, int(steps[-1] * 40)))
    if len(points) > 2 and radius < 0.3 and steps[-1] > 8:
        x, y = (PchipInterpolator(steps, points[:, i])(t) for i in (0, 1))
    else:
        x, y = (np.interp(t, steps, points[:, i]) for i in (0, 1))
    amounts = np.full(len(t), np.pi * radius * radius * dense * steps[-1] / len(t))
    return lines(grid, x, y, amounts, 0.5 * radius)
