"""CLEV: does a generated explanation rest on the same clinical evidence as its reference? (Kayser et al., 2022)

Evidence is the set of lung opacity, consolidation, lung lesion and enlarged cardiomediastinum that a sentence states or
hedges; an empty set counts as one. Right is the same set. A constant answer is right as often as its set is frequent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..findings import crosswalk
from ..text.labeller import Labeller
from ..text.nle import EVIDENCE
from ._intervals import known_mean
from ._terms import Term, mean_term, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LABELS = tuple(crosswalk("mimic-nle-10").values())
MAJORITY = frozenset({"lung_opacity"})
Evidence = frozenset[str]


def cited(text: str, diagnosis: str, labeller: Labeller) -> Evidence:
    """The evidence of one sentence, by a labeller; what it is an explanation of is no evidence for itself."""
    return _of_states(labeller.label(text)) - {diagnosis}


def published(label: Sequence[int]) -> Evidence:
    """The evidence of a line of MIMIC-NLE: its ``evidence_label [10]``."""
    return frozenset(name for name, on in zip(LABELS, label, strict=True) if on and name in EVIDENCE)


def clev_terms(found: Sequence[Evidence], wanted: Sequence[Evidence], signature: str) -> list[Term]:
    """ "clev" (share of equal sets) and "macro_clev" (its mean over the sets that references hold), 0..1."""
    right = np.array([a == b for a, b in zip(found, wanted, strict=True)], np.float64)
    return [
        mean_term("clev", f"CLEV|match:exact set|{signature}", right),
        Term(
            "macro_clev", f"macro-CLEV|match:exact set|over:sets in the references|{signature}", _macro(right, wanted)
        ),
    ]


def _macro(right: Array, wanted: Sequence[Evidence]) -> Any:
    sets = list(Counter(wanted))
    member = np.array([[w == s for s in sets] for w in wanted], np.float64).reshape(len(wanted), len(sets))

    def measure(weights: Array) -> Array:
        return known_mean(share(weights @ (member * right[:, None]), weights @ member), axis=-1)

    return measure


def _of_states(states: Mapping[str, str]) -> Evidence:
    return frozenset(name for name in EVIDENCE if states.get(name) in ("positive", "uncertain"))
