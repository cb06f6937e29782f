"""One explaining sentence for each finding of a phantom, in more words than its report has: what a generator learns.

What is cited follows from what was planted (how severe, which form, what stands beside it), so that it can be seen in
the picture; how it is said is drawn. Phrases for test cases are in no training sentence. All of it was written here,
in one wording for clinicians and one for lay readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from ._phantom_make import labels_of

Audience = Literal["clinician", "lay"]
FAINT, MARKED, CONSOLIDATED = 0.3, 0.4, 0.5  # severities
SLIGHT, STRONG = 1 / 3, 2 / 3  # severities below and above which a sentence says so, where it is to grade
_FILES: dict[Audience, str] = {"clinician": "phantom_nle.tsv", "lay": "phantom_nle_lay.tsv"}


@dataclass(frozen=True)
class Phrase:
    """One row of a file: ``cites`` holds the labels of evidence that it states."""

    part: str
    key: str
    split: str
    cites: frozenset[str]
    text: str


@dataclass(frozen=True)
class Explaining:
    """A sentence that explains ``diagnosis``, which it calls ``state``; ``cites``: the evidence it states."""

    text: str
    diagnosis: str
    state: str
    cites: frozenset[str]


@cache
def phrases(audience: Audience = "clinician") -> tuple[Phrase, ...]:
    """All rows of ``phantom_nle.tsv``, or of ``phantom_nle_lay.tsv``."""
    text = (files(__package__) / _FILES[audience]).read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")][1:]
    return tuple(Phrase(part, key, split, frozenset(cites.split()), words) for part, key, split, cites, words in lines)


def explaining(
    facts: Mapping[str, Any],
    *,
    test: bool,
    rng: np.random.Generator,
    audience: Audience = "clinician",
    graded: bool = False,
) -> tuple[Explaining, ...]:
    """A sentence for each planted finding, from the facts "severities", "sites" and "devices" of a phantom.

    A consolidation that comes from a pneumonia, and other parents, are not explained by themselves. ``graded``: what is
    little or much of its kind is called so.
    """
    severities: Mapping[str, float] = facts["severities"]
    speaker = _Speaker(audience, "test" if test else "train", graded, rng)
    return tuple(speaker.sentence(finding, facts) for finding in severities)


def looks(finding: str, facts: Mapping[str, Any]) -> str:
    """The key of the evidence for a planted finding: how it looks in this picture."""
    severity, site = facts["severities"][finding], facts["sites"].get(finding, {})
    if finding == "atelectasis":
        return f"atelectasis.{site['kind']}"
    if finding == "pleural_effusion":
        return f"pleural_effusion.{'layering' if site['place'] == 'layering' else 'upright'}"
    if finding == "pneumonia":
        return f"pneumonia.{'marked' if severity >= CONSOLIDATED else 'mild'}"
    if finding == "edema":
        wide = bool(labels_of(facts["severities"]).get("enlarged_cardiomediastinum"))
        marked = "marked_heart" if wide else "marked"
        return f"edema.{marked if severity >= MARKED else 'heart' if wide else 'mild'}"
    return finding


@dataclass(frozen=True, eq=False)
class _Speaker:
    """What is drawn from: an audience's phrases of one split."""

    audience: Audience
    split: str
    graded: bool
    rng: np.random.Generator

    def sentence(self, finding: str, facts: Mapping[str, Any]) -> Explaining:
        """The sentence of one planted finding."""
        severity = facts["severities"][finding]
        state = "uncertain" if severity < FAINT else "positive"
        seen = self.pick("evidence", looks(finding, facts))
        form = self.pick("form", "").text
        cue = self.pick("cue", "unsure" if state == "uncertain" else "sure").text
        named = self.named(finding, severity)
        places = _places(finding, facts) if self.audience == "clinician" else _lay_places(finding, facts)
        text = form.format(evidence=seen.text.format(**places), cue=cue, diagnosis=named.format(**places))
        return Explaining(text[0].upper() + text[1:], finding, state, seen.cites)

    def named(self, finding: str, severity: float) -> str:
        """The diagnosis, with how much of it there is where that is wanted and there are words for it."""
        degree = "slight" if severity < SLIGHT else "marked" if severity > STRONG else ""
        key = f"{finding}.{degree}"
        if self.graded and _choices("graded", key, self.split, self.audience):
            return self.pick("graded", key).text
        return self.pick("diagnosis", finding).text

    def pick(self, part: str, key: str) -> Phrase:
        """One of the phrases that fit."""
        choices = _choices(part, key, self.split, self.audience)
        return choices[int(self.rng.integers(len(choices)))]


@cache
def _choices(part: str, key: str, split: str, audience: Audience) -> tuple[Phrase, ...]:
    return tuple(p for p in phrases(audience) if (p.part, p.key) == (part, key) and p.split in (split, "both"))


def _site(finding: str, facts: Mapping[str, Any]) -> tuple[str, str, str, float]:
    """Side ("both" where nothing says), zone, place and size in cm of a planted finding."""
    site = facts["sites"].get(finding, {})
    place = site.get("place", "lower")
    zone = place if place in ("upper", "mid", "lower") else "lower"
    return site.get("side", "both"), zone, place, float(site.get("size_cm", 0.0))


def _places(finding: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Side, place and size in words."""
    side, zone, place, size = _site(finding, facts)
    both = side == "both"
    device = next(iter(facts["devices"]), "support devices")
    article = "" if device.endswith("s") else "an " if device[0] in "ae" else "a "
    return {
        "side": "bilateral" if both else side,
        "place": f"both {zone} zones" if both else f"the {side} {zone} zone",
        "adj": f"bilateral {zone} zone" if both else f"{side} {zone} zone",
        "spot": "apex" if place == "apex" else "base",
        "size": f"{max(1, round(size))}",
        "ratio": f"{size:.1f}",
        "device": article + device,
    }


def _lay_places(finding: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Side, place and size in plain words."""
    side, zone, place, size = _site(finding, facts)
    lung = "both lungs" if side == "both" else f"the {side} lung"
    named = _choices("device", next(iter(facts["devices"]), ""), "both", "lay")
    return {
        "side": side,
        "lung": lung,
        "place": f"the {'middle' if zone == 'mid' else zone} part of {lung}",
        "spot": "top" if place == "apex" else "bottom",
        "size": f"{max(1, round(size))}",
        "percent": f"{100 * size:.0f}",
        "device": named[0].text if named else "tubes or wires",
    }
