"""In words: sentences put together from the other explanations of the run, with nothing that they do not say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..contracts import Asked, Classifier, Context, Explainer
from ..engine.passes import predict
from ..errors import SettingError, UnmetNeed
from ..explanations import Explanation, Statement
from ..types import Radiograph
from ._place import lungs
from ._template_facts import Facts, facts_of
from ._template_words import AUDIENCES, Audience, said


@dataclass(frozen=True)
class Template(Explainer):
    """A statement a finding: the call and its probability in words, side and zone from the map of gradcam, the sign
    that reports base it on, and what patterns and latent_shift found where the run holds them; caveats are its notes.

    audience  "clinician" or "lay": another wording (``template.toml``), the same facts.

    Checks: "reading_grade" (Flesch-Kincaid, years of school, of text and notes).
    """

    kind: ClassVar[str] = "statement"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("gradcam",)
    paper: ClassVar[str] = "Words of likelihood: IPCC, Guidance Notes on Addressing Uncertainties, 2005"

    audience: Audience = "clinician"

    def __post_init__(self) -> None:
        if self.audience not in AUDIENCES:
            raise SettingError(f"setting audience={self.audience!r:.40} came; give {' or '.join(AUDIENCES)}")

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Statement a finding; where there is no evidence, the reason is in ``context.abstained``."""
        if not any(label.partition(":")[0] == "gradcam" for _, _, label in context.earlier):
            raise UnmetNeed("template rests on the map of gradcam, which was not made")
        asked = Asked(self, classifier, radiographs, findings, context)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, predicted) in enumerate(zip(radiographs, predict(classifier, radiographs), strict=True)):
            started = time.monotonic()
            predictions, chest = {p.finding: p for p in predicted}, lungs(radiograph)
            found = {f: facts_of(radiograph, chest, predictions, f, context.earlier) for f in findings}
            made: dict[str, Explanation] = {}
            for finding, facts in found.items():
                if isinstance(facts, str):
                    context.abstained[radiograph.sha256, finding] = facts
                else:
                    made[finding] = self._statement(asked, i, facts, time.monotonic() - started)
            results.append(made)
            context.step((i + 1) / len(radiographs))
        return results

    def _statement(self, asked: Asked, i: int, facts: Facts, seconds: float) -> Statement:
        from ..metrics._wording import grade

        text, notes = said(facts, self.audience)
        return Statement(
            finding=facts.prediction.finding,
            provenance=asked.provenance(asked.radiographs[i], asked.frames[i], seconds),
            checks={"reading_grade": round(grade(" ".join((text, *notes))), 1)},
            notes=notes,
            text=text,
            audience=self.audience,
            evidence=facts.evidence,
        )
