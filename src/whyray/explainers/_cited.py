"""What a sentence rests on: explanations made before it, findings it cites, and what the classifier says of those."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from ..cards import Card, Operation
from ..contracts import Asked, Context
from ..explanations import Attribution, Statement
from ..models._predict import predictions, sigmoid
from ..text.labeller import RuleLabeller
from ..text.lay_evidence import lay_evidence
from ..text.nle import EVIDENCE
from ..types import Radiograph
from ._template_words import Audience, in_hundred, name_of

NO_SENTENCE = "the generator has learned no sentence on {words}"
NO_WORDS = "the generator ended before the first word on {words}"
NOT_CALLED = "the classifier does not call {words} (uncalled=true: a sentence all the same)"
NO_EVIDENCE = "no other explanation of {words} was made that a sentence could rest on"
UNSURE = 0.5


@cache
def words() -> dict[str, dict[str, str]]:
    """The tables of ``cited.toml``."""
    return tomllib.loads((files(__package__) / "cited.toml").read_text(encoding="utf-8"))


def made_of(context: Context, radiograph: Radiograph, finding: str) -> list[str]:
    """Keys of what was made before of a finding of this picture, statements left out."""
    return [
        f"{f}/{label}"
        for (sha256, f, label), made in context.earlier.items()
        if sha256 == radiograph.sha256 and f == finding and not isinstance(made, Statement)
    ]


def map_of(context: Context, radiograph: Radiograph, finding: str) -> Attribution | None:
    """The map of gradcam that was made before of a finding of this picture, if it is no lateral."""
    if radiograph.view == "LATERAL":
        return None
    found = (
        made
        for (sha256, f, label), made in context.earlier.items()
        if (sha256, f) == (radiograph.sha256, finding) and label.partition(":")[0] == "gradcam"
    )
    return next((made for made in found if isinstance(made, Attribution)), None)


def rests_on(context: Context, radiograph: Radiograph, findings: Sequence[str]) -> tuple[str, ...]:
    """The evidence of a sentence on the first of ``findings`` that cites the others."""
    return tuple(key for f in findings for key in made_of(context, radiograph, f))


def cited(text: str, finding: str, audience: Audience = "clinician") -> tuple[str, ...]:
    """Evidence that the sentence states or hedges in its audience's words, the finding itself left out."""
    if audience == "lay":
        found = lay_evidence(text, finding)
        return tuple(f for f in EVIDENCE if f in found)
    states = RuleLabeller((*EVIDENCE,)).label(text)
    return tuple(f for f in EVIDENCE if f != finding and states.get(f) in ("positive", "uncertain"))


@dataclass(frozen=True, eq=False)
class Speaking:
    """One radiograph that is spoken of: on which findings, and why not on the others.

    logits    finding -> the classifier's.
    uncalled  whether it is also spoken of findings that the classifier does not call.
    """

    asked: Asked
    radiograph: Radiograph
    logits: Mapping[str, float]
    uncalled: bool

    def may_speak(self, finding: str, learned: bool) -> bool:
        """Whether a sentence is written at all; else the reason is recorded. ``learned``: the generator knows some."""
        if not learned:
            return self.abstain(finding, NO_SENTENCE)
        if not made_of(self.asked.context, self.radiograph, finding):
            return self.abstain(finding, NO_EVIDENCE)
        if not (self.uncalled or self.called(finding)):
            return self.abstain(finding, NOT_CALLED)
        return True

    def abstain(self, finding: str, reason: str, **filled: str) -> bool:
        """Record why there is no sentence."""
        words = finding.replace("_", " ")
        self.asked.context.abstained[self.radiograph.sha256, finding] = reason.format(words=words, **filled)
        return False

    def called(self, finding: str) -> bool:
        """Whether the classifier calls a finding, by its card."""
        card = self.asked.classifier.card
        return predictions(np.array([[self.logits[finding]]]), (finding,), card)[0][0].positive


def probabilities(findings: Sequence[str], logits: Mapping[str, float], card: Card) -> dict[str, float]:
    """Calibrated probability of those of ``findings`` that the classifier predicts."""
    operations = {f: card.operations.get(f, Operation()) for f in findings if f in logits}
    return {f: sigmoid(o.slope * logits[f] + o.intercept) for f, o in operations.items()}


def doubts(findings: Sequence[str], probability: Mapping[str, float], audience: Audience = "clinician") -> list[str]:
    """A note on each cited finding that the classifier does not predict, or does not believe in."""
    table, lay, out = words()[audience], audience == "lay", []
    for finding in findings:
        name = name_of(finding, "lay") if lay else finding.replace("_", " ")
        if finding not in probability:
            out.append(table["not_predicted"].format(words=name))
        elif (p := probability[finding]) < UNSURE:
            share = in_hundred(p) if lay else f"{100 * p:.0f} %"
            out.append(table["unsure"].format(words=name, share=share))
    return out
