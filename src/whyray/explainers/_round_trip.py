"""What is left of a sentence that is read back by its words alone: a picture is drawn from them, and classified.

words -> vector -> picture -> features, beside the same from the vector before it became words, and from the diagnosis
alone (the mean vector of its example sentences), which knows nothing of this radiograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..metrics._overlap import words as words_of
from ..models._predict import predictions
from ..text.attributes import side_of
from ..text.nle_database import mirrored

if TYPE_CHECKING:
    from torch import Tensor

    from ..models._wenlex import WeakGenerator
    from ..types import Prediction

Wording = Literal["phrases", "free"]
BEAMS: dict[Wording, int] = {"phrases": 32, "free": 3}
FEW = 8  # pictures that are drawn and seen at a time


@dataclass(frozen=True)
class RoundTrip:
    """Cosines of pooled features with those of the radiograph, -1..1.

    words   of the picture that is drawn from the words alone: the faithfulness of the sentence.
    latent  of the picture that is drawn from the vector that became words.
    label   of the picture that is drawn from the diagnosis alone.
    same    whether the classifier's call on the words' picture is that on the radiograph.
    """

    words: float
    latent: float
    label: float
    same: bool

    @property
    def kept(self) -> float:
        """Share of the vector's gain over the diagnosis alone that the words keep; NaN where it has none."""
        gain = self.latent - self.label
        return (self.words - self.label) / gain if gain > 0 else float("nan")

    @property
    def gains(self) -> bool:
        """Whether the words tell more of the radiograph than the diagnosis alone."""
        return self.words > self.label


@dataclass(frozen=True)
class Example:
    """The nearest sentence that the generator learned from: cosine of the vectors; whether the words are the same."""

    text: str
    similarity: float
    verbatim: bool
    count: int


@dataclass(frozen=True)
class Said:
    """A sentence on one finding of one radiograph."""

    finding: str
    text: str
    trip: RoundTrip
    example: Example


@dataclass(frozen=True, eq=False)
class _Examples:
    """Sentences on one diagnosis, their vectors ``[n, w]``, and the features ``[d]`` of the picture of their mean."""

    texts: tuple[str, ...]
    z: Tensor
    label: Tensor


