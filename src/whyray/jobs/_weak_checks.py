"""What must hold of sentences that were learned without pairs, said before the numbers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..types import Score
from ._weak_planted import EVIDENCE, PLANTED
from ._weak_regenerated import LABEL, LABEL_EXAMPLES, LATENT, SAME_LABEL, SHUFFLED, SHUFFLED_LATENT, SILENCE
from ._weak_rows import EXPLAINED, GAINS
from ._weak_said import FIXED, GENERATED
from ._weak_table import ALL, Table

HALF, GOAL = 0.5, 0.8  # share of the gain that the words must keep, and should


@dataclass(frozen=True)
class Check:
    """One demand, in words; the row it is read from; whether it holds (its interval lies on the right side)."""

    demand: str
    score: Score
    holds: bool


def checks_of(table: Table, writers: Sequence[str]) -> tuple[Check, ...]:
    """All that can be asked of this table; differences with every other writer are made on the way."""
    out: list[Check] = []
    for metric in GAINS:
        worse = ((LATENT, SHUFFLED_LATENT), (GENERATED, SHUFFLED), (GENERATED, SAME_LABEL), (GENERATED, LABEL),
                 (GENERATED, LABEL_EXAMPLES), (GENERATED, SILENCE))  # fmt: skip
        for first, second in worse:
            out += _above(table, f"{metric}: {first} is nearer to the picture than {second}", first, second, metric)
        out += _kept(table, metric)
    for other in (w for w in writers if w != GENERATED):
        told = f"simulatability with names masked: {GENERATED} beats {other}"
        found = _above(table, told, GENERATED, other, "simulatability", ALL)
        out += found if other == FIXED or other.partition(":")[0] == "template" else []
        for metric in ("simulatability_encoded", "las"):
            table.compare(GENERATED, other, metric, ALL)
        for metric in (*GAINS, "label_agreement", "retrieval_at_1", "retrieval_at_10"):
            table.compare(GENERATED, other, metric, EXPLAINED)
    for name in ("side", "severity"):
        apart = f"pictures of one label that differ in {name}"
        for verb, told in (("differ", "get different sentences"), ("name", f"are given another {name}")):
            metrics = f"{verb}_other_{name}", f"{verb}_same_{name}"
            demand = f"{apart} {told} more often than those that do not"
            out += _above(table, demand, GENERATED, GENERATED, metrics[0], PLANTED, metrics[1])
    for slice_ in (PLANTED, EVIDENCE):
        told = f"the side that is named is right more often than chance ({slice_})"
        out += _above(table, told, GENERATED, GENERATED, "side_right", slice_, "side_chance")
        for name in ("side", "severity"):
            score = table.find(GENERATED, f"pairs_right_{name}", slice_)
            if score is not None:
                told = f"of two sentences that differ in {name}, the difference is right more often than not ({slice_})"
                out.append(Check(told, score, score.low > 0.5))
    return tuple(out)


def _above(
    table: Table, demand: str, first: str, second: str, metric: str, slice_: str = EXPLAINED, metric_other: str = ""
) -> list[Check]:
    gap = table.compare(first, second, metric, slice_, metric_other)
    return [] if gap is None or math.isnan(gap.value) else [Check(demand, gap, gap.low > 0)]


def _kept(table: Table, metric: str) -> list[Check]:
    score = table.find(GENERATED, metric.replace("feature_cosine", "gain_kept"), EXPLAINED)
    if score is None or math.isnan(score.value):
        return []
    words = f"{metric}: the words keep at least {HALF:.0%} of the latent's gain over the label alone (goal {GOAL:.0%})"
    return [Check(words, score, score.value >= HALF)]
