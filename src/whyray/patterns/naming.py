"""Names of patterns: from statistics, always; from an annotator where the user gave one, and only what holds out.

A proposed name is asked back case by case: on images that were not shown when it was proposed, half of them images on
which the pattern fires, half images on which another pattern fires about as strongly and this one is silent. Positives
alone would reward an annotator that always says yes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import printable
from ..findings import FINDINGS
from .annotator import Annotator, Budget, NoAnswer, Part, ask
from .enrichment import Z95, Enriched
from .galleries import Fired, look_alikes, silent, strongest

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN, CONTROLS, CHECKED = 8, 4, 12  # examples and silent controls of a question; images of each kind that check a name
FEWEST = 5  # of each kind, below which a name cannot be checked
LONGEST = 60  # characters of a name
Describe = Callable[[int, int], Part]
"""(image, pattern whose firing is to be outlined, -1 for none) -> the case in words, and its picture if allowed"""


@dataclass(frozen=True)
class Checked:
    """A proposed name and how it held out: balanced accuracy with 95 % interval over held-out images.

    hits of positives, passed of negatives. ``holds``: the interval lies above one half, which is what guessing gives.
    ``gap``: how far apart in strength positives and negatives are (``mean_gap``).
    ``trouble`` says why there is no name, or why it could not be checked.
    """

    name: str = ""
    accuracy: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    hits: int = 0
    positives: int = 0
    passed: int = 0
    negatives: int = 0
    gap: float = float("nan")
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """Whether the name may be shown as the pattern's."""
        return bool(self.name) and self.low > 0.5


def statistical_name(found: Sequence[Enriched]) -> str:
    """The surest label, place and metadata in words ("pleural effusion, lung rim"); "" where nothing is enriched."""
    parts = []
    for kind in ("label", "place"):
        named = [one.attribute.partition(":")[2] for one in found if one.attribute.startswith(f"{kind}:")]
        parts += [named[0]] if named else []
    if not parts:
        parts = [one.attribute.replace(":", " ") for one in found[:1]]
    names = {f.id: f.name.lower() if not f.name.isupper() else f.name for f in FINDINGS}
    text = ", ".join(names.get(part, part) for part in parts)
    return text[:1].upper() + text[1:]


def held_out(patients: Sequence[str]) -> NDArray[np.bool_]:
    """Which images check names: those of half of the patients, by a hash of their number; the others propose them."""
    return np.array([hashlib.sha256(p.encode()).digest()[0] % 2 == 1 for p in patients], bool)


@dataclass(frozen=True)
class Cases:
    """Images of one question (rows of ``Fired``). negatives: (image, the other pattern that fires on it), each matched
    to the positive of its place; gap: how well (``mean_gap``)."""

    shown: tuple[int, ...]
    controls: tuple[int, ...]
    positives: tuple[int, ...]
    negatives: tuple[tuple[int, int], ...]
    gap: float


def cases_of(made: Fired, pattern: int, patients: Sequence[str]) -> Cases:
    """Images that propose a name of a pattern, and held-out ones that check it; no patient is on both sides."""
    later = held_out(patients)
    strengths = made.strengths[:, pattern]
    shown = strongest(np.where(later, 0, strengths), patients, SHOWN)
    everyone = [i for i in range(len(patients)) if not later[i]]
    early = Fired(*(getattr(made, name)[everyone] for name in ("strengths", "peaks", "regions", "embeddings")))
    one = Fired(early.strengths[:, pattern : pattern + 1], early.peaks, early.regions, early.embeddings)
    near = look_alikes(one, [[everyone.index(i) for i in shown]], [patients[i] for i in everyone], CONTROLS)[0]
    positives = strongest(np.where(later, strengths, 0), patients, CHECKED)
    negatives = matched_negatives(made, pattern, positives, patients, later)
    gap = mean_gap(made, pattern, positives, negatives)
    return Cases(tuple(shown), tuple(everyone[i] for i in near), tuple(positives), tuple(negatives), gap)


