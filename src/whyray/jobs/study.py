"""Analyse a reader study: what one arm gains over the other, on right and on wrong predictions, and agreement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io.ratings import Rating, read_ratings
from ..io.whole import disk_errors, write_whole
from ..metrics._intervals import REPLICATES
from ..metrics.agreement import Agreement, agreements
from ..metrics.reader import Gain, Pairs, by_finding, design_effect, over_reliance, pairs_needed, pairs_of, slices
from ._study_plots import plots
from .evaluate import plain

SMALLEST = 0.25  # of a scale step: the gain for which a sample size is given


@dataclass(frozen=True)
class Study:
    """Everything that is reported; ``arms`` = (first, second), and every gain is second - first.

    reliance  a row a question: gains on right and wrong predictions and their difference.
    planning  a row a question: pairs that a study of the same spread needs to see a gain of ``SMALLEST`` at 80 % power.
    notes     what was left out, and what the figures cannot say.
    """

    arms: tuple[str, str]
    gains: tuple[Gain, ...]
    reliance: tuple[dict[str, Any], ...]
    agreement: tuple[Agreement, ...]
    planning: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def save(self, folder: str | Path) -> Path:
        """Write study.json and the plots, each as SVG and PNG: gains, over-reliance, agreement. Returns the folder."""
        folder = Path(folder)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / "study.json", (json.dumps(plain(self.to_dict()), indent=1) + "\n").encode())
            for name, drawing in plots(self).items():
                write_whole(folder / f"{name}.svg", drawing.svg().encode())
                write_whole(folder / f"{name}.png", drawing.png())
        return folder

    def lines(self) -> Iterator[str]:
        """The same for people."""
        yield f"gain of {self.arms[1]!r} over {self.arms[0]!r}, with 95 % intervals over readers and cases"
        columns = f"{'mean':>6} {'interval':<18}{'p':>8}{'Holm':>8}{'p pairs':>9}{'Holm':>8}{'effect':>8}"
        yield f"  {'question':<16}{'predictions':<13}{'finding':<20}{'n':>5}  {columns}"
        for g in self.gains:
            head = f"  {g.question[:15]:<16}{g.slice:<13}{g.finding[:19]:<20}{g.n:>5}"
            holm, of_pairs = ("-" if q != q else f"{q:.4f}" for q in (g.p_holm, g.p_pairs_holm))
            tests = f"{g.p:>8.4f}{holm:>8}{g.p_pairs:>9.4f}{of_pairs:>8}"
            yield f"{head}  {g.difference:>+6.3f} {f'[{g.low:+.3f}, {g.high:+.3f}]':<18}{tests}{g.effect:>+8.2f}"
        for r in self.reliance:
            yield (
                f"over-reliance, {r['question']}: {r['gain_on_right']:+.3f} on right (n = {r['n_right']}), "
                f"{r['gain_on_wrong']:+.3f} on wrong predictions (n = {r['n_wrong']}); "
                f"difference {r['difference']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
            )
        for a in self.agreement:
            yield (
                f"agreement, {a.question}, {a.between}: ICC {a.icc:.2f} [{a.icc_low:.2f}, {a.icc_high:.2f}], "
                f"weighted kappa {a.kappa:.2f} [{a.kappa_low:.2f}, {a.kappa_high:.2f}], "
                f"n = {a.n} of {a.cases} cases"
            )
        for p in self.planning:
            yield (
                f"planning, {p['question']}: {p['pairs']} pairs find a gain of {p['gain']:g} with "
                f"{100 * p['power']:.0f} % power (design effect {p['design_effect']:.1f})"
            )
        yield from self.notes


def analyse_study(
    path: str | Path, *, arms: tuple[str, str] | None = None, seed: int = 0, replicates: int = REPLICATES
) -> Study:
    """The analysis of a CSV file of ratings; see ``io/ratings.py``. Raises DataError for a file that cannot be used."""
    return analyse(read_ratings(path), arms=arms, seed=seed, replicates=replicates)


def analyse(
    ratings: Sequence[Rating], *, arms: tuple[str, str] | None = None, seed: int = 0, replicates: int = REPLICATES
) -> Study:
    """The analysis of ratings. ``arms`` = (first, second); where None, the two there are, in alphabetical order."""
    two = arms or _only_arms(ratings)
    questions = sorted({r.question for r in ratings if r.arm in two})
    gains: list[Gain] = []
    reliance, agreement, planning, notes = [], [], [], []
    for question in questions:
        pairs = pairs_of(ratings, question, two)
        for name, part in slices(pairs).items():
            gains += by_finding(part, question, name, replicates, seed) if len(part) else []
        reliance.append(over_reliance(pairs, question, replicates, seed))
        agreement += agreements([r for r in ratings if r.arm in two], question, seed=seed)
        planning += _planned(pairs, question, replicates, seed)
        if pairs.unpaired:
            notes.append(f"{question}: {pairs.unpaired} (reader, case) were rated with one arm only, and are left out")
    notes += sorted({g.note for g in gains if g.note and g.finding == "all"})
    return Study(two, tuple(gains), tuple(reliance), tuple(agreement), tuple(planning), tuple(notes))


def _only_arms(ratings: Sequence[Rating]) -> tuple[str, str]:
    arms = sorted({r.arm for r in ratings})
    if len(arms) != 2:
        raise DataError(f"{len(arms)} arms came ({', '.join(arms[:6])}); name the two to compare: --arms FIRST,SECOND")
    return arms[0], arms[1]


def _planned(pairs: Pairs, question: str, replicates: int, seed: int) -> list[dict[str, Any]]:
    """The sample size of the next study, from the spread and the clustering of this one."""
    sd = float((pairs.second - pairs.first).std(ddof=1)) if len(pairs) > 1 else 0.0
    if not sd > 0:
        return []
    effect = design_effect(pairs, replicates, seed)
    needed = pairs_needed(SMALLEST, sd, design_effect=effect)
    return [{"question": question, "gain": SMALLEST, "sd": sd, "design_effect": effect, "power": 0.8, "pairs": needed}]
