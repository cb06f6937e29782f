"""Explanations in reports: which sentence explains which diagnosis by which evidence, and which rule said so.

A rule set rebuilt for any report corpus (after MIMIC-NLE, Kayser et al., MICCAI 2022, whose own keyword lists are not
published): labels of the sentence, the published graph of evidence and diagnosis, cues that join the two, exclusions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..findings import crosswalk
from ._lexicon import Lexicon, lowered, rules
from .labeller import GENERAL, Mention, mentions, states

LABELS = tuple(crosswalk("mimic-nle-10").values())
EVIDENCE = ("lung_opacity", "consolidation", "lung_lesion", "enlarged_cardiomediastinum")
# which evidence the released labels give for which diagnosis; nothing else occurs in dev and test
GRAPH: dict[str, frozenset[str]] = {
    "atelectasis": frozenset({"lung_opacity", "consolidation"}),
    "pneumonia": frozenset({"lung_opacity", "consolidation", "lung_lesion"}),
    "edema": frozenset({"lung_opacity", "enlarged_cardiomediastinum"}),
    "pleural_effusion": frozenset({"lung_opacity"}),
    "consolidation": frozenset({"lung_opacity"}),
    "pleural_other": frozenset({"lung_opacity"}),
    "pneumothorax": frozenset({"lung_opacity"}),
}
# diagnoses that a sentence may explain by evidence outside the labels (blunted angles, vessels, a pleural line)
OTHER_EVIDENCE = frozenset({"edema", "pleural_effusion", "pleural_other", "pneumothorax"})
_CLOSE = 40  # characters
# a word that can name something seen: none of those by which a sentence only points at the one before it
_SEEN = re.compile(
    r"\b(?!(?:this|these|it|that|which|and|or|the|a|an|of|in|is|are|be|was|has|have|related|due|secondary|may|might|could|also|as|most|more|all|overall"
    r"|there|findings?|features?|appearances?|constellation|pattern|picture|changes?|radiographic|imaging|nonspecific)\b)[a-z]{2,}"
)
_BLANK = re.compile(r"_{2,}|\bXXXX\b")


@dataclass(frozen=True)
class Explanation:
    """What the rules say of one sentence.

    explains         whether it is an explanation.
    diagnosis_label  [10] 0/1 over MIMIC-NLE's labels: what it explains.
    evidence_label   [10] 0/1: what it cites; all 0 where the evidence is none of the labels.
    img_labels       [10][3] of this sentence alone: negative, uncertain, positive (absent counts as negative).
    trace            the rules that decided, in the order they were asked; the last one settles it.
    """

    sentence: str
    explains: bool
    diagnosis_label: tuple[int, ...]
    evidence_label: tuple[int, ...]
    img_labels: tuple[tuple[int, int, int], ...]
    trace: tuple[str, ...]

    @property
    def diagnoses(self) -> tuple[str, ...]:
        """Canonical ids of what it explains."""
        return tuple(label for label, on in zip(LABELS, self.diagnosis_label) if on)

    @property
    def evidence(self) -> tuple[str, ...]:
        """Canonical ids of what it cites."""
        return tuple(label for label, on in zip(LABELS, self.evidence_label) if on)


def explain(sentence: str) -> Explanation:
    """Whether a sentence explains a diagnosis, and by what."""
    found = tuple(m for m in mentions(sentence) if m.counts)
    low = lowered(sentence)
    refused = _refusal(sentence, low, found)
    if refused:
        return _result(sentence, found, {}, (refused,))
    joins = [(hit.start, hit.end, rules("cues")[hit.rule].name) for hit in _cues().find(low)]
    if not joins:
        return _result(sentence, found, {}, ("no cue joins evidence and diagnosis",))
    explained, trace = _explained(low, found, joins)
    return _result(sentence, found, explained, trace)


def _refusal(sentence: str, low: str, found: tuple[Mention, ...]) -> str:
    """The exclusion that holds, or ""."""
    live = [m for m in found if m.state != "negative" and _general(m) in LABELS]
    if not live:
        return "no finding of the labels is positive or uncertain"
    if _BLANK.search(sentence):
        return "excluded: an anonymised blank"
    for hit in _exclusions().find(low):
        return f"excluded: {rules('exclusions')[hit.rule].name}"
    if all(m.assertion.comparison for m in live):
        return "excluded: only a comparison with an earlier film"
    return ""


def _explained(
    low: str, found: tuple[Mention, ...], joins: list[tuple[int, int, str]]
) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """Diagnosis -> its evidence in this sentence, with the trace."""
    out: dict[str, frozenset[str]] = {}
    trace: list[str] = []
    for mention in found:
        diagnosis = _general(mention)
        if diagnosis not in GRAPH or mention.state == "negative" or diagnosis in out:
            continue
        cue = _joined(mention, found, joins)
        if cue is None:
            trace.append(f"{diagnosis}: no cue beside it")
            continue
        evidence = _cited(found, cue[0]) & GRAPH[diagnosis]
        if not evidence and diagnosis in OTHER_EVIDENCE and not _SEEN.search(low, 0, cue[0]):
            trace.append(f"{diagnosis}: nothing seen is named before the cue")
        elif evidence or diagnosis in OTHER_EVIDENCE:
            out[diagnosis] = evidence
            by = " and ".join(sorted(evidence)) or "evidence outside the labels"
            trace.append(f"{diagnosis} by {by}, joined by {cue[1]}")
        else:
            trace.append(f"{diagnosis}: no evidence that the graph allows")
    return out, tuple(trace) or ("no diagnosis of the graph is positive or uncertain",)


def _cited(found: tuple[Mention, ...], cue: int) -> frozenset[str]:
    """Evidence named before the cue: what comes after it is another reading, not what was seen."""
    return frozenset(_general(m) for m in found if m.end <= cue and m.state != "negative" and _general(m) in EVIDENCE)


def _joined(mention: Mention, found: tuple[Mention, ...], joins: list[tuple[int, int, str]]) -> tuple[int, str] | None:
    """Place and name of the cue that leads to a diagnosis: the nearest before it with only readings between, or a
    hedge close after it, with no finding between."""
    before = [j for j in joins if j[1] <= mention.start]
    if before:
        start, end, name = max(before)
        between = [m for m in found if end <= m.start and m.end <= mention.start]
        if all(_general(m) in GRAPH or _general(m) in EVIDENCE or m.state == "negative" for m in between):
            return start, name
    for start, _, name in joins:
        if 0 <= start - mention.end < _CLOSE and name.startswith("hedge"):
            return (mention.start, name) if not any(mention.end <= m.start < start for m in found) else None
    return None


def _general(mention: Mention) -> str:
    return GENERAL.get(mention.finding, mention.finding)


def _result(
    sentence: str, found: tuple[Mention, ...], explained: dict[str, frozenset[str]], trace: tuple[str, ...]
) -> Explanation:
    cited = frozenset().union(*explained.values()) if explained else frozenset()
    state = states(found, LABELS)
    rows = {"positive": (0, 0, 1), "uncertain": (0, 1, 0), "negative": (1, 0, 0), "absent": (1, 0, 0)}
    return Explanation(
        sentence,
        bool(explained),
        tuple(int(label in explained) for label in LABELS),
        tuple(int(label in cited) for label in LABELS),
        tuple(rows[state[label]] for label in LABELS),
        trace,
    )


@cache
def _cues() -> Lexicon:
    return Lexicon(rules("cues"))


@cache
def _exclusions() -> Lexicon:
    return Lexicon(rules("exclusions"))
