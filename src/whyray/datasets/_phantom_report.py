"""A two-section report from the planted factors, with the truth of every sentence.

Evidence leads to diagnosis only along the edges found in MIMIC-NLE (Kayser et al. 2022, arXiv 2207.04343). A reader is
unsure of what is faint, leaves most absent findings unsaid, and now and then offers a diagnosis that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import _phantom_words as words
from ._phantom_factors import stream
from ._phantom_findings import Lesion

State = Literal["positive", "uncertain", "negative"]
Section = Literal["findings", "impression"]
# diagnosis -> findings that may be cited for it; None: evidence without a label
EDGES: dict[str, tuple[str | None, ...]] = {
    "atelectasis": ("lung_opacity", "consolidation"),
    "consolidation": ("lung_opacity",),
    "edema": ("lung_opacity", "enlarged_cardiomediastinum", None),
    "pleural_effusion": ("lung_opacity", None),
    "pneumonia": ("lung_opacity", "consolidation", "lung_lesion"),
    "pneumothorax": ("lung_opacity", None),
}


@dataclass(frozen=True)
class Sentence:
    """One sentence and what it claims.

    states     finding -> "positive", "uncertain" or "negative", as the words say (the labels say what is true).
    diagnosis  what the sentence explains, "" where it explains nothing; evidence: the findings it cites for it.
    """

    text: str
    section: Section
    states: Mapping[str, State]
    diagnosis: str = ""
    evidence: tuple[str, ...] = ()


def write_report(
    n: int, lesions: Sequence[Lesion], devices: Sequence[str], severities: Mapping[str, float]
) -> tuple[tuple[Sentence, ...], dict[str, str]]:
    """Sentences of case ``n``, and the text of the sections "findings" and "impression"."""
    rng = stream(n, "report")
    seen = [_device(rng, kind) for kind in devices]
    thought: list[Sentence] = []
    for lesion in lesions:
        state: State = "uncertain" if rng.random() < (0.65 if lesion.severity < 0.3 else 0.1) else "positive"
        _describe(rng, lesion, state, severities, seen, thought)
    said = {finding: state for sentence in (*seen, *thought) for finding, state in sentence.states.items()}
    seen += _negatives(rng, severities, said)
    order = rng.permutation(len(seen))
    if not thought:
        thought.append(_summary(rng, lesions, said))
    sentences = (*(seen[i] for i in order), *thought)
    return sentences, {
        section: " ".join(s.text for s in sentences if s.section == section) for section in ("findings", "impression")
    }


def _describe(
    rng: np.random.Generator,
    lesion: Lesion,
    state: State,
    severities: Mapping[str, float],
    seen: list[Sentence],
    thought: list[Sentence],
) -> None:
    """Say what was seen, and mostly why it means what it means."""
    guess = _guess(rng, lesion) if state == "positive" else ""
    if guess:
        seen.append(_plain(rng, lesion, state, "findings"))
        thought.append(_explained(rng, lesion, "uncertain", guess, lesion.finding, "impression"))
    elif lesion.finding in EDGES and rng.random() < 0.75:
        evidence = _evidence(rng, lesion, severities)
        section: Section = "impression" if rng.random() < 0.7 else "findings"
        into = thought if section == "impression" else seen
        into.append(_explained(rng, lesion, state, lesion.finding, evidence, section))
    else:
        seen.append(_plain(rng, lesion, state, "findings"))
        if rng.random() < 0.5:
            thought.append(_plain(rng, lesion, state, "impression"))


def _guess(rng: np.random.Generator, lesion: Lesion) -> str:
    """A diagnosis offered for an opacity or a consolidation of no stated cause: it may well not be there."""
    if lesion.finding not in ("lung_opacity", "consolidation") or rng.random() > 0.5:
        return ""
    return "pneumonia" if rng.random() < 0.65 else "atelectasis"


def _evidence(rng: np.random.Generator, lesion: Lesion, severities: Mapping[str, float]) -> str | None:
    """What is cited: only what is there."""
    if lesion.finding == "pneumonia":
        return "consolidation" if lesion.severity >= 0.5 else "lung_opacity"
    if lesion.finding in ("atelectasis", "consolidation"):
        return "lung_opacity"
    if lesion.finding == "edema":
        if "cardiomegaly" in severities and rng.random() < 0.25:
            return "enlarged_cardiomediastinum"
        return "lung_opacity" if rng.random() < 0.45 else None
    return None


def _plain(rng: np.random.Generator, lesion: Lesion, state: State, section: Section) -> Sentence:
    table = words.SEEN if state == "positive" else words.HEDGED
    return Sentence(_filled(_pick(rng, table[lesion.finding]), lesion), section, {lesion.finding: state})


def _explained(
    rng: np.random.Generator, lesion: Lesion, state: State, diagnosis: str, evidence: str | None, section: Section
) -> Sentence:
    """``evidence cue diagnosis``: cited evidence is positive, the diagnosis positive or uncertain."""
    phrase = _pick(rng, words.OTHER_EVIDENCE[diagnosis] if evidence is None else words.EVIDENCE[evidence])
    cue = _pick(rng, words.SURE if state == "positive" else words.UNSURE)
    text = _filled(f"{phrase} {cue} {words.NAMES[diagnosis]}.", lesion)
    cited: dict[str, State] = {} if evidence is None else {evidence: "positive"}
    names = () if evidence is None else (evidence,)
    return Sentence(text[0].upper() + text[1:], section, {**cited, diagnosis: state}, diagnosis, names)


def _summary(rng: np.random.Generator, lesions: Sequence[Lesion], said: Mapping[str, State]) -> Sentence:
    """An impression never stays empty: the most marked finding once more, or that there is none."""
    if not lesions:
        return Sentence(_pick(rng, words.NORMAL), "impression", {"no_finding": "positive"})
    worst = max(lesions, key=lambda lesion: lesion.severity)
    return _plain(rng, worst, said.get(worst.finding, "positive"), "impression")


def _negatives(rng: np.random.Generator, severities: Mapping[str, float], said: Mapping[str, State]) -> list[Sentence]:
    """Absent findings that are mentioned, two to a sentence at most."""
    often = {"pleural_effusion": 0.75, "pneumothorax": 0.75, "cardiomegaly": 0.5, "consolidation": 0.5, "edema": 0.35}
    opacity = {"atelectasis", "consolidation", "edema", "pneumonia", "lung_opacity"}
    hidden = {*said, *({"lung_opacity"} if opacity & set(severities) else ())}
    hidden |= {"consolidation"} if severities.get("pneumonia", 0.0) >= 0.5 else set()
    absent = [f for f in words.ABSENT if f not in severities and f not in hidden and rng.random() < often.get(f, 0.15)]
    absent = [absent[i] for i in rng.permutation(len(absent))]
    out = []
    while absent:
        group = [absent.pop() for _ in range(min(len(absent), int(rng.integers(1, 3))))]
        what = " or ".join(words.ABSENT[f] for f in group)
        out.append(Sentence(_pick(rng, words.NEGATIVE).format(what=what), "findings", {f: "negative" for f in group}))
    return out


def _device(rng: np.random.Generator, kind: str) -> Sentence:
    article = "" if kind == "ECG leads" else "an " if kind[0] in "ae" else "a "
    what = article + kind
    text = _pick(rng, words.DEVICE[:1] if not article else words.DEVICE)
    text = text.format(what=what, What=what[0].upper() + what[1:])
    return Sentence(text, "findings", {"support_devices": "positive"})


def _filled(template: str, lesion: Lesion) -> str:
    """Side, place and size in words."""
    zone = lesion.place if lesion.place in ("upper", "mid", "lower") else "lower"
    if lesion.place == "perihilar":
        place, adjective = "the perihilar regions", "bilateral perihilar"
    elif lesion.side == "both":
        place, adjective = f"both {zone} zones", f"bilateral {zone} zone"
    else:
        place, adjective = f"the {lesion.side} {zone} zone", f"{lesion.side} {zone} zone"
    size = f"{lesion.size_cm:.2f}" if lesion.finding == "cardiomegaly" else f"{lesion.size_cm:.1f}"
    return template.format(
        side=lesion.side, place=place, adj=adjective, Adj=adjective[0].upper() + adjective[1:], size=size
    )


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