class Reader:
    """A generator that writes, and reads what it wrote, for one audience. Examples are encoded once a diagnosis.

    Raises UnmetNeed where the generator does not speak to the audience.
    """

    def __init__(
        self,
        generator: WeakGenerator,
        classifier: Classifier,
        audience: str,
        beams: int = 0,
        wording: Wording = "phrases",
    ) -> None:
        if audience not in generator.audiences:
            known = " and ".join(generator.audiences)
            raise UnmetNeed(f"the generator {generator.name} learned sentences for {known}; give audience={known}")
        self.generator, self.classifier, self.audience = generator, classifier, audience
        self.wording, self.beams = wording, beams or BEAMS[wording]
        self._examples: dict[str, _Examples] = {}

    def said(self, features: Tensor, logits: Tensor, diagnoses: Sequence[str]) -> list[Said]:
        """A sentence a diagnosis on one radiograph: ``features [1, d, h, w]``, ``logits [1, f]``; empty where the
        generator wrote no word."""
        if not diagnoses:
            return []
        several = features.expand(len(diagnoses), -1, -1, -1)
        z = self.generator.latents(several, logits.sigmoid().expand(len(diagnoses), -1), diagnoses, self.audience)
        own = features.mean((2, 3))[0]
        meant, _ = self.seen(z)
        texts = self.worded(z, diagnoses, own.expand(len(z), -1), meant)
        again = self.generator.encoded(texts)
        seen, called = self.seen(again)
        before = {p.finding: p.positive for p in self._called(logits)[0]}
        out = []
        for i, (finding, text) in enumerate(zip(diagnoses, texts, strict=True)):
            examples = self.examples(finding)
            words, latent, label = (_cosine(own, v) for v in (seen[i], meant[i], examples.label))
            after = {p.finding: p.positive for p in called[i]}
            trip = RoundTrip(words, latent, label, same=after[finding] == before[finding])
            out.append(Said(finding, text, trip, _example(text, again[i], examples)))
        return out

    def worded(self, z: Tensor, diagnoses: Sequence[str], features: Tensor, meant: Tensor) -> list[str]:
        """A sentence of each ``z [b, w]``: written freely, or the one of several candidates made of known phrases whose
        picture comes nearest to ``features [b, d]``, the pooled ones of the radiograph; ``meant`` are those of z's."""
        if self.wording == "free":
            return self.generator.texts(z, self.beams)
        out = []
        for one, diagnosis, own, goal in zip(z, diagnoses, features, meant, strict=True):
            texts = self._candidates(one[None], diagnosis)
            out += [self._nearest(texts, own, _cosine(own, goal))] if texts else self.generator.texts(one[None])
        return out

    def _candidates(self, z: Tensor, diagnosis: str) -> list[str]:
        """Sentences of ``z [1, w]`` made of known phrases; those on the side that it would name in free words, where
        there are any: pooled features, by which one is chosen, know no side."""
        texts = self.generator.candidates(z[0], diagnosis, self.audience, self.beams)
        side = side_of(self.generator.texts(z, BEAMS["free"])[0])
        return [text for text in texts if side_of(text) == side] or texts

    def _nearest(self, texts: Sequence[str], own: Tensor, enough: float) -> str:
        """Of texts, the likeliest first, the one whose picture comes nearest to the features ``own [d]``; none is read
        beyond a few that hold one as near as ``enough``."""
        best, found = -2.0, ""
        for start in range(0, len(texts), FEW):
            some = texts[start : start + FEW]
            near = [_cosine(own, v) for v in self.seen(self.generator.encoded(some))[0]]
            if max(near) > best:
                best, found = max(near), some[near.index(max(near))]
            if best >= enough:
                break
        return found

    def knows(self, diagnosis: str) -> bool:
        """Whether the generator learned sentences on a diagnosis for this audience."""
        return diagnosis in self.generator.diagnoses and bool(self._texts(diagnosis))

    def examples(self, diagnosis: str) -> _Examples:
        """The sentences on a diagnosis that the generator learned from."""
        if diagnosis not in self._examples:
            texts = self._texts(diagnosis)
            z = self.generator.encoded(texts)
            seen, _ = self.seen(z.mean(0, keepdim=True))
            self._examples[diagnosis] = _Examples(texts, z, seen[0])
        return self._examples[diagnosis]

    def _texts(self, diagnosis: str) -> tuple[str, ...]:
        """Each also with left and right exchanged, where the generator learned from it so."""
        own = [e.nle for e in self.generator.databases[self.audience] if e.diagnosis == diagnosis]
        learned = self.generator.facts.get("provenance", {}).get("plan", {})
        return tuple(dict.fromkeys(own + [mirrored(text) for text in own if learned.get("mirrored")]))

    def seen(self, z: Tensor) -> tuple[Tensor, list[list[Prediction]]]:
        """Pooled features ``[b, d]`` and predictions of the pictures drawn from ``z [b, w]``."""
        import torch

        runs = [self.classifier.run(self.generator.pictures(part), ("features",)) for part in torch.split(z, FEW)]
        pooled = torch.cat([taps["features"].float().cpu().mean((2, 3)) for _, taps in runs])
        return pooled, self._called(torch.cat([logits for logits, _ in runs]))

    def _called(self, logits: Tensor) -> list[list[Prediction]]:
        return predictions(logits.double().cpu().numpy(), self.classifier.findings, self.classifier.card)


def _example(text: str, z: Tensor, examples: _Examples) -> Example:
    """The example whose words are the same, else the one whose vector is nearest."""
    similarity = [_cosine(z, other) for other in examples.z]
    same = [words_of(other) == words_of(text) for other in examples.texts]
    best = same.index(True) if any(same) else max(range(len(same)), key=similarity.__getitem__)
    return Example(examples.texts[best], similarity[best], any(same), len(same))


def _cosine(first: Tensor, second: Tensor) -> float:
    from torch.nn.functional import cosine_similarity

    return float(cosine_similarity(first.double(), second.double(), dim=0))
