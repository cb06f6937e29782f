"""Shapley values of a game: all coalitions, or a paired weighted regression with standard errors. Pure functions.

A game gives values ``[f]`` (one a finding) to a coalition: a row of ``keep``, bool ``[players]``. A *pair* is a
coalition and its complement. Under the Shapley kernel and with the sum held at ``full - empty``, the regression of both
members of a pair is that of their half difference on ``keep - 1/2``: one row a pair, and everything of even order in
the game drops out (Covert and Lee, AISTATS 2021, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Bools = NDArray[np.bool_]


def all_coalitions(players: int) -> Bools:
    """Every coalition ``[2^players, players]``: bit ``i`` of the row's number is player ``i``."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def exact(values: Floats) -> Floats:
    """Shapley values ``[players, f]`` by the definition, from the values ``[2^players, f]`` of ``all_coalitions``."""
    values = np.asarray(values, np.float64)
    players = len(values).bit_length() - 1
    size = all_coalitions(players).sum(1)
    weight = np.array([1 / (players * comb(players - 1, s)) for s in range(players)])
    out = np.empty((players, values.shape[1]))
    for i in range(players):
        without = np.flatnonzero(~(np.arange(2**players) >> i & 1).astype(bool))
        out[i] = weight[size[without]] @ (values[without | 1 << i] - values[without])
    return out


