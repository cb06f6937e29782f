"""The terms of WeNLEX's loss (arXiv 2603.18752), as pure functions; ours are ``stated`` and ``commitment``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as nf

from ..metrics._mmd import median_distance, mmd, squared_distances


def plausibility(
    made: Tensor, group: Tensor, known: Tensor, known_group: Tensor, queue: Tensor, full: Tensor
) -> Tensor:
    """Mean over groups of the squared MMD between what was made, with the rows remembered of it, and the database.

    A group is a diagnosis for an audience. made ``[b, w]``, group ``[b]``; known ``[k, w]``, known_group ``[k]``; queue
    ``[g, q, w]`` of which the first ``full [g]`` rows are filled. Groups of fewer than two made rows are left out. The
    bandwidth is that of the group's database, or of all of it where the group has one row: with that of what was made
    as well, rows that are all alike would narrow the kernel until nothing pulls them apart. Remembered rows change the
    value, not the pull on a new one: its gradient is as if all rows were new.
    """
    terms = []
    for g in sorted(set(group.tolist())):
        ours = torch.cat([made[group == g].float(), queue[g, : int(full[g])]])
        theirs = known[known_group == g]
        if len(ours) > 1 and len(theirs):
            term = mmd(ours, theirs, bandwidth(theirs if len(theirs) > 1 else known))
            terms.append(steeper(term, len(ours) / int((group == g).sum())))
    return torch.stack(terms).mean() if terms else made.sum() * 0


def steeper(value: Tensor, factor: float) -> Tensor:
    """The same value with ``factor`` times its gradient."""
    return value + (factor - 1) * (value - value.detach())


def bandwidth(rows: Tensor) -> Tensor:
    """Median squared distance of rows ``[n, w]`` at length 1."""
    return median_distance(squared_distances(nf.normalize(rows.float(), dim=1)))


def alignment(logits: Tensor, asked: Tensor, probabilities: Tensor, certainty: float) -> Tensor:
    """What a text says beside what was asked: cross-entropy of each diagnosis, and ``certainty`` times the divergence
    of the classifier's probability of the asked one from what the text says.

    logits ``[b, d]`` of the head that reads z, asked ``[b]``, probabilities ``[b]`` of the asked diagnosis.
    """
    wanted = nf.one_hot(asked, logits.shape[1]).to(logits.dtype)
    named = nf.binary_cross_entropy_with_logits(logits, wanted)
    said = logits.gather(1, asked[:, None])[:, 0]
    p = probabilities.clamp(1e-4, 1 - 1e-4)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    return named + certainty * (nf.binary_cross_entropy_with_logits(said, p, reduction="none") - entropy).mean()


def reconstruction(made: Tensor, wanted: Tensor, mean: Tensor, std: Tensor, *, centred: bool, cells: float) -> Tensor:
    """1 - cosine of the pooled features, and ``cells`` times the mean squared difference of the standardised maps.

    made, wanted ``[b, d, h, w]``; mean, std ``[d]`` of the channels. ``centred``: the cosine of standardised features,
    which does not count what all pictures share.
    """
    shape = (1, -1, 1, 1)
    ours, theirs = ((x - mean.reshape(shape)) / std.reshape(shape) for x in (made, wanted))
    pooled = (ours.mean((2, 3)), theirs.mean((2, 3))) if centred else (made.mean((2, 3)), wanted.mean((2, 3)))
    return (1 - nf.cosine_similarity(*pooled)).mean() + cells * ((ours - theirs) ** 2).mean()


def stated(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of what a text states. logits ``[b, k]``; wanted ``[b]``, -1 = nothing is wanted."""
    asked = wanted >= 0
    if not bool(asked.any()):
        return logits.sum() * 0
    return nf.cross_entropy(logits[asked], wanted[asked])


def matching(z: Tensor, known: Tensor, fits: Tensor) -> Tensor:
    """How far z ``[b, w]`` is from the nearest example of ``known [k, w]`` that fits it (bool ``[b, k]``, at least
    one a row): 1 - cosine, mean."""
    cosines = nf.normalize(z.float(), dim=1) @ nf.normalize(known, dim=1).T
    return (1 - cosines.masked_fill(~fits, -2).amax(1)).mean()


def commitment(z: Tensor, again: Tensor) -> Tensor:
    """How far z is from the vector of its own words: 1 - cosine, mean. ``again`` is taken as a constant."""
    return (1 - nf.cosine_similarity(z, again.detach())).mean()


def straight_through(z: Tensor, again: Tensor) -> Tensor:
    """The value of ``again`` with the gradient of ``z``."""
    return z + (again - z).detach()


def weighted(terms: Mapping[str, Tensor], logs: Mapping[str, Tensor], stress: Mapping[str, float]) -> Tensor:
    """Sum of exp(-s) L + s (Kendall et al., CVPR 2018), each ``stress`` times where that names it."""
    parts = [stress.get(k, 1.0) * (torch.exp(-logs[k]) * v + logs[k]) for k, v in terms.items()]
    return torch.stack(parts).sum()
