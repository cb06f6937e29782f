"""Bones of a phantom: ribs, clavicles, scapulae, spine and humeral heads, as one thickness map."""

from __future__ import annotations

import numpy as np

from ._phantom_anatomy import half_width
from ._phantom_factors import Body, Pose, stream
from ._phantom_fields import Grid, Map, add_ellipsoid, place, root, shell, step


def bone_map(n: int, body: Body, pose: Pose, grid: Grid) -> Map:
    """Bone along the beam, cm (porous bone counts in part)."""
    rng = stream(n, "bones")
    out = grid.zeros()
    _add_spine(out, grid, body, pose, rng)
    for sign in (-1, 1):
        _add_ribs(out, grid, body, pose, sign, rng)
        _add_clavicle(out, grid, body, pose, sign, rng)
        _add_scapula(out, grid, body, pose, sign, rng)
    return out


def _add_ribs(out: Map, grid: Grid, body: Body, pose: Pose, sign: int, rng: np.random.Generator) -> None:
    """Ten ribs of one side: each a tilted hoop, its back part high and its front part low."""
    gap = (12.8 - body.apex) / 9.3 + rng.normal(0, 0.05)
    for k in range(10):
        tall = body.rib_slope * (1.5 + 0.52 * min(k, 7)) * (1.12 if pose.view == "AP" else 1.0)
        middle = body.apex + 2.2 + gap * k * 0.98 + rng.normal(0, 0.12)
        wide = float(half_width(np.array([middle + 0.4 * tall], np.float32), body)[0]) + 0.25
        thick = rng.uniform(0.46, 0.58) * (0.8 if k == 0 else 1.0)
        _add_arc(out, grid, sign, (middle, wide, tall, thick), -0.4 * pose.yaw, back=True)
        if k < 8:
            end = 3.2 + 0.75 * k + rng.normal(0, 0.4)
            _add_arc(out, grid, sign, (middle, wide, tall * 1.2, thick * 1.08), 0.5 * pose.yaw, back=False, end=end)


def _add_arc(
    out: Map,
    grid: Grid,
    sign: int,
    hoop: tuple[float, float, float, float],
    shift: float,
    *,
    back: bool,
    end: float = 1.4,
) -> None:
    """The back or front half of a rib; ``end`` is the |x| where it stops (spine or cartilage)."""
    middle, wide, tall, thick = hoop

    def band(x: Map, y: Map) -> Map:
        side = np.float32(sign) * x - np.float32(shift * sign)
        u = np.clip(side / np.float32(wide), 0, 1)
        arc = root(1 - u * u)
        line = np.float32(middle) - np.float32(tall) * arc if back else np.float32(middle) + np.float32(tall) * arc
        line = line + np.float32(0.55 * tall) * ((1 - u) ** 2 if back else -0.35 * (1 - u) ** 2)
        steep = np.float32(1.1 * tall / wide) * u / np.maximum(arc, np.float32(0.18))
        stretch = np.sqrt(1 + steep * steep)
        across = (y - line) / stretch
        tube = shell(across, thick, 0.78) * np.minimum(stretch, np.float32(1.7)) * np.float32(0.62)
        inside = step(np.float32(wide + 0.15) - side, 0.3) * step(side - np.float32(end), 0.5 if back else 1.6)
        return np.asarray(tube * inside * np.float32(1.5 if back else 0.95), np.float32)

    low, high = (middle - tall - 1.5, middle + 2.2) if back else (middle - 2.2, middle + tall + 1.5)
    near, far = shift + sign * (end - 1.0), shift + sign * (wide + 0.6)
    place(out, grid, (min(near, far), max(near, far), low, high), band)


def _add_clavicle(out: Map, grid: Grid, body: Body, pose: Pose, sign: int, rng: np.random.Generator) -> None:
    """A shallow S from the sternum to the shoulder."""
    start = sign * 1.9 + pose.yaw
    length = body.half_width + 2.6
    base = body.apex + (3.4 if pose.view == "PA" else 2.2) + rng.normal(0, 0.3)
    rise = rng.uniform(2.0, 4.4) + (0.5 if pose.view == "AP" else 0.0)
    thick, wave = rng.uniform(0.56, 0.72), rng.uniform(0.4, 1.1)

    def band(x: Map, y: Map) -> Map:
        t = (x - np.float32(start)) / np.float32(sign * length)
        bend = np.float32(wave) * np.sin(np.float32(2 * np.pi) * t * np.float32(0.9))
        line = np.float32(base) - np.float32(rise) * t - bend
        wide = np.float32(thick) * (1 + np.float32(0.55) * np.maximum(1 - t * 5, 0) + np.float32(0.2) * t)
        inside = step(t, 0.04) * step(1 - t, 0.05)
        return np.asarray(shell(y - line, wide, 0.75) * inside * np.float32(0.85), np.float32)

    ends = (start - sign * 0.5, start + sign * (length + 0.5))
    place(out, grid, (min(ends), max(ends), base - rise - 2.5, base + 2.5), band)


