"""One explaining sentence for each finding of a phantom, in more words than its report has: what a generator learns.

What is cited follows from what was planted (how severe, which form, what stands beside it), so that it can be seen in
the picture; how it is said is drawn. Phrases for test cases are in no training sentence. All of it was written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from ._phantom_make import labels_of

FAINT, MARKED, CONSOLIDATED = 0.3, 0.4, 0.5  # severities


@dataclass(frozen=True)
class Phrase:
    """One row of the file: ``cites`` holds the labels of evidence that it states."""

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
def phrases() -> tuple[Phrase, ...]:
    """All rows of ``phantom_nle.tsv``."""
    text = (files(__package__) / "phantom_nle.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")][1:]
    return tuple(Phrase(part, key, split, frozenset(cites.split()), words) for part, key, split, cites, words in lines)


def explaining(facts: Mapping[str, Any], *, test: bool, rng: np.random.Generator) -> tuple[Explaining, ...]:
    """A sentence for each planted finding, from the facts "severities", "sites" and "devices" of a phantom.

    A consolidation that comes from a pneumonia, and other parents, are not explained by themselves.
    """
    severities: Mapping[str, float] = facts["severities"]
    split = "test" if test else "train"
    return tuple(_sentence(finding, facts, split, rng) for finding in severities)


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


def _sentence(finding: str, facts: Mapping[str, Any], split: str, rng: np.random.Generator) -> Explaining:
    state = "uncertain" if facts["severities"][finding] < FAINT else "positive"
    seen = _pick(rng, "evidence", looks(finding, facts), split)
    form = _pick(rng, "form", "", split).text
    cue = _pick(rng, "cue", "unsure" if state == "uncertain" else "sure", split).text
    named = _pick(rng, "diagnosis", finding, split).text
    places = _places(finding, facts)
    text = form.format(evidence=seen.text.format(**places), cue=cue, diagnosis=named.format(**places))
    return Explaining(text[0].upper() + text[1:], finding, state, seen.cites)


def _pick(rng: np.random.Generator, part: str, key: str, split: str) -> Phrase:
    choices = _choices(part, key, split)
    return choices[int(rng.integers(len(choices)))]


@cache
def _choices(part: str, key: str, split: str) -> tuple[Phrase, ...]:
    return tuple(p for p in phrases() if (p.part, p.key) == (part, key) and p.split in (split, "both"))


def _places(finding: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Side, place and size in words."""
    site = facts["sites"].get(finding, {})
    side, zone = site.get("side", "both"), site.get("place", "lower")
    size = float(site.get("size_cm", 0.0))
    zone = zone if zone in ("upper", "mid", "lower") else "lower"
    both = side == "both"
    device = next(iter(facts["devices"]), "support devices")
    article = "" if device.endswith("s") else "an " if device[0] in "ae" else "a "
    return {
        "side": "bilateral" if both else side,
        "place": f"both {zone} zones" if both else f"the {side} {zone} zone",
        "adj": f"bilateral {zone} zone" if both else f"{side} {zone} zone",
        "spot": "apex" if site.get("place") == "apex" else "base",
        "size": f"{max(1, round(size))}",
        "ratio": f"{size:.1f}",
        "device": article + device,
    }
