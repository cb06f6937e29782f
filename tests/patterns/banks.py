"""A small ensemble and its bank, made by hand: what the tests of patterns share."""

from __future__ import annotations

import numpy as np

from whyray.patterns.bank import Pattern, PatternBank
from whyray.patterns.members import Member
from whyray.patterns.site import Basis, Site

CELLS, D, R, F, WIDTH, MEMBERS = 6, 10, 7, 3, 12, 4


def site(grid: tuple[int, int] = (2, 3), seed: int = 0, f: int = F) -> Site:
    rng = np.random.default_rng(seed)
    return Site("features", "features", grid, D, D, rng.normal(size=(f, D)), rng.normal(size=f))


def basis(seed: int = 1) -> Basis:
    rng = np.random.default_rng(seed)
    rows = np.linalg.qr(rng.normal(size=(D, R)))[0].T
    return Basis(rng.normal(size=D).astype(np.float32), rows.astype(np.float32))


def members(kind: str = "topk", k: int = 3, number: int = MEMBERS, seed: int = 2) -> list[Member]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        decoder = rng.normal(size=(WIDTH, D)).astype(np.float32)
        made.append(
            Member(
                encoder=rng.normal(size=(WIDTH, R)).astype(np.float32),
                encoder_bias=rng.normal(size=WIDTH).astype(np.float32),
                decoder=decoder / np.linalg.norm(decoder, axis=1, keepdims=True),
                decoder_bias=rng.normal(size=D).astype(np.float32),
                k=k,
                kind=kind,  # type: ignore[arg-type]
                threshold=np.full(WIDTH, 0.3, np.float32) if kind == "jumprelu" else None,
            )
        )
    return made


def bank(kind: str = "topk", k: int = 3, fingerprint: str = "f" * 64, patterns: int = 5) -> PatternBank:
    made, where = members(kind, k), site()
    cluster = np.random.default_rng(3).integers(-1, patterns, MEMBERS * WIDTH)
    thresholds = [m.threshold for m in made if m.threshold is not None]
    return PatternBank(
        fingerprint=fingerprint,
        findings=("mass", "edema", "hernia"),
        site=where,
        basis=basis(),
        members=MEMBERS,
        k=k,
        kind=kind,
        encoder=np.concatenate([m.encoder for m in made]),
        encoder_bias=np.concatenate([m.encoder_bias for m in made]),
        threshold=np.concatenate(thresholds) if thresholds else None,
        readout=np.concatenate([m.decoder @ where.weights.T for m in made]).astype(np.float32),
        base=np.mean([where.weights @ m.decoder_bias for m in made], axis=0),
        cluster=cluster,
        patterns=tuple(Pattern(f"p{i:04d}") for i in range(patterns)),
    )


def tokens(n: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, CELLS, D)).astype(np.float32)
