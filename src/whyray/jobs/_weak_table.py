"""Rows of many writers that all rest on the same draws of patients, and differences between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..metrics._intervals import patient_weights, value_and_interval
from ..metrics._terms import Term, comparable
from ..metrics._wording import jackknife
from ..metrics.significance import least_p, two_sided
from ..types import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ALL = "all pictures"


class Table:
    """Rows as they are made. A term takes weights of the n pictures, whose patients these are."""

    def __init__(self, patients: Sequence[str], seed: int, replicates: int) -> None:
        self.patients = tuple(patients)
        whole = np.ones((1, len(self.patients)))
        self.draws = [whole, *patient_weights(self.patients, replicates, seed)]
        self.scores: list[Score] = []
        self.differences: list[Score] = []
        self.signatures: dict[str, str] = {}
        self._terms: dict[tuple[str, str, str], Term] = {}
        self._values: dict[tuple[str, str, str], Array] = {}
        self._n: dict[tuple[str, str, str], int] = {}

    def add(self, writer: str, terms: Sequence[Term], n: int, slice_: str = ALL, note: str | None = None) -> None:
        """A row a term; ``n``: pictures, sentences or pairs that it rests on."""
        for term in terms:
            key = writer, term.name, slice_
            values = np.concatenate([term.measure(weights) for weights in self.draws])
            self._terms[key], self._values[key], self._n[key] = term, values, n
            self.signatures.setdefault(term.name, term.signature)
            self.scores.append(Score("all", term.name, *value_and_interval(values), n, writer, slice_, note=note))

    def add_set(self, writer: str, name: str, signature: str, found: tuple[float, float, float], n: int) -> None:
        """A row of a measure of a set, with the interval that it brings along."""
        self.signatures.setdefault(name, signature)
        self.scores.append(Score("all", name, *found, n, writer, ALL))

    def add_left_out(self, writer: str, term: Term, n: int) -> None:
        """A row whose interval is a jackknife over groups of patients, for measures that repetitions bias."""
        place = np.array(self.patients)

        def without(patients: Sequence[str]) -> float:
            return float(term.measure(np.isin(place, list(set(patients))).astype(np.float64)[None])[0])

        names = sorted(set(self.patients))
        self.add_set(writer, term.name, term.signature, jackknife(without, names, names), n)

    def compare(self, writer: str, other: str, metric: str, slice_: str = ALL, metric_other: str = "") -> Score | None:
        """``writer`` less ``other``, drawn together, with the p of no difference; None where one has no such row."""
        first, second = (writer, metric, slice_), (other, metric_other or metric, slice_)
        if first not in self._values or second not in self._values:
            return None
        if not metric_other:
            comparable(self._terms[first], self._terms[second])
        gap = self._values[first] - self._values[second]
        known = min(len(set(self.patients)), self._n[first], self._n[second])  # a row has no more patients than rows
        note = f"p {two_sided(gap[1:], least_p(known)):.2g}"
        made = Score(
            "all", f"{metric}_difference", *value_and_interval(gap), self._n[first], writer, slice_, other, note
        )
        self.differences.append(made)
        return made

    def find(self, writer: str, metric: str, slice_: str = ALL) -> Score | None:
        """A row that was made."""
        return next((s for s in self.scores if (s.explainer, s.metric, s.slice) == (writer, metric, slice_)), None)

    @property
    def values(self) -> dict[tuple[str, str, str], Array]:
        """(writer, metric, slice) -> the value, then that of each draw ``[1 + r]``."""
        return dict(self._values)

    def term(self, writer: str, metric: str, slice_: str = ALL) -> Term:
        """The term of a row that was made."""
        return self._terms[writer, metric, slice_]

    def note(self, writer: str, metric: str, slice_: str, note: str) -> None:
        """Put a note on a row that was made."""
        self.scores = [
            replace(s, note=note) if (s.explainer, s.metric, s.slice) == (writer, metric, slice_) else s
            for s in self.scores
        ]
