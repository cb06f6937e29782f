"""What makes a phantom case what it is: body, pose, exposure and planted findings, drawn independently.

Every group of factors has its own stream of random numbers, so that taking one finding away changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

PHANTOM_VERSION = 1
STREAMS = ("body", "pose", "exposure", "presence", "vessels", "noise", "marker", "report", "texture", "bones")

# prevalence of each planted finding; the findings are independent of each other and of everything else
PREVALENCE: dict[str, float] = {
    "atelectasis": 0.13,
    "cardiomegaly": 0.15,
    "consolidation": 0.12,
    "edema": 0.12,
    "lung_opacity": 0.12,
    "mass": 0.12,
    "nodule": 0.15,
    "pleural_effusion": 0.15,
    "pneumonia": 0.14,
    "pneumothorax": 0.13,
    "support_devices": 0.25,
}


@dataclass(frozen=True)
class Body:
    """Habitus, in cm where not said otherwise. ``yaw`` shifts what lies in front against what lies behind."""

    female: bool
    age: int
    scale: float
    half_width: float  # of the chest cavity
    depth: float  # of the trunk, front to back
    wall: float  # soft tissue outside the ribs, each side
    breast: float  # 0 = none
    right_dome: float  # y of the top of the diaphragm
    left_dome: float
    apex: float  # y of the lung apices
    ctr: float  # width of the heart / of the chest
    heart_turn: float
    knob: float  # size of the aortic arch
    vessels: float
    arms: float
    bubble: float  # size of the stomach bubble, 0 = none
    rib_slope: float
    barrel: float  # 0 = a chest that widens downwards, 1 = a barrel
    scoliosis: float


@dataclass(frozen=True)
class Pose:
    """How the patient stands before the detector."""

    view: Literal["PA", "AP"]
    supine: bool
    field: float  # side of the detector, cm
    angle: float  # radians
    yaw: float  # cm
    shift: tuple[float, float]


@dataclass(frozen=True)
class Exposure:
    """Beam, detector and processing."""

    mu: float
    scatter: float
    noise: float
    low: float
    high: float
    curve: float
    equalise: float
    collimation: tuple[float, float, float, float]  # share of each side: left, right, top, bottom


def stream(n: int, name: str) -> np.random.Generator:
    """Random numbers of case ``n`` for one purpose; they depend on the version, n and the name only."""
    return np.random.default_rng([PHANTOM_VERSION, n, *name.encode()])


def draw_body(n: int) -> Body:
    """Habitus of case ``n``."""
    rng = stream(n, "body")
    female = bool(rng.random() < 0.45)
    fat = float(rng.beta(2, 3))
    dome = float(rng.normal(8.3, 1.6))
    return Body(
        female=female,
        age=int(np.clip(rng.normal(50, 17), 18, 90)),
        scale=float(rng.normal(0.95 if female else 1.02, 0.05)),
        half_width=float(rng.normal(13.0, 0.6)),
        depth=float(16.5 + 8 * fat + rng.normal(0, 0.8)),
        wall=float(1.6 + 3.6 * fat),
        breast=float(rng.uniform(0.25, 1.0) if female else rng.choice([0.0, rng.uniform(0, 0.3)])),
        right_dome=dome,
        left_dome=dome + float(rng.normal(1.3, 0.7)),
        apex=float(rng.normal(-13.2, 0.6)),
        ctr=float(rng.uniform(0.385, 0.49)),
        heart_turn=float(rng.uniform(0.45, 0.95)),
        knob=float(rng.uniform(0.75, 1.3)),
        vessels=float(rng.uniform(0.75, 1.25)),
        arms=float(rng.uniform(0, 1)),
        bubble=float(rng.choice([0.0, rng.uniform(0.5, 1.0)], p=[0.35, 0.65])),
        rib_slope=float(rng.normal(1.15, 0.14)),
        scoliosis=float(rng.normal(0, 0.5)),
        barrel=float(rng.uniform(0.25, 0.7)),
    )


def draw_pose(n: int) -> Pose:
    """View, position and rotation of case ``n``."""
    rng = stream(n, "pose")
    front = bool(rng.random() < 0.4)
    shift = (float(rng.normal(0, 0.8)), float(rng.normal(-0.2, 1.1)))
    return Pose(
        view="AP" if front else "PA",
        supine=front and bool(rng.random() < 0.5),
        field=float(rng.uniform(30.0, 40.0)),
        angle=float(rng.normal(0, 0.035)),
        yaw=float(rng.normal(0, 0.9 if front else 0.45)),
        shift=shift,
    )


def draw_exposure(n: int, pose: Pose) -> Exposure:
    """Beam, detector and processing of case ``n``."""
    rng = stream(n, "exposure")
    edges = np.where(rng.random(4) < 0.2, rng.uniform(0.004, 0.035, 4), 0.0)
    return Exposure(
        mu=float(rng.uniform(0.165, 0.2)),
        scatter=float(rng.uniform(0.25, 0.9) * (1.6 if pose.view == "AP" else 1.0)),
        noise=float(np.exp(rng.normal(-4.6, 0.4))),
        low=float(rng.normal(-0.03, 0.09)),
        high=float(rng.normal(0.0, 0.07)),
        curve=float(rng.uniform(0.8, 1.7)),
        equalise=float(rng.uniform(0.15, 0.75)),
        collimation=(float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])),
    )


def draw_severities(n: int, plant: Mapping[str, float], without: Sequence[str]) -> dict[str, float]:
    """Finding -> severity in 0..1 (0 = barely visible) of what is planted in case ``n``."""
    rng = stream(n, "presence")
    draws = {finding: (rng.random(), rng.random()) for finding in PREVALENCE}
    found = {f: float(severity) for f, (chance, severity) in draws.items() if chance < PREVALENCE[f]}
    return {f: s for f, s in sorted({**found, **plant}.items()) if f not in without}
