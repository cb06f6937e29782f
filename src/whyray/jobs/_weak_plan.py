"""What to measure of sentences that were learned without pairs; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

REPLICATES = 2000


@dataclass(frozen=True)
class WeakPlan:
    """What to measure.

    audience   whom the generator speaks to.
    voices     explainers that speak, to compare with; one that cannot work here is skipped, with its reason.
    database   shipped or CSV: sentences the generator did not learn from; empty = the one of the audience.
    constant   the sentence that is said of every finding; empty = one of ours.
    bertscore  folder of an encoder; empty = no BERTScore.
    limit      most pictures; ``seed``, ``replicates`` of everything drawn.
    """

    audience: str = "clinician"
    voices: tuple[str, ...] = ("template", "dpt", "ratchet")
    database: str = ""
    constant: str = ""
    bertscore: str = ""
    limit: int | None = None
    seed: int = 0
    replicates: int = REPLICATES


USUAL = WeakPlan()
