"""Are sentences right? What they say beside what was planted in a phantom, and beside the classifier's own evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Dataset
from ..metrics._clev import cited, clev_terms
from ..metrics._terms import Term
from ..metrics.language import overlap_terms
from ..metrics.weak_language import agreeing, by_case, differing, of_rows, ordered
from ..text.attributes import severity_of, side_of
from ..text.labeller import Labeller, RuleLabeller
from ..text.nle_database import SHIPPED
from ..training._wenlex_asked import LEANING, left_share
from ..types import Case
from ._language_pairs import LABELS
from ._weak_said import Rows, Said
from ._weak_seen import Seen
from ._weak_table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PLANTED, EVIDENCE, REFERENCES = "planted", "classifier's evidence", "references"
FAINT, STRONG = 1 / 3, 2 / 3  # planted severities below, and from which on, pairs are formed
MARKED = {"marked": True, "slight": False}
RIGHT = {"right": True, "left": False}
Reference = tuple[int, str, str, frozenset[str]]
"""number of the picture, diagnosis, sentence, the evidence that it cites"""


def planted_rows(table: Table, seen: Seen, rows: Rows, writers: Mapping[str, Said]) -> bool:
    """Side and severity as planted, over sentences on planted findings; False where nothing is known of any."""
    if not any("sites" in c.facts and "severities" in c.facts for c in seen.cases):
        return False
    told = {i: _planted(seen.cases[c], f) for i, (c, f) in enumerate(_pairs(rows))}
    found = {i: one for i, one in told.items() if one is not None}
    mine = np.array(list(found), np.int64)
    sides, severities = [side for side, _ in found.values()], [severity for _, severity in found.values()]
    for label, said in writers.items():
        _attribute_rows(table, label, said, rows, mine, sides, severities, PLANTED)
    return True


def evidence_rows(table: Table, seen: Seen, rows: Rows, writers: Mapping[str, Said]) -> bool:
    """The same beside the side where the classifier's positive evidence lies, and its logit as the severity.

    Evidence is what a cell adds to the logit above the mean picture; a side has at least ``LEANING`` of it. False where
    the classifier has no linear read-out.
    """
    if not seen.evidence.size:
        return False
    grid = _grid(seen)
    left = left_share((seen.evidence - seen.evidence.mean(axis=0)).astype(np.float32), grid)
    column = {f: j for j, f in enumerate(seen.classifier.findings)}
    shares = [float(left[c, column[f]]) for c, f in _pairs(rows)]
    sides = ["left" if s >= LEANING else "right" if s <= 1 - LEANING else "" for s in shares]
    logits = [float(seen.logits[c, column[f]]) for c, f in _pairs(rows)]
    for label, said in writers.items():
        _attribute_rows(table, label, said, rows, np.arange(len(rows.findings)), sides, logits, EVIDENCE)
    return True


def _attribute_rows(
    table: Table,
    label: str,
    said: Said,
    rows: Rows,
    mine: NDArray[np.int64],
    sides: Sequence[str],
    strengths: Sequence[float],
    slice_: str,
) -> None:
    """Rows of one writer over the sentences ``mine``, whose true sides and strengths these are."""
    case, group = rows.case[mine], [rows.findings[i] for i in mine]
    texts = [said.texts[i] for i in mine]
    spoken = [side_of(t) for t in texts]
    strong = [MARKED.get(severity_of(t)) for t in texts]
    named = np.array([s != "" for s in sides])
    stated = np.where(named, [s != "" for s in spoken], np.nan)
    right, chance, p_right = agreeing(spoken, sides, group)
    way, p_way = ordered([RIGHT.get(s) for s in spoken], [float(RIGHT.get(s, np.nan)) for s in sides], group)
    degree, p_degree = ordered(strong, strengths, group)
    known = [bool(a and b) for a, b in zip(spoken, sides, strict=True)]
    whole = len(mine)
    table.add(
        label, [of_rows("side_stated", "share that names a side", stated, case, rows.n)], int(named.sum()), slice_
    )
    both = [_named(right, "side_right", case), _named(chance, "side_chance", case)]
    table.add(label, both, sum(known), slice_, _p(p_right))
    table.add(label, [_named(way, "pairs_right_side", case)], sum(known), slice_, _p(p_way))
    graded = [float(s is not None) for s in strong]
    share = of_rows("severity_stated", "share that names a severity", graded, case, rows.n)
    table.add(label, [share], whole, slice_)
    table.add(label, [_named(degree, "pairs_right_severity", case)], int(sum(graded)), slice_, _p(p_degree))
    if slice_ == PLANTED:
        kinds = ["faint" if s < FAINT else "strong" if s >= STRONG else "" for s in strengths]
        one_sided = [s if s in RIGHT else "" for s in sides]
        degrees = [severity_of(t) for t in texts]
        for name, truth, named_so in (("side", one_sided, spoken), ("severity", kinds, degrees)):
            said_so = [t if n else "" for t, n in zip(truth, named_so, strict=True)]
            for verb, words, where in (("differ", texts, truth), ("name", named_so, said_so)):
                other, same, p = differing(words, where, group)
                terms = [_named(other, f"{verb}_other_{name}", case), _named(same, f"{verb}_same_{name}", case)]
                table.add(label, terms, sum(t != "" for t in where), slice_, _p(p))


def reference_rows(
    table: Table,
    rows: Rows,
    writers: Mapping[str, Said],
    references: Sequence[Reference],
    bertscore: str,
    labeller: Labeller | None = None,
) -> dict[str, str]:
    """Overlap and CLEV beside references; a finding that the classifier did not call counts as an empty sentence.

    Returns what could not run, and why.
    """
    labeller = labeller or RuleLabeller(LABELS)
    at = {(int(c), f): i for i, (c, f) in enumerate(_pairs(rows))}
    case = np.array([c for c, *_ in references], np.int64)
    real = [text for _, _, text, _ in references]
    wanted = [cites - {d} for _, d, _, cites in references]
    skipped: dict[str, str] = {}
    for label, said in writers.items():
        texts = [said.texts[at[c, d]] if (c, d) in at else "" for c, d, *_ in references]
        overlap = overlap_terms(texts, real, bertscore or None)
        found = [cited(t, d, labeller) for t, (_, d, *_) in zip(texts, references, strict=True)]
        terms = [*overlap.terms, *clev_terms(found, wanted, f"labeller:{type(labeller).__name__}")]
        table.add(label, [by_case(t, case) for t in terms], len(references), REFERENCES)
        skipped |= overlap.skipped
    return skipped


def phantom_references(
    dataset: Dataset, cases: Sequence[Case], diagnoses: Sequence[str], audience: str, seed: int
) -> list[Reference]:
    """Of what was planted in phantoms, in phrases that no training sentence has; none for other pictures."""
    from ..datasets._phantom_nle import Audience, explaining
    from ..datasets.phantom import PhantomSet

    if not isinstance(getattr(dataset, "whole", dataset), PhantomSet) or audience not in SHIPPED:
        return []
    spoken: Audience = "lay" if audience == "lay" else "clinician"
    out: list[Reference] = []
    for i, case in enumerate(cases):
        rng = np.random.default_rng([seed, i])
        made = explaining(case.facts, test=True, rng=rng, audience=spoken)
        out += [(i, e.diagnosis, e.text, frozenset(e.cites)) for e in made if e.diagnosis in diagnoses]
    return out


def _planted(case: Case, finding: str) -> tuple[str, float] | None:
    """Side ("" where none is known) and severity of a finding as planted; None where it was not."""
    sites: Any = case.facts.get("sites", {})
    severities: Any = case.facts.get("severities", {})
    return (sites.get(finding, {}).get("side", ""), float(severities[finding])) if finding in severities else None


def _pairs(rows: Rows) -> list[tuple[int, str]]:
    return list(zip(rows.case.tolist(), rows.findings, strict=True))


def _grid(seen: Seen) -> tuple[int, int]:
    h, w = seen.maps([0]).shape[2:]
    return h, w


def _named(term: Term, name: str, case: NDArray[Any]) -> Term:
    return by_case(Term(name, term.signature, term.measure, term.better), case)


def _p(value: float) -> str:
    return f"p {value:.2g}, dealt out within a finding"