def _add_scapula(out: Map, grid: Grid, body: Body, pose: Pose, sign: int, rng: np.random.Generator) -> None:
    """Blade and borders; swung clear of the lung on most PA pictures. Also the humeral head."""
    inner = body.half_width - (3.2 if pose.view == "AP" else 0.2) + rng.normal(0, 0.8)
    tip = -0.5 + rng.normal(0, 1.0)
    slant = rng.uniform(0.12, 0.3)

    def blade(x: Map, y: Map) -> Map:
        side = np.float32(sign) * x
        border = np.float32(inner) + np.float32(slant) * (y - np.float32(tip)) * np.float32(-0.25)
        outer = np.float32(inner + 1.2) + np.float32(0.62) * (np.float32(tip) - y)
        within = step(side - border, 0.25) * step(np.minimum(outer, np.float32(inner + 6)) - side, 0.25)
        within = within * step(np.float32(tip) - y, 0.6) * step(y - np.float32(-11.5), 0.6)
        edge = np.exp(-(((side - border - np.float32(0.2)) / np.float32(0.25)) ** 2))
        rim = np.exp(-(((side - outer + np.float32(0.35)) / np.float32(0.4)) ** 2))
        return np.asarray(within * (np.float32(0.22) + np.float32(0.45) * edge + np.float32(0.7) * rim), np.float32)

    ends = (sign * (inner - 2.0), sign * (inner + 7))
    place(out, grid, (min(ends), max(ends), -12.5, tip + 1), blade)
    shoulder = (sign * (body.half_width + 4.3), -11.2)
    add_ellipsoid(out, grid, shoulder, (2.3, 2.6, 0.5), sign * 0.5)
    add_ellipsoid(out, grid, (shoulder[0] + sign * 0.9, -9.9), (2.3, 3.0, 0.35), sign * -0.3)
    add_ellipsoid(out, grid, (shoulder[0] - sign * 2.4, -13.2), (2.6, 0.7, 0.4), sign * -0.25)

    def shaft(x: Map, y: Map) -> Map:
        lean = 0.04 + 0.6 * body.arms
        slant = np.float32(np.hypot(1, lean))
        across = (np.float32(sign) * x - np.float32(body.half_width + 4.8) - np.float32(lean) * (y + 12)) / slant
        return np.asarray(shell(across, 1.15, 0.7) * step(y + 11.5, 2.0) * np.float32(0.8), np.float32)

    ends = (sign * (body.half_width + 1), sign * 30)
    place(out, grid, (min(ends), max(ends), -12.5, 25), shaft)


def _add_spine(out: Map, grid: Grid, body: Body, pose: Pose, rng: np.random.Generator) -> None:
    """Vertebral bodies with discs, pedicles, spinous processes, and the manubrium in front."""
    shift, bend = -0.5 * pose.yaw, body.scoliosis
    phase = rng.uniform(0, 2.5)

    def column(x: Map, y: Map) -> Map:
        centre = np.float32(shift) + np.float32(bend) * np.sin(y * np.float32(0.12))
        pitch = np.float32(2.35) + np.float32(0.022) * (y + 5)
        part = np.abs(np.mod((y + np.float32(phase)) / pitch, 1) - np.float32(0.5)) * 2  # 0 = mid body, 1 = disc
        half = np.float32(1.55) + np.float32(0.018) * (y + 10) + np.float32(0.16) * part
        u = (x - centre) / half
        dense = np.float32(0.75) - np.float32(0.2) * step(part - np.float32(0.82), 0.2)
        block = root(1 - np.minimum(u * u, 1) ** 2) * dense
        spinous = np.exp(-(((x - centre) / np.float32(0.28)) ** 2)) * step(np.float32(0.5) - part, 0.4)
        beside = (np.abs(x - centre) - np.float32(1.05)) / np.float32(0.3)
        pedicle = np.exp(-(beside**2)) * step(np.float32(0.45) - part, 0.3)
        return np.asarray(block + np.float32(0.4) * spinous + np.float32(0.35) * pedicle, np.float32)

    place(out, grid, (-5 + shift, 5 + shift, -26, 26), column)
    add_ellipsoid(out, grid, (pose.yaw, body.apex + 5.2), (2.2, 2.6, 0.45))
