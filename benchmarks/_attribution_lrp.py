"""LRP of 18 findings: zennit's rules as they stand against zennit's 18 calls, and the conserving form beside it."""

from __future__ import annotations

import numpy as np
import torch
from attribution import Contestant, Subject, largest_difference

from whyray import Attribution, Context
from whyray._torchvision import ensure_torchvision
from whyray.explainers.lrp import Lrp


def contestants(subject: Subject) -> list[Contestant]:
    """Ours first; zennit as its documentation calls it: one finding a call, three of them run."""
    parity, conserving = Lrp(canonise=False), Lrp()
    one, all_of_them = subject.findings + 2, subject.findings * 3
    return [
        Contestant("whyray, layers as they stand (zennit's rules), 18", lambda: ours(subject, parity), passes=one),
        Contestant("whyray, canonised and conserving, 18", lambda: ours(subject, conserving), passes=one),
        Contestant("whyray, canonised, epsilon, 18", lambda: ours(subject, Lrp(composite="epsilon")), passes=one - 1),
        Contestant(
            "zennit 0.5.1 EpsilonPlusFlat, one call a finding",
            lambda: zennit(subject, range(3)),
            passes=all_of_them,
            scale=subject.findings / 3,
            agrees=lambda mine, yardstick: largest_difference(mine, yardstick[:3]),
        ),
    ]


def ours(subject: Subject, settings: Lrp) -> np.ndarray:
    """Maps ``[f, h, w]`` of all findings; raises where the logit is not accounted for."""
    (made,) = settings.explain(subject.classifier, [subject.radiograph], subject.classifier.findings, Context())
    worst = max(abs(a.checks["conservation_gap"]) for a in made.values())
    if worst > 1e-3:
        raise AssertionError(f"{worst:.2g} of a logit is not accounted for")
    return np.stack([a.values for a in made.values() if isinstance(a, Attribution)])


def zennit(subject: Subject, columns: range) -> np.ndarray:
    """Maps ``[columns, h, w]``, seeded with the logit of each."""
    ensure_torchvision()
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat

    with torch.no_grad():
        logits = subject.module(subject.x)
    maps = []
    for column in columns:
        seed = torch.zeros_like(logits)
        seed[0, column] = logits[0, column]
        with Gradient(model=subject.module, composite=EpsilonPlusFlat()) as attributor:
            maps.append(attributor(subject.x.clone(), seed)[1][0].sum(0).numpy())
    return np.stack(maps)
