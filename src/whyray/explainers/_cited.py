"""What a sentence rests on: explanations made before it, findings it cites, and what the classifier says of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cards import Card, Operation
from ..contracts import Context
from ..explanations import Statement
from ..models._predict import sigmoid
from ..text.labeller import RuleLabeller
from ..text.nle import EVIDENCE
from ..types import Radiograph

NO_SENTENCE = "the generator has learned no sentence on {words}"
NO_WORDS = "the generator ended before the first word on {words}"
NO_EVIDENCE = "no other explanation of {words} was made that a sentence could rest on"
UNSURE = 0.5


def made_of(context: Context, radiograph: Radiograph, finding: str) -> list[str]:
    """Keys of what was made before of a finding of this picture, statements left out."""
    return [
        f"{f}/{label}"
        for (sha256, f, label), made in context.earlier.items()
        if sha256 == radiograph.sha256 and f == finding and not isinstance(made, Statement)
    ]


def rests_on(context: Context, radiograph: Radiograph, findings: Sequence[str]) -> tuple[str, ...]:
    """The evidence of a sentence on the first of ``findings`` that cites the others."""
    return tuple(key for f in findings for key in made_of(context, radiograph, f))


def cited(text: str, finding: str) -> tuple[str, ...]:
    """Evidence that the sentence states or hedges, the finding itself left out."""
    states = RuleLabeller((*EVIDENCE,)).label(text)
    return tuple(f for f in EVIDENCE if f != finding and states.get(f) in ("positive", "uncertain"))


def probabilities(findings: Sequence[str], logits: Mapping[str, float], card: Card) -> dict[str, float]:
    """Calibrated probability of those of ``findings`` that the classifier predicts."""
    operations = {f: card.operations.get(f, Operation()) for f in findings if f in logits}
    return {f: sigmoid(o.slope * logits[f] + o.intercept) for f, o in operations.items()}


def doubts(findings: Sequence[str], probability: Mapping[str, float]) -> list[str]:
    """A note on each cited finding that the classifier does not predict, or does not believe in."""
    out = []
    for finding in findings:
        words = finding.replace("_", " ")
        if finding not in probability:
            out.append(f"The sentence cites {words}, which the classifier does not predict.")
        elif probability[finding] < UNSURE:
            share = 100 * probability[finding]
            out.append(f"The sentence cites {words}, to which the classifier gives {share:.0f} %.")
    return out
