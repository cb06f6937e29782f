"""What dpt, ratchet and tienet share: a sentence a finding, and what it rests on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..explanations import Explanation, Statement
from ..networks.decoding import Decoding, Written
from ..types import Provenance, Radiograph
from ._cited import NO_EVIDENCE, NO_SENTENCE, NO_WORDS, cited, doubts, made_of, probabilities, rests_on

if TYPE_CHECKING:
    from torch import Tensor

    from ..models._narrators import Sentences

NOTE = "A learned sentence: what such a picture is called, not what the classifier computed."


@dataclass(frozen=True)
class Narrated(Explainer):
    """A sentence that a trained network writes on each finding, from the last feature map and the prediction.

    beams     hypotheses of the search; 1 = greedy.
    repeat    no run of this many tokens comes twice; 0 = no such rule.
    longest   most tokens of a sentence.
    length    exponent of the length by which a sentence's log-probability is divided.
    sentences  the generator's folder; empty = the one that belongs to the classifier.

    It rests on the explanations of the finding, and of what the sentence cites, that were made before it. Checks:
    "log_probability" (mean a token), "ended" (0 where the sentence was cut off), and for what the sentence cites
    "probability_lung_opacity" ... where the classifier predicts it.
    """

    kind: ClassVar[str] = "statement"
    needs: ClassVar[frozenset[Capability]] = frozenset({"features"})
    requires: ClassVar[tuple[str, ...]] = ("gradcam",)
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
        """One Statement a finding; the findings of a picture share its pass. Why one has none is in
        ``context.abstained``."""
        import torch

        from ..models._narrators import KINDS

        asked = Asked(self, classifier, radiographs, findings, context)
        generator = context.resolved(KINDS[self.network], classifier, self._find, self.sentences)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            with torch.inference_mode():
                logits, taps = classifier.run(torch.from_numpy(frame.pixels)[None], ("features",))
                features = taps["features"].float().cpu()
                prediction = generator.prediction(logits.cpu(), features)
            values = dict(zip(classifier.findings, logits[0].double().tolist(), strict=True))
            made: dict[str, Explanation] = {}
            for finding in asked.findings:
                said = self._said(generator, features, prediction, finding, made_of(context, radiograph, finding))
                if isinstance(said, str):
                    context.abstained[radiograph.sha256, finding] = said
                else:
                    provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
                    made[finding] = _statement(finding, *said, values, provenance, asked)
            results.append(made)
            context.step((i + 1) / len(asked.frames))
        return results

    def _find(self, classifier: Classifier, folder: str) -> Sentences:
        from ..models._narrators import sentences_for

        return sentences_for(classifier, self.network, folder)

    def _said(
        self, generator: Sentences, features: Tensor, prediction: Tensor, finding: str, earlier: Sequence[str]
    ) -> tuple[str, Written] | str:
        """A sentence, or why there is none."""
        words = finding.replace("_", " ")
        if finding not in generator.diagnoses:
            return NO_SENTENCE.format(words=words)
        if not earlier:
            return NO_EVIDENCE.format(words=words)
        decoding = Decoding(self.beams, self.longest, self.repeat, self.length)
        text, written = generator.narrate(features, prediction, finding, decoding)
        return (text, written) if text else NO_WORDS.format(words=words)


def _statement(
    finding: str, text: str, written: Written, logits: dict[str, float], provenance: Provenance, asked: Asked
) -> Statement:
    """With what it cites beside what the classifier says of that."""
    evidence = cited(text, finding)
    known = probabilities(evidence, logits, asked.classifier.card)
    picture = next(r for r in asked.radiographs if r.sha256 == provenance.image_sha256)
    cut = () if written.ended else ("The sentence was cut off.",)
    return Statement(
        finding=finding,
        provenance=provenance,
        checks={
            "log_probability": written.score,
            "ended": float(written.ended),
            **{f"probability_{f}": p for f, p in known.items()},
        },
        notes=(*doubts(evidence, known), *cut, NOTE),
        text=text,
        audience="clinician",
        evidence=rests_on(asked.context, picture, (finding, *evidence)),
    )
