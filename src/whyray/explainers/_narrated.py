"""What dpt, ratchet and tienet share: a sentence a finding, and what it rests on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..cards import Operation
from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..explanations import Explanation, Statement
from ..models._predict import sigmoid
from ..networks.decoding import Decoding, Written
from ..text.labeller import RuleLabeller
from ..text.nle import EVIDENCE
from ..types import Provenance, Radiograph

if TYPE_CHECKING:
    from torch import Tensor

    from ..models._narrators import Sentences

NO_SENTENCE = "No sentence: the generator has learned none on {words}."
UNSURE = 0.5


@dataclass(frozen=True)
class Narrated(Explainer):
    """A sentence that a trained network writes on each finding, from the last feature map and the prediction.

    beams     hypotheses of the search; 1 = greedy.
    repeat    no run of this many tokens comes twice; 0 = no such rule.
    longest   most tokens of a sentence.
    length    exponent of the length by which a sentence's log-probability is divided.
    sentences  the generator's folder; empty = the one that belongs to the classifier.

    Checks: "log_probability" (mean a token), "learned" (0 where the generator knows no sentence on the finding),
    "ended" (0 where the sentence was cut off), and for what the sentence cites "probability_lung_opacity" ... where the
    classifier predicts it.
    """

    kind: ClassVar[str] = "statement"
    needs: ClassVar[frozenset[Capability]] = frozenset({"features"})
    cost: ClassVar[float] = 10.0
    network: ClassVar[Literal["dpt", "ratchet", "tienet"]]

    beams: int = 3
    repeat: int = 3
    longest: int = 48
    length: float = 1.0
    sentences: str = ""

    def __post_init__(self) -> None:
        in_range("beams", self.beams, 1, 32)
        in_range("repeat", self.repeat, 0, 32)
        in_range("longest", self.longest, 1, 256)
        in_range("length", self.length, 0, 4)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Statement a finding; the findings of a picture share its pass."""
        import torch

        asked = Asked(self, classifier, radiographs, findings, context)
        generator = self._generator(classifier, context)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            with torch.inference_mode():
                logits, taps = classifier.run(torch.from_numpy(frame.pixels)[None], ("features",))
                features = taps["features"].float().cpu()
                prediction = generator.prediction(logits.cpu(), features)
            made = {f: self._written(generator, features, prediction, f) for f in asked.findings}
            provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
            values = dict(zip(classifier.findings, logits[0].double().tolist(), strict=True))
            results.append(
                {f: _statement(f, text, written, values, provenance, asked) for f, (text, written) in made.items()}
            )
            context.step((i + 1) / len(asked.frames))
        return results

    def _generator(self, classifier: Classifier, context: Context) -> Sentences:
        from ..models._narrators import KINDS, sentences_for

        if context.artefact is not None and not self.sentences:
            found: Sentences = context.artefact(KINDS[self.network], classifier.fingerprint)
            return found
        return sentences_for(classifier, self.network, self.sentences)

    def _written(
        self, generator: Sentences, features: Tensor, prediction: Tensor, finding: str
    ) -> tuple[str, Written | None]:
        if finding not in generator.diagnoses:
            return NO_SENTENCE.format(words=finding.replace("_", " ")), None
        decoding = Decoding(self.beams, self.longest, self.repeat, self.length)
        return generator.narrate(features, prediction, finding, decoding)


def _statement(
    finding: str, text: str, written: Written | None, logits: dict[str, float], provenance: Provenance, asked: Asked
) -> Statement:
    """With its evidence: the prediction, that of each finding the sentence cites, and what explained these before."""
    cited = _cited(text, finding) if written else ()
    held = [f for f in cited if f in logits]
    probabilities = {f: _probability(asked, f, logits[f]) for f in held}
    earlier = [
        e.key for (sha, f, _), e in asked.context.earlier.items() if sha == provenance.image_sha256 and f == finding
    ]
    checks = {
        "learned": float(written is not None),
        "log_probability": written.score if written else float("nan"),
        "ended": float(written.ended) if written else float("nan"),
        **{f"probability_{f}": p for f, p in probabilities.items()},
    }
    return Statement(
        finding=finding,
        provenance=provenance,
        checks=checks,
        notes=_notes(written, cited, probabilities),
        text=text or "No sentence: the generator ended at once.",
        audience="clinician",
        evidence=(f"{finding}/prediction", *(f"{f}/prediction" for f in held), *dict.fromkeys(earlier)),
    )


def _notes(written: Written | None, cited: Sequence[str], probabilities: dict[str, float]) -> tuple[str, ...]:
    out = []
    for finding in cited:
        words = finding.replace("_", " ")
        if finding not in probabilities:
            out.append(f"The sentence cites {words}, which the classifier does not predict.")
        elif probabilities[finding] < UNSURE:
            share = 100 * probabilities[finding]
            out.append(f"The sentence cites {words}, to which the classifier gives {share:.0f} %.")
    if written and not written.ended:
        out.append("The sentence was cut off.")
    if written:
        out.append("A learned sentence: what such a picture is called, not what the classifier computed.")
    return tuple(out)


def _cited(text: str, finding: str) -> tuple[str, ...]:
    """Evidence that the sentence states or hedges, the finding itself left out."""
    states = RuleLabeller((*EVIDENCE,)).label(text)
    return tuple(f for f in EVIDENCE if f != finding and states.get(f) in ("positive", "uncertain"))


def _probability(asked: Asked, finding: str, logit: float) -> float:
    operation = asked.classifier.card.operations.get(finding, Operation())
    return sigmoid(operation.slope * logit + operation.intercept)