def size_masses(players: int) -> Floats:
    """Mass of the Shapley kernel on the pairs whose smaller member has 1, 2, ... players // 2 players; sums to 1."""
    sizes = np.arange(1, players // 2 + 1)
    mass = 1 / (sizes * (players - sizes))
    mass[2 * sizes == players] /= 2  # a pair of halves is of one size, the others of two
    return np.asarray(mass / mass.sum())


@dataclass(frozen=True, eq=False)
class Scheme:
    """Which pairs are taken: all of the small sizes, and random ones of the other sizes.

    sizes   sizes ``1 .. enumerated`` are taken whole: ``keep [m, players]`` with their kernel ``weight [m]``.
    masses  kernel mass of each size, as ``size_masses``.
    even    the others are drawn as often as one another and weighted, instead of as often as the kernel has them.
    """

    players: int
    enumerated: int
    keep: Bools
    weight: Floats
    masses: Floats
    even: bool = False

    @property
    def complete(self) -> bool:
        """Whether no size is left to draw."""
        return self.enumerated == len(self.masses)

    def draw(self, rng: np.random.Generator, pairs: int, stock: Stock | None = None) -> tuple[Bools, Floats]:
        """Random pairs ``keep [pairs, players]`` of the remaining sizes and the weight ``[pairs]`` of each.

        Sizes come in their shares, evenly spread over the draw; members uniformly, from the ``stock`` while that has
        pairs of the size. The weights' mean is the kernel mass of the remaining sizes.
        """
        rest = self.masses[self.enumerated :]
        shares = self._shares()
        at = np.searchsorted(np.cumsum(shares), (np.arange(pairs) + rng.random()) / pairs, side="right")
        at = np.minimum(at, len(rest) - 1)
        size = self.enumerated + 1 + at
        order = rng.random((pairs, self.players)).argsort(1)
        keep = np.zeros((pairs, self.players), bool)
        np.put_along_axis(keep, order, np.arange(self.players) < size[:, None], 1)
        for row, wanted in enumerate(size if stock else ()):
            keep[row] = stock.take(int(wanted), keep[row])  # type: ignore[union-attr]
        return keep, (rest / shares)[at]

    def _shares(self) -> Floats:
        """How often each remaining size is drawn."""
        sizes = np.arange(self.enumerated + 1, len(self.masses) + 1)
        shares = self.masses[self.enumerated :] * (sizes * (self.players - sizes) if self.even else 1)
        return np.asarray(shares / shares.sum())


class Stock:
    """Pairs that somebody else has drawn: of each size they are as good as one's own, and may be paid for already.

    keep  ``[n, players]``: of each pair one member, every coalition of its size as likely as any other.
    """

    def __init__(self, keep: Bools) -> None:
        keep = np.where(2 * keep.sum(1, keepdims=True) > keep.shape[1], ~keep, keep)
        self._left: dict[int, list[Bools]] = {}
        for row in keep[::-1]:
            self._left.setdefault(int(row.sum()), []).append(row)

    def take(self, size: int, otherwise: Bools) -> Bools:
        """The next of this size, each once; ``otherwise`` where none is left."""
        held = self._left.get(size)
        return held.pop() if held else otherwise


def scheme(players: int, coalitions: int, even: bool = False) -> Scheme:
    """The scheme for a budget: a size is enumerated while draws of the kernel would hit each of its pairs once."""
    masses = size_masses(players)
    left, enumerated = coalitions // 2, 0
    rows: list[Bools] = []
    weights: list[Floats] = []
    for size, mass in enumerate(masses, start=1):
        pairs = comb(players, size) // (2 if 2 * size == players else 1)
        if pairs > left * mass / masses[size - 1 :].sum() * (1 + 1e-9):
            break
        rows.append(_of_size(players, size)[:pairs])
        weights.append(np.full(pairs, mass / pairs))
        left, enumerated = left - pairs, size
    keep = np.concatenate(rows) if rows else np.zeros((0, players), bool)
    return Scheme(players, enumerated, keep, np.concatenate([np.zeros(0), *weights]), masses, even)


def _of_size(players: int, size: int) -> Bools:
    """All coalitions of a size; of two complementary halves the first comes in the first half of the rows."""
    members = np.array(list(combinations(range(players), size)))
    keep = np.zeros((len(members), players), bool)
    np.put_along_axis(keep, members, True, 1)
    return keep


@dataclass(frozen=True, eq=False)
class Pairs:
    """Evaluated pairs: ``x [n, players]`` = keep - 1/2, kernel ``weight [n]``, ``half [n, f]`` the half difference of
    the values of a coalition and of its complement."""

    x: Floats
    weight: Floats
    half: Floats

    def __len__(self) -> int:
        return len(self.x)

    def __add__(self, other: Pairs) -> Pairs:
        both = ((self.x, other.x), (self.weight, other.weight), (self.half, other.half))
        return Pairs(*(np.concatenate(parts) for parts in both))

    def __getitem__(self, part: slice) -> Pairs:
        return Pairs(self.x[part], self.weight[part], self.half[part])

    def moments(self) -> Floats:
        """``weight * x``: ``[n, players]``."""
        return self.x * self.weight[:, None]

    def equations(self) -> tuple[Floats, Floats]:
        """Their part of the weighted normal equations: ``[players, players]`` and ``[players, f]``."""
        weighted = self.moments()
        return weighted.T @ self.x, weighted.T @ self.half


def evaluated(keep: Bools, weight: Floats, first: NDArray[Any], second: NDArray[Any]) -> Pairs:
    """Pairs from the values ``first`` and ``second [n, f]`` of ``keep`` and ``~keep``."""
    return Pairs(keep - 0.5, weight, (np.asarray(first, np.float64) - second) / 2)


class Regression:
    """The weighted regression of one game, grown round by round; one solution for all findings.

    gain     ``[f]``: value of everybody less that of nobody, which the Shapley values sum to.
    fixed    enumerated pairs; they stand for themselves.
    """

    def __init__(self, gain: Floats, fixed: Pairs) -> None:
        self.gain, self.fixed = np.asarray(gain, np.float64), fixed
        self.drawn = Pairs(fixed.x[:0], fixed.weight[:0], fixed.half[:0])
        self._fixed, self._drawn = fixed.equations(), self.drawn.equations()

    def add(self, pairs: Pairs) -> None:
        """A round of random pairs."""
        self.drawn += pairs
        self._drawn = added(self._drawn, pairs.equations())

    def solve(self) -> tuple[Floats, Floats]:
        """Shapley values and their standard errors, both ``[players, f]``; the values sum to ``gain``.

        Errors are those of the random pairs (0 where all pairs were enumerated): the sandwich of the constrained
        regression with residuals corrected for leverage (HC2), and NaN below 2 more pairs than players.
        """
        drawn = tuple(part / max(1, len(self.drawn)) for part in self._drawn)
        matrix, right = added(self._fixed, drawn)
        free, split = constrained(matrix)
        values = free @ right + np.outer(split, self.gain)
        return values, self._errors(values, free)

    def _errors(self, values: Floats, free: Floats) -> Floats:
        drawn = self.drawn
        if not len(drawn):
            return np.zeros_like(values)
        if len(drawn) < values.shape[0] + 2:
            return np.full_like(values, np.nan)
        pull = drawn.moments() @ free / len(drawn)  # [n, players]: what one pair's residual moves
        leverage = np.clip((pull * drawn.x).sum(1), 0, 0.99)
        return np.asarray(np.sqrt(pull.T**2 @ ((drawn.half - drawn.x @ values) ** 2 / (1 - leverage)[:, None])))


def added(sums: tuple[Floats, ...], more: tuple[Floats, ...]) -> tuple[Floats, Floats]:
    """Two sets of normal equations as one."""
    return sums[0] + more[0], sums[1] + more[1]


def constrained(matrix: Floats) -> tuple[Floats, Floats]:
    """(F, g) such that ``F b + g c`` minimises ``x' A x / 2 - b' x`` under ``sum(x) = c``.

    Directions in which nothing was drawn yet get the smallest values (a pseudo-inverse).
    """
    players = len(matrix)
    bordered = np.zeros((players + 1, players + 1))
    scale = np.trace(matrix) / players
    bordered[:players, :players] = matrix / scale
    bordered[players, :players] = bordered[:players, players] = 1
    inverse = np.linalg.pinv(bordered, rcond=1e-12, hermitian=True)
    return inverse[:players, :players] / scale, inverse[:players, players]


def kernel_matrix(players: int) -> Floats:
    """The matrix of the normal equations under the whole Shapley kernel, in closed form: E of ``x x'``."""
    sizes, masses = np.arange(1, players // 2 + 1), size_masses(players)
    both = masses @ ((2 * sizes - players) ** 2 - players) / (players * max(1, players - 1)) / 4
    return np.asarray(np.full((players, players), both) + np.eye(players) * (0.25 - both))
