"""The healthy chest of a phantom: thickness maps of soft tissue, bone and air, from analytic solids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._phantom_factors import Body, Pose, stream
from ._phantom_fields import AIR, Grid, Map, add_ellipsoid, cloud, ellipsoid, place, root, step
from ._phantom_vessels import vessel_map

TOP = 5.2  # |x| of a lung apex, cm


@dataclass(frozen=True, eq=False)
class Chest:
    """Maps in cm: ``tissue`` (water equivalent, without bone), ``lung`` (aerated), ``heart``, ``vessels``.

    ``markings`` is vessels and fine interstitium: what is missing where there is no lung. Both are part of tissue.
    """

    body: Body
    pose: Pose
    grid: Grid
    tissue: Map
    lung: Map
    vessels: Map
    markings: Map
    heart: Map


def build_chest(n: int, body: Body, pose: Pose, grid: Grid) -> Chest:
    """All soft tissue of case ``n``."""
    x, y = grid.x, grid.y
    heart = heart_map(x, y, body, pose, body.ctr)
    lung = np.maximum(cavity(x, y, body) - heart - dome_map(x, y, body) - middle_map(x, y, body, pose), 0)
    vessels = vessel_map(n, body, grid) * step(lung - np.float32(1.0), 3.0)
    trunk = trunk_map(x, y, body)
    tissue = trunk - AIR * np.minimum(lung, trunk) + vessels
    texture = _texture(tissue, n, grid, lung)
    _add_soft_parts(tissue, grid, body, pose)
    lung = np.asarray(lung, np.float32)
    return Chest(body, pose, grid, np.maximum(tissue, 0), lung, vessels, vessels + texture, heart)


def lung_map(x: Map, y: Map, body: Body, pose: Pose) -> Map:
    """Centimetres of aerated lung along the beam."""
    solid = heart_map(x, y, body, pose, body.ctr) + dome_map(x, y, body) + middle_map(x, y, body, pose)
    return np.maximum(cavity(x, y, body) - solid, 0)


def cavity(x: Map, y: Map, body: Body) -> Map:
    """Both pleural cavities, down to the posterior recess."""
    apex, base = np.float32(body.apex), np.float32(14.5)
    t = np.clip((y - apex) / (base - apex), 0, 1)
    side = np.abs(x)
    outer = half_width(y, body) - np.float32(TOP)
    inner = np.float32(TOP - 1.3) * root(1 - (1 - np.minimum(t / np.float32(0.20), 1)) ** 2)
    reach = np.where(side > TOP, outer, inner) + np.float32(1e-3)
    across = np.minimum(np.abs(side - np.float32(TOP)) / reach, 1)
    squared = across * across
    power = np.where(side > TOP, squared, squared * squared * squared)
    high = np.float32(0.88 * (body.depth - 4)) * root(1 - (1 - np.minimum(t / np.float32(0.5), 1)) ** 2)
    floor = step(np.float32(max(body.right_dome, body.left_dome) + 4.5) - y, 3.5)
    return np.asarray(high * root(1 - power) * floor, np.float32)


def half_width(y: Map, body: Body) -> Map:
    """|x| of the inner chest wall at a height: a dome, then a slope that flattens."""
    t = np.clip((y - np.float32(body.apex)) / np.float32(14.5 - body.apex), 0, 1)
    dome = root(1 - (1 - np.minimum(t / np.float32(0.24), 1)) ** 2)
    flare = np.minimum(t / np.float32(0.85), 1)
    share = np.float32(body.barrel) * dome + np.float32(1 - body.barrel) * flare * (2 - flare)
    return np.asarray(np.float32(TOP) + np.float32(body.half_width - TOP) * share, np.float32)


def heart_map(x: Map, y: Map, body: Body, pose: Pose, ctr: float) -> Map:
    """Thickness of the heart; its width over the chest's width is about ``ctr``."""
    width = 2 * body.half_width * ctr * (1.08 if pose.view == "AP" else 1.0)
    bottom = (body.right_dome + body.left_dome) / 2
    half = width / 2
    shift = pose.yaw * 0.8
    high = 0.72 * half + 1.4
    turn = 0.45 + 0.4 * body.heart_turn
    left = ellipsoid(x, y, (half * 0.33 + shift, bottom + 0.9 - 0.40 * high), (1.13 * half, 0.80 * high, 5.6), turn)
    right = ellipsoid(x, y, (-half * 0.14 + shift, bottom + 0.6 - 0.45 * high), (0.60 * half, 1.1 * high, 4.6), 0.12)
    base = ellipsoid(x, y, (half * 0.16 + shift, bottom - 0.95 * high), (half * 0.48, 0.85 * high, 4.2), -0.25)
    return _union(_union(left, right), base)