def matched_negatives(
    made: Fired, pattern: int, positives: Sequence[int], patients: Sequence[str], allowed: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """For each positive an image on which the pattern is silent and another fires about as strongly: (image, other).

    The nearest in strength is taken, however far that is. Strength is compared as a share of each pattern's own
    largest, so that patterns of different scale can match. One image a patient, none of a positive's patient, and of
    equally good matches the other pattern that served least.
    """
    share = _shares(made)
    top = strongest(made.strengths[:, pattern], patients, SHOWN)
    taken = {patients[i] for i in positives}
    open_rows = silent(made.strengths[:, pattern], top) & allowed
    served = np.zeros(share.shape[1])
    found: list[tuple[int, int]] = []
    for positive in positives:
        rows = np.array([i for i in np.flatnonzero(open_rows).tolist() if patients[i] not in taken], np.int64)
        if not len(rows) or share.shape[1] < 2:
            break
        gaps = np.abs(share[rows] - share[positive, pattern]) + 0.02 * served
        gaps[:, pattern] = np.inf
        gaps[share[rows] == 0] = np.inf
        if not np.isfinite(gaps).any():
            break
        row, other = divmod(int(gaps.argmin()), gaps.shape[1])
        image = int(rows[row])
        found.append((image, other))
        taken.add(patients[image])
        served[other] += 1
    return found


def mean_gap(made: Fired, pattern: int, positives: Sequence[int], negatives: Sequence[tuple[int, int]]) -> float:
    """Mean difference in strength between each negative and the positive it was matched to; NaN without negatives.

    Strengths are shares of each pattern's own largest: 0 is as strong, 1 as far apart as can be.
    """
    share = _shares(made)
    gaps = [abs(share[i, other] - share[one, pattern]) for one, (i, other) in zip(positives, negatives, strict=False)]
    return float(np.mean(gaps)) if gaps else float("nan")


def _shares(made: Fired) -> NDArray[np.float32]:
    """Strengths as a share of each pattern's own largest."""
    shares: NDArray[np.float32] = made.strengths / np.maximum(made.strengths.max(axis=0), 1e-12)
    return shares


def named_by(
    annotator: Annotator,
    cases: Cases,
    pattern: int,
    describe: Describe,
    budget: Budget,
    sleep: Callable[[float], None] = time.sleep,
) -> Checked:
    """Ask for a name, then check it. A question without a usable answer is left out; BudgetSpent is raised."""
    if min(len(cases.positives), len(cases.negatives)) < FEWEST or not cases.shown:
        return Checked(trouble=f"fewer than {FEWEST} held-out images of each kind: a name could not be checked")
    try:
        proposed = ask(annotator, _naming_parts(cases, pattern, describe), budget, _has_name, sleep)
    except NoAnswer as error:
        return Checked(trouble=str(error))
    name = printable(" ".join(str(proposed["name"]).split()))[:LONGEST]
    told = [(image, pattern, True) for image in cases.positives]
    told += [(image, other, False) for image, other in cases.negatives]
    order = np.random.default_rng(pattern).permutation(len(told))
    right: dict[bool, list[bool]] = {True: [], False: []}
    question = Part(Template(prompt("verify")).substitute(name=name))
    for i in order:
        image, outlined, truth = told[i]
        try:
            said = ask(annotator, [question, describe(image, outlined)], budget, _has_verdict, sleep)
        except NoAnswer:
            continue
        right[truth].append(bool(said["shows"]) == truth)
    return replace(judged(name, right[True], right[False]), gap=cases.gap)


def judged(name: str, on_positives: Sequence[bool], on_negatives: Sequence[bool]) -> Checked:
    """How a name held out; without enough answers of each kind it was not checked."""
    hits, passed, p, n = sum(on_positives), sum(on_negatives), len(on_positives), len(on_negatives)
    if min(p, n) < FEWEST:
        trouble = f"{p} and {n} held-out images were answered, {FEWEST} of each kind are needed: not checked"
        return Checked(name, hits=hits, positives=p, passed=passed, negatives=n, trouble=trouble)
    value, low, high = balanced_accuracy(hits, p, passed, n)
    return Checked(name, value, low, high, hits, p, passed, n)


def balanced_accuracy(hits: int, positives: int, passed: int, negatives: int) -> tuple[float, float, float]:
    """(mean of sensitivity and specificity, 95 % interval): Wilson's of each share, put together by the method of
    variance estimates recovery (Newcombe, 1998), which keeps a width where every answer was right."""
    shares = ((hits, positives), (passed, negatives))
    points = [k / n for k, n in shares]
    bounds = [wilson(k, n) for k, n in shares]
    value = sum(points) / 2
    down = math.hypot(*(p - low for p, (low, _) in zip(points, bounds, strict=True))) / 2
    up = math.hypot(*(high - p for p, (_, high) in zip(points, bounds, strict=True))) / 2
    return value, max(0.0, value - down), min(1.0, value + up)


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927)."""
    centre = (k + Z95**2 / 2) / (n + Z95**2)
    half = Z95 / (n + Z95**2) * math.sqrt(k * (n - k) / n + Z95**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def prompt(kind: str) -> str:
    """The text of ``prompt_name.txt`` or ``prompt_verify.txt`` beside this file."""
    return Path(__file__).with_name(f"prompt_{kind}.txt").read_text(encoding="utf-8")


def _naming_parts(cases: Cases, pattern: int, describe: Describe) -> list[Part]:
    parts = [Part(prompt("name"))]
    for i, image in enumerate(cases.shown, 1):
        parts += [Part(f"Case {i}, responds:"), describe(image, pattern)]
    for i, image in enumerate(cases.controls, 1):
        parts += [Part(f"Case {len(cases.shown) + i}, silent:"), describe(image, -1)]
    return parts


def _has_name(said: Any) -> bool:
    return isinstance(said.get("name"), str) and bool(said["name"].strip()) and len(said["name"]) <= 4 * LONGEST


def _has_verdict(said: Any) -> bool:
    return isinstance(said.get("shows"), bool)
