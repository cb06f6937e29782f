"""Why, in words that can be read back: sentences fitted to the classifier's features, learned from a few examples."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..errors import SettingError
from ..explanations import Explanation, Statement
from ..types import Provenance, Radiograph
from ._cited import NO_WORDS, Speaking, cited, doubts, map_of, probabilities, rests_on
from ._named_place import named_place
from ._place import lungs
from ._round_trip import BEAMS, Reader, Said, Wording
from ._template_words import AUDIENCES, Audience, percent
from ._wenlex_words import notes

NO_GAIN = "read back by its words alone, the sentence on {words} tells no more of this picture than the diagnosis does"
TOO_LITTLE = "read back by its words alone, the sentence on {words} keeps {kept} of what was meant, of {least} asked"


@dataclass(frozen=True)
class Wenlex(Explainer):
    """A sentence on each called finding, by a generator that learned from a few example sentences a diagnosis, and from
    no report of any picture, to say what brings the classifier's features back.

    audience   "clinician" or "lay": the examples that the sentences are like.
    generator  a folder; empty = the one that belongs to the classifier.
    kept       least share of its gain over the diagnosis alone that a sentence keeps when it is read back by its words;
               below it, the sentence is not given. 0 = every sentence is given.
    wording    "phrases": put together from phrases of known sentences on the diagnosis, of several the one that reads
               back best; "free": as published, word by word, and often not what anyone would say.
    beams      hypotheses when a vector becomes words; 0 = 32 of phrases, 3 free.
    uncalled   also findings that the classifier does not call.

    It rests on the explanations of the finding, and of what the sentence cites, that were made before it. Checks:
    "faithfulness" (cosine of the classifier's pooled features on the picture drawn from the words and on the
    radiograph), "faithfulness_of_diagnosis" (the same from the diagnosis alone), "gain_kept" (share of the vector's
    gain over the diagnosis that the words keep), "label_kept" (1 where the call on the drawn picture is the same),
    "nearest_example" (cosine with the nearest sentence it learned from), "verbatim" (1 where it is that sentence),
    "evidence_on_side" (share of the positive evidence of gradcam on the side that the sentence names),
    "evidence_in_zone" (the same in the zones that it names, as template finds them), "reading_grade" (Flesch-Kincaid,
    years of school, of the sentence), and "probability_lung_opacity" ... of what it cites.
    """

    kind: ClassVar[str] = "statement"
    needs: ClassVar[frozenset[Capability]] = frozenset({"features"})
    requires: ClassVar[tuple[str, ...]] = ("gradcam",)
    version: ClassVar[int] = 4
    paper: ClassVar[str] = "Rio-Torto et al., WeNLEX, arXiv 2603.18752"

    audience: Audience = "clinician"
    generator: str = ""
    kept: float = 0.5
    wording: Wording = "phrases"
    beams: int = 0
    uncalled: bool = False

    def __post_init__(self) -> None:
        if self.audience not in AUDIENCES:
            raise SettingError(f"setting audience={self.audience!r:.40} came; give {' or '.join(AUDIENCES)}")
        in_range("kept", self.kept, 0, 1)
        in_range("beams", self.beams, 0, 64)
        if self.wording not in get_args(Wording):
            raise SettingError(f"setting wording={self.wording!r:.40} came; give {' or '.join(get_args(Wording))}")

    def passes(self, findings: int) -> float:
        """The radiograph, and the drawn pictures of each finding; drawing one is counted like a pass."""
        candidates = (self.beams or BEAMS["phrases"]) if self.wording == "phrases" else 0
        return 1 + 2 * findings * (3 + candidates)

    def reads(self, classifier: Classifier) -> Mapping[str, str]:
        """The generator."""
        from ..models._artefacts import artefact_hash
        from ..models._wenlex import KIND

        return {"generator": artefact_hash(KIND, classifier, self.generator)}

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Statement a called finding; why another has none is in ``context.abstained``."""
        import torch

        from ..models._wenlex import KIND, weak_for

        asked = Asked(self, classifier, radiographs, findings, context)
        generator = context.resolved(KIND, classifier, weak_for, self.generator)
        reader = Reader(generator, classifier, self.audience, self.beams, self.wording)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            with torch.inference_mode():
                logits, taps = classifier.run(torch.from_numpy(frame.pixels)[None], ("features",))
                values = dict(zip(classifier.findings, logits[0].tolist()))
                picture = _Picture(asked, radiograph, values, self.uncalled, self)
                speaks = [f for f in asked.findings if picture.may_speak(f, reader.knows(f))]
                said = {s.finding: s for s in reader.said(taps["features"].float().cpu(), logits.cpu(), speaks)}
            provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
            given = {f: said[f] for f in asked.findings if f in said and picture.is_given(said[f])}
            results.append({f: picture.statement(s, provenance) for f, s in given.items()})
            context.step((i + 1) / len(asked.frames))
        return results


@dataclass(frozen=True, eq=False)
class _Picture(Speaking):
    """One radiograph: on which findings there is something to say, and what."""

    explainer: Wenlex

    def is_given(self, said: Said) -> bool:
        """Whether a written sentence passes the round trip; else the reason is recorded."""
        least, trip = self.explainer.kept, said.trip
        if not said.text:
            return self.abstain(said.finding, NO_WORDS)
        if least and not trip.gains:
            return self.abstain(said.finding, NO_GAIN)
        if least and trip.kept < least:
            return self.abstain(said.finding, TOO_LITTLE, kept=percent(trip.kept), least=percent(least))
        return True

    def statement(self, said: Said, provenance: Provenance) -> Statement:
        """With the round trip, the nearest example, and what it cites."""
        from ..metrics._wording import grade

        audience = self.explainer.audience
        evidence = cited(said.text, said.finding, audience)
        known = probabilities(evidence, self.logits, self.asked.classifier.card)
        seen = map_of(self.asked.context, self.radiograph, said.finding)
        place = named_place(said.text, seen, lungs(self.radiograph))
        trip, on = said.trip, self.called(said.finding)
        return Statement(
            finding=said.finding,
            provenance=provenance,
            checks={
                "faithfulness": trip.words,
                "faithfulness_of_diagnosis": trip.label,
                "gain_kept": trip.kept,
                "label_kept": float(trip.same),
                "nearest_example": said.example.similarity,
                "verbatim": float(said.example.verbatim),
                **place.checks(),
                "reading_grade": round(grade(said.text), 1),
                **{f"probability_{f}": p for f, p in known.items()},
            },
            notes=(*doubts(evidence, known, audience), *notes(said, place.notes(audience), on, audience)),
            text=said.text,
            audience=audience,
            evidence=rests_on(self.asked.context, self.radiograph, (said.finding, *evidence)),
        )