def dome_map(x: Map, y: Map, body: Body) -> Map:
    """What the diaphragm and the organs below it take of the cavity."""
    out = np.zeros_like(x)
    for sign, top in ((-1, body.right_dome), (1, body.left_dome)):
        centre, wide = sign * 0.49 * body.half_width, 0.565 * body.half_width
        high = 5.4
        u = (x - np.float32(centre)) / np.float32(wide)
        v = np.minimum(y - np.float32(top + high), 0) / np.float32(high)
        out = np.maximum(out, np.float32(0.84 * (body.depth - 4)) * root(1 - u * u - v * v))
    between = step(y - np.float32((body.right_dome + body.left_dome) / 2 + 1.0), 3.0)
    middle = np.float32(body.depth) * between * step(np.float32(3.5) - np.abs(x), 3.0)
    return np.asarray(np.maximum(out, middle), np.float32)


def middle_map(x: Map, y: Map, body: Body, pose: Pose) -> Map:
    """Mediastinum: great vessels, aortic knob and arch, superior vena cava, descending aorta."""
    shift = np.float32(pose.yaw * 0.5)
    wide = np.float32(2.0) + np.float32(0.45) * step(y + 5, 8.0) + np.float32(0.5) * step(-9.5 - y, 4.0)
    bend = np.float32(0.22) * np.sin(y * np.float32(0.45) + np.float32(body.knob * 5))
    u = (x - shift + np.float32(0.1) + bend) / wide
    u = u * u
    out = np.float32(5.0) * root(1 - np.minimum(u * u, 1))
    arch = (2.0 + pose.yaw * 0.5, -6.2 + (body.age - 50) * -0.012)
    knob = ellipsoid(x, y, arch, (1.35 * body.knob + 0.2, 1.7 * body.knob, 2.6))
    cava = ellipsoid(x, y, (-1.9 + pose.yaw * 0.5, -5.5), (1.05, 6.5, 1.9))
    descending = ellipsoid(x, y, (1.9 - pose.yaw * 0.3, 1.0), (1.2, 9.5, 1.3), 0.06)
    return _union(_union(_union(out, knob), cava), descending)


def trunk_map(x: Map, y: Map, body: Body) -> Map:
    """Body outline: trunk, shoulders, neck and arms."""
    side = np.abs(x)
    half = np.float32(body.half_width + 1.1 + body.wall) + np.float32(0.06) * np.maximum(y - 4, 0)
    depth = np.float32(body.depth)
    edge = np.minimum(side / half, 1)
    edge = edge * edge
    trunk = depth * root(1 - np.float32(0.12) * edge - np.float32(0.88) * (edge * edge * edge) ** 2)
    trunk = trunk * (np.float32(0.5) + np.float32(0.5) * step(y + 11, 12.0)) * step(y + 15, 5.0)
    out = np.clip(side - 5, 0, 17)
    slope = np.float32(-19.5) + np.float32(0.22) * out + np.float32(0.015) * out * out
    shoulder_half = np.float32(body.half_width + 7.5 + 0.5 * body.wall)
    tip = np.minimum(side / shoulder_half, 1) ** 2
    shoulder = root(np.clip((y - slope) / 7, 0, 1)) * root(1 - (tip * tip) ** 2)
    shoulder = np.float32(0.66) * depth * shoulder * step(np.float32(-4) - y, 11.0)
    neck = np.float32(11.0) * root(1 - (side / np.float32(6.0 + 0.3 * body.wall)) ** 2) * step(-11 - y, 8.0)
    arms = _arms(x, y, body)
    return np.asarray(_union(_union(trunk, shoulder), _union(neck, arms)), np.float32)


def _arms(x: Map, y: Map, body: Body) -> Map:
    """Upper arms, hanging or held away from the trunk."""
    lean = 0.04 + 0.6 * body.arms
    start = body.half_width + 4.6 + 0.3 * body.wall
    along = y + 13
    axis = np.float32(start) + np.float32(lean) * along
    radius = np.float32(3.6 + 0.45 * body.wall)
    u = (np.abs(x) - axis) * np.float32(1 / np.hypot(1, lean)) / radius
    return np.asarray(np.float32(2.2) * radius * root(1 - u * u) * step(along, 5.0), np.float32)


