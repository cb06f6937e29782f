"""The gates one after the other: from latents of all members to the clusters that are patterns, with the funnel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..patterns.clusters import clusters, medoids, unit_rows
from ..patterns.funnel import Gate, GatePlan, passing
from ..patterns.gates import agreements, monosemanticity, moved, stability, strongest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Index = NDArray[np.int64]
    Flags = NDArray[np.bool_]

DENSITIES = (1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
MERGES = (0.8, 0.85, 0.9, 0.95)
LOGITS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
COHESIONS = (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, eq=False)
class Latents:
    """What is known of all latents ``L`` before the gates, over ``n`` validation pictures.

    peaks ``[n, L]``, means ``[n, L]`` over cells; tokens ``[L]``: share of the tokens in which one fires; member
    ``[L]``; directions ``[L, r + d]``; decoder ``[L, d]``; readout ``[L, f]``; pooled ``[n, d]``: what the head reads;
    embeddings ``[n, d]``; kinds: the data set of each picture.
    """

    peaks: NDArray[np.float16]
    means: NDArray[np.float32]
    tokens: Array
    member: Index
    directions: NDArray[np.float32]
    decoder: NDArray[np.float32]
    readout: NDArray[np.float32]
    pooled: Array
    embeddings: Array
    kinds: tuple[str, ...]

    @property
    def members(self) -> int:
        """How many members there are."""
        return int(self.member.max()) + 1


@dataclass(frozen=True, eq=False)
class Gated:
    """What passed: cluster ``[L]`` (-1 = unnamed), and of each pattern its density, stability, cohesion and what it
    moves ``[P, f]``; the funnel, and how alike two half-ensembles are."""

    cluster: Index
    density: Array
    stability: Array
    cohesion: Array
    moved: Array
    funnel: tuple[Gate, ...]
    halves: Mapping[str, float]
    images: int

    def moves(self, pattern: int, least: float) -> list[int]:
        """Findings (columns) whose logit the pattern moves by ``least`` or more, most first."""
        size = np.abs(self.moved[pattern])
        return [int(c) for c in np.argsort(-size, kind="stable") if size[c] >= least]


@dataclass
class _Funnel:
    """Collects the gates."""

    gates: list[Gate] = field(default_factory=list)

    def add(self, name: str, what: str, rule: str, counts: tuple[int, int], curves: Mapping[str, Any]) -> None:
        self.gates.append(Gate(name, what, rule, *counts, curves))


def gated(
    latents: Latents,
    plan: GatePlan,
    strengths_of: Callable[[Index], NDArray[np.float32]],
    head: Callable[[Array], Array],
) -> Gated:
    """Every gate of the plan, in order. ``strengths_of``: cluster of each latent -> ``[n, P]``; ``head``: pooled
    features -> logits."""
    funnel = _Funnel()
    dense = _density(latents, plan, funnel)
    agree = np.zeros((len(dense), latents.members), bool)
    agree[dense] = agreements(
        latents.directions[dense],
        latents.peaks[:, dense],
        latents.member[dense],
        latents.members,
        plan.cosine,
        plan.correlation,
    )
    shares = stability(agree)
    stable = dense & (shares >= plan.members)
    rule = f"alike in at least {plan.members:g} of the other members (cosine {plan.cosine:g}, r {plan.correlation:g})"
    curve = {"share of members": passing(shares[dense], SHARES)}
    funnel.add("stability", "latents", rule, (int(dense.sum()), int(stable.sum())), curve)
    cluster = _clustered(latents, stable, plan, funnel)
    strengths = strengths_of(cluster)
    kept, cohesion, moves = _measured(latents, cluster, strengths, plan, head, funnel)
    size = np.abs(moves[kept]).max(axis=1) if len(kept) else np.empty(0)
    order = kept[np.argsort(-size, kind="stable")]
    number = np.full(int(cluster.max(initial=-1)) + 1, -1)
    number[order] = np.arange(len(order))
    final = np.where(cluster >= 0, number[cluster], -1) if len(number) else cluster
    sharing = [len(np.unique(latents.member[final == i])) / latents.members for i in range(len(order))]
    return Gated(
        cluster=final,
        density=(strengths > 0).mean(axis=0)[order],
        stability=np.array(sharing),
        cohesion=cohesion[order],
        moved=moves[order],
        funnel=tuple(funnel.gates),
        halves=halves(latents, dense, agree, plan),
        images=len(latents.pooled),
    )


def _density(latents: Latents, plan: GatePlan, funnel: _Funnel) -> Flags:
    by_image = (latents.peaks > 0).mean(axis=0)
    values = latents.tokens if plan.unit == "tokens" else by_image
    low, high = plan.density
    dense = (values >= low) & (values <= high)
    curves = {
        "tokens, at or above": passing(latents.tokens, DENSITIES),
        "tokens, at or below": passing(latents.tokens, DENSITIES, above=False),
        "images, at or above": passing(by_image, DENSITIES),
        "images, at or below": passing(by_image, DENSITIES, above=False),
    }
    rule = f"fires on {low:g} to {high:g} of the validation {plan.unit}"
    funnel.add("density", "latents", rule, (len(values), int(dense.sum())), curves)
    return np.asarray(dense)


def _clustered(latents: Latents, stable: Flags, plan: GatePlan, funnel: _Funnel) -> Index:
    """Cluster of each latent ``[L]``, -1 where it is not stable."""
    vectors = latents.directions[stable]
    found = {cut: clusters(vectors, cut) for cut in dict.fromkeys((plan.merge, *(m for m in MERGES if m > plan.merge)))}
    counts = [len(np.unique(label)) for label in found.values()]
    cluster = np.full(len(stable), -1, np.int64)
    cluster[stable] = found[plan.merge]
    rule = f"one pattern where the mean cosine is at least {plan.merge:g}"
    curve = {"mean cosine": (tuple(map(float, found)), tuple(counts))}
    funnel.add("de-duplication", "patterns", rule, (int(stable.sum()), counts[0]), curve)
    return cluster


def _measured(
    latents: Latents,
    cluster: Index,
    strengths: NDArray[np.float32],
    plan: GatePlan,
    head: Callable[[Array], Array],
    funnel: _Funnel,
) -> tuple[Index, Array, Array]:
    """(clusters that are relevant and of one kind, cohesion ``[P]``, what each moves ``[P, f]``)."""
    number = strengths.shape[1]
    inside = _inside(cluster, number)
    adds = np.zeros(number)
    for p, own in enumerate(inside):
        adds[p] = np.abs(latents.means[:, own] @ latents.readout[own]).max(axis=1).mean() / latents.members
    tops = strongest(strengths, plan.top)

    def taken(pattern: int, images: Index) -> Array:
        own = inside[pattern]
        written = latents.means[np.ix_(images, own)].astype(np.float64) @ latents.decoder[own].astype(np.float64)
        return np.asarray(written / latents.members)

    moves = moved(latents.pooled, taken, tops, head)
    size = np.abs(moves).max(axis=1) if number else np.empty(0)
    least = np.quantile(adds, 1 - plan.leading) if number else 0.0
    leading = adds >= least
    relevant = np.flatnonzero(leading & (size >= plan.moves))
    rule = f"in the upper {plan.leading:g} by what it adds; taken out, it moves a logit by at least {plan.moves:g}"
    curve = {"logits moved": passing(size[leading], LOGITS), "logits moved, all": passing(size, LOGITS)}
    funnel.add("relevance", "patterns", rule, (number, len(relevant)), curve)
    cohesion, _ = monosemanticity(latents.embeddings, tops, latents.kinds, plan.seed)
    kept = relevant[cohesion[relevant] > plan.cohesion]
    rule = f"its strongest {plan.top} images are alike beyond random sets (cosine gain above {plan.cohesion:g})"
    curve = {"cosine gain": passing(cohesion[relevant], COHESIONS)}
    funnel.add("monosemanticity", "patterns", rule, (len(relevant), len(kept)), curve)
    return kept, cohesion, moves


def _inside(cluster: Index, number: int) -> list[Index]:
    """Latents of each cluster."""
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(number + 1))
    return [order[a:b] for a, b in itertools.pairwise(starts)]


def halves(latents: Latents, dense: Flags, agree: Flags, plan: GatePlan) -> dict[str, float]:
    """Patterns of one half of the members that the other half has too (mean direction at ``plan.cosine`` or above).

    Each half passes density, stability and de-duplication by itself. n = patterns of both halves; NaN without any.
    """
    middle = latents.members // 2
    found = []
    for own in (np.arange(middle), np.arange(middle, latents.members)):
        share = agree[:, own].sum(axis=1) / max(1, len(own) - 1)
        chosen = np.flatnonzero(dense & np.isin(latents.member, own) & (share >= plan.members))
        label = clusters(latents.directions[chosen], plan.merge)
        found.append(latents.directions[chosen[medoids(latents.directions[chosen], label)]])
    if not len(found[0]) or not len(found[1]):
        return {"shared": float("nan"), "n": float(len(found[0]) + len(found[1]))}
    cosine = unit_rows(found[0]) @ unit_rows(found[1]).T
    matched = np.r_[cosine.max(axis=1), cosine.max(axis=0)] >= plan.cosine
    return {"shared": float(matched.mean()), "n": float(len(matched))}
