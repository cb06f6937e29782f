"""What dpt, ratchet and tienet share: a sentence a finding, and what it rests on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..errors import SettingError
from ..explanations import Explanation, Statement
from ..networks.decoding import Decoding, Written
from ..types import Provenance, Radiograph
from ._cited import NO_WORDS, Speaking, cited, doubts, map_of, probabilities, rests_on, words
from ._named_place import named_place
from ._place import lungs
from ._template_words import AUDIENCES, Audience

if TYPE_CHECKING:
    from ..models._narrators import Sentences


@dataclass(frozen=True)
class Narrated(Explainer):
    """A sentence that a trained network writes on each called finding, from the last feature map and the prediction.

    audience  "clinician" or "lay": each has a generator of its own.
    beams     hypotheses of the search; 1 = greedy.
    repeat    no run of this many tokens comes twice; 0 = no such rule.
    longest   most tokens of a sentence.
    length    exponent of the length by which a sentence's log-probability is divided.
    sentences  the generator's folder; empty = the one that belongs to the classifier.
    uncalled  also findings that the classifier does not call.

    It rests on the explanations of the finding, and of what the sentence cites, that were made before it. Checks:
    "log_probability" (mean a token), "ended" (0 where the sentence was cut off), "evidence_on_side" (share of the
    positive evidence of gradcam on the side that the sentence names), "evidence_in_zone" (the same in the zones that it
    names, as template finds them), "reading_grade" (Flesch-Kincaid, years of school), and for what the sentence cites
    "probability_lung_opacity" ... where the classifier predicts it.
    """

    kind: ClassVar[str] = "statement"
    needs: ClassVar[frozenset[Capability]] = frozenset({"features"})
    requires: ClassVar[tuple[str, ...]] = ("gradcam",)
    version: ClassVar[int] = 3
    cost: ClassVar[float] = 10.0
    network: ClassVar[Literal["dpt", "ratchet", "tienet"]]

    audience: Audience = "clinician"
    beams: int = 3
    repeat: int = 6
    longest: int = 48
    length: float = 1.0
    sentences: str = ""
    uncalled: bool = False

    def __post_init__(self) -> None:
        if self.audience not in AUDIENCES:
            raise SettingError(f"setting audience={self.audience!r:.40} came; give {' or '.join(AUDIENCES)}")
        in_range("beams", self.beams, 1, 32)
        in_range("repeat", self.repeat, 0, 32)
        in_range("longest", self.longest, 1, 256)
        in_range("length", self.length, 0, 4)

    @property
    def artefact(self) -> str:
        """The kind of the generator that this network and audience need."""
        from ..models._narrators import KINDS

        return KINDS[self.network, self.audience]

    def reads(self, classifier: Classifier) -> Mapping[str, str]:
        """The generator."""
        from ..models._artefacts import artefact_hash

        return {"sentences": artefact_hash(self.artefact, classifier, self.sentences)}

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Statement a called finding; the findings of a picture share its pass. Why one has none is in
        ``context.abstained``."""
        import torch

        asked = Asked(self, classifier, radiographs, findings, context)
        generator = context.resolved(self.artefact, classifier, self._find, self.sentences)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            with torch.inference_mode():
                logits, taps = classifier.run(torch.from_numpy(frame.pixels)[None], ("features",))
                features = taps["features"].float().cpu()
                prediction = generator.prediction(logits.cpu(), features)
            values = dict(zip(classifier.findings, logits[0].double().tolist(), strict=True))
            picture = _Picture(asked, radiograph, values, self.uncalled, self.audience)
            made: dict[str, Explanation] = {}
            for finding in (f for f in asked.findings if picture.may_speak(f, f in generator.diagnoses)):
                decoding = Decoding(self.beams, self.longest, self.repeat, self.length)
                text, written = generator.narrate(features, prediction, finding, decoding)
                provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
                if text:
                    made[finding] = picture.statement(finding, text, written, provenance)
                else:
                    picture.abstain(finding, NO_WORDS)
            results.append(made)
            context.step((i + 1) / len(asked.frames))
        return results

    def _find(self, classifier: Classifier, folder: str) -> Sentences:
        from ..models._narrators import sentences_for

        return sentences_for(classifier, self.network, folder, self.audience)


@dataclass(frozen=True, eq=False)
class _Picture(Speaking):
    """One radiograph: on which findings there is something to say, and what."""

    audience: Audience

    def statement(self, finding: str, text: str, written: Written, provenance: Provenance) -> Statement:
        """With what it cites beside what the classifier says of that."""
        from ..metrics._wording import grade

        audience = self.audience
        evidence, table = cited(text, finding, audience), words()[audience]
        known = probabilities(evidence, self.logits, self.asked.classifier.card)
        place = named_place(text, map_of(self.asked.context, self.radiograph, finding), lungs(self.radiograph))
        held = {"uncalled": not self.called(finding), "cut": not written.ended, "learned": True}
        return Statement(
            finding=finding,
            provenance=provenance,
            checks={
                "log_probability": written.score,
                "ended": float(written.ended),
                **place.checks(),
                "reading_grade": round(grade(text), 1),
                **{f"probability_{f}": p for f, p in known.items()},
            },
            notes=(
                *doubts(evidence, known, audience),
                *place.notes(audience),
                *(table[key] for key, on in held.items() if on),
            ),
            text=text,
            audience=audience,
            evidence=rests_on(self.asked.context, self.radiograph, (finding, *evidence)),
        )