def _texture(tissue: Map, n: int, grid: Grid, lung: Map) -> Map:
    """Adds fine interstitium in the lung (returned) and uneven fat and muscle everywhere."""
    rng = stream(n, "texture")
    fine, middle, broad = cloud(grid, rng, 72), cloud(grid, rng, 30), cloud(grid, rng, 9)
    fine_lung = lung * (np.float32(0.010) * fine + np.float32(0.009) * middle + np.float32(0.009) * broad)
    tissue += fine_lung + np.float32(0.16) * cloud(grid, rng, 14) * step(tissue - 4, 6.0)
    return np.asarray(fine_lung, np.float32)


def _add_soft_parts(tissue: Map, grid: Grid, body: Body, pose: Pose) -> None:
    """Breasts, airways, stomach bubble, muscles of the shoulder."""
    for sign in (-1, 1):
        if body.breast > 0.02:
            size = 0.6 + 0.4 * body.breast
            centre = (sign * (8.6 + 1.4 * body.breast), 4.0 + 3.6 * body.breast)
            breast = grid.zeros()
            add_ellipsoid(breast, grid, centre, (7.4 * size, 6.0 * size, 3.4 * body.breast), sign * 0.3)
            tissue += breast * step(grid.y - np.float32(centre[1] - 0.5), 9.0)
        add_ellipsoid(tissue, grid, (sign * 11.6, -8.5), (3.8, 5.6, 0.55), sign * -0.5)
    _add_hila(tissue, grid, body, pose)
    tissue -= _airways(grid, pose)
    if body.bubble:
        _add_bubble(tissue, grid, body, pose)


def _add_hila(tissue: Map, grid: Grid, body: Body, pose: Pose) -> None:
    """Central pulmonary arteries and veins beside the heart."""
    shift, full = 0.4 * pose.yaw, 0.75 + 0.35 * body.vessels
    add_ellipsoid(tissue, grid, (-3.5 + shift, -1.2), (0.75 * full, 2.5, 0.75 * full), 0.22)
    add_ellipsoid(tissue, grid, (-3.3 + shift, -3.3), (1.3 * full, 0.9, 0.7 * full), 0.3)
    add_ellipsoid(tissue, grid, (3.5 + shift, -3.6), (1.35 * full, 1.1 * full, 0.8 * full), -0.25)
    add_ellipsoid(tissue, grid, (3.9 + shift, -1.6), (0.7 * full, 2.3, 0.6 * full), -0.3)


def _airways(grid: Grid, pose: Pose) -> Map:
    """Trachea and main bronchi: air inside the mediastinum."""
    out = grid.zeros()
    shift = 0.4 * pose.yaw

    def trachea(x: Map, y: Map) -> Map:
        u = (x + np.float32(0.25 - shift)) / np.float32(0.95)
        return np.asarray(np.float32(1.5) * root(1 - u * u) * step(np.float32(-4.2) - y, 1.0), np.float32)

    place(out, grid, (-2.5 + shift, 2.5 + shift, -24, -3.5), trachea)
    add_ellipsoid(out, grid, (-1.7 + shift, -3.4), (2.1, 0.62, 0.6), 0.85)
    add_ellipsoid(out, grid, (1.9 + shift, -3.3), (2.6, 0.58, 0.6), -0.62)
    return out


def _add_bubble(tissue: Map, grid: Grid, body: Body, pose: Pose) -> None:
    """Gas in the stomach; a fluid level when upright."""
    centre = (5.6 + 1.2 * body.knob, body.left_dome + 2.6)
    axes = (2.6 * body.bubble + 0.6, 1.7 * body.bubble + 0.4, 2.4 * body.bubble)

    def gas(x: Map, y: Map) -> Map:
        level = np.float32(1.0) if pose.supine else step(np.float32(centre[1] + 0.5) - y, 0.25)
        return -ellipsoid(x, y, centre, axes, 0.1) * level

    place(tissue, grid, (centre[0] - 4, centre[0] + 4, centre[1] - 4, centre[1] + 4), gas)


def _union(a: Map, b: Map) -> Map:
    """Rounded maximum of two thicknesses."""
    a2, b2 = a * a, b * b
    return np.asarray(np.sqrt(np.sqrt(a2 * a2 + b2 * b2)), np.float32)
