"""Who says what: a sentence a called finding of each picture, by the generator and by those it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import DataError
from ..explainers._round_trip import Reader
from ..metrics.language import CONSTANT, CONSTANTS
from ..text.nle_database import Entry
from ..types import array_hash
from ._weak_seen import PIECE, Seen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

GENERATED, FIXED, DRAWN = "wenlex", "constant sentence", "database sentence"
ENCODED = 256  # texts at a time


class Generator(Protocol):
    """What is asked of a generator that learned without pairs (``models/_wenlex.py`` has the one there is)."""

    @property
    def diagnoses(self) -> tuple[str, ...]: ...
    @property
    def audiences(self) -> tuple[str, ...]: ...
    @property
    def databases(self) -> Mapping[str, tuple[Entry, ...]]: ...
    def latents(self, features: Tensor, probabilities: Tensor, diagnoses: Sequence[str], audience: str) -> Tensor: ...
    def texts(self, z: Tensor, beams: int = 1) -> list[str]: ...
    def candidates(self, z: Tensor, diagnosis: str, audience: str, beams: int) -> list[str]: ...
    def encoded(self, texts: Sequence[str]) -> Tensor: ...
    def pictures(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Rows:
    """A row a sentence to be had: ``case [m]`` of n pictures, ``findings [m]``."""

    case: NDArray[np.int64]
    findings: tuple[str, ...]
    n: int

    def of(self, finding: str) -> NDArray[np.int64]:
        """The rows of one finding."""
        return np.flatnonzero(np.array(self.findings) == finding)

    def pooled(self, z: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The mean ``[n, w]`` of each picture's rows ``[m, w]`` that are finite; NaN where it has none."""
        known = np.isfinite(z).all(axis=1)
        sums, counts = np.zeros((self.n, z.shape[1])), np.bincount(self.case[known], minlength=self.n)
        np.add.at(sums, self.case[known], z[known])
        means = np.divide(sums, counts[:, None], out=np.full(sums.shape, np.nan), where=counts[:, None] > 0)
        return np.asarray(means)


@dataclass(frozen=True, eq=False)
class Said:
    """What one writer says: a text a row ("" for none), and its encodings ``[m, w]``, NaN where there is no text."""

    texts: tuple[str, ...]
    z: NDArray[np.float64] = field(repr=False)


def rows_of(seen: Seen, diagnoses: Sequence[str]) -> Rows:
    """Every called finding that the generator knows. Raises DataError where there is none."""
    findings = seen.classifier.findings
    found = [(i, findings[j]) for i, j in np.argwhere(seen.called) if findings[j] in diagnoses]
    if not found:
        raise DataError("the classifier calls no finding of these pictures that the generator knows; give others")
    return Rows(np.array([i for i, _ in found], np.int64), tuple(f for _, f in found), len(seen.cases))


def key_of(generator: Generator, seen: Seen, rows: Rows, audience: str) -> str:
    """What tells generators apart: a hash of what this one makes of the first pictures, rounded."""
    import torch

    mine = np.flatnonzero(rows.case < rows.case[0] + PIECE)
    made = _written(generator, seen, rows, mine, audience)
    with torch.inference_mode():
        drawn = generator.pictures(torch.from_numpy(made["z"][:1])).float().cpu().numpy()
    parts = [np.round(a, 3) + 0.0 for a in (made["z"], vectors(generator, made["texts"].tolist()), drawn)]
    return "".join(array_hash(a)[:16] for a in parts)


def latents(generator: Generator, key: str, seen: Seen, rows: Rows, audience: str) -> tuple[Said, Said]:
    """(what it says, encoded again from its words; the same texts with the latents they were written from).

    Kept a few pictures at a time.
    """
    z: list[NDArray[Any]] = []
    texts: list[str] = []
    for start in range(0, rows.n, PIECE):
        mine = np.flatnonzero((rows.case >= start) & (rows.case < start + PIECE))
        if not len(mine):
            continue
        asked = [[seen.keys[rows.case[i]], rows.findings[i]] for i in mine]
        facts = {"kind": "weak-sentences", "generator": key, "audience": audience, "rows": asked}

        held = seen.store.have(facts, partial(_written, generator, seen, rows, mine, audience))
        z.append(held["z"])
        texts += held["texts"].tolist()
    return encoded(generator, texts), Said(tuple(texts), np.concatenate(z).astype(np.float64))


def encoded(generator: Generator, texts: Sequence[str]) -> Said:
    """Texts with their encodings."""
    return Said(tuple(texts), vectors(generator, texts))


def vectors(generator: Generator, texts: Sequence[str]) -> NDArray[np.float64]:
    """Encodings ``[m, w]``, each different text once; NaN for a text without a letter."""
    import torch

    unique = sorted({t for t in texts if any(c.isalnum() for c in t)})
    with torch.inference_mode():
        parts = [generator.encoded(unique[s : s + ENCODED]).float().cpu() for s in range(0, len(unique), ENCODED)]
        width = parts[0].shape[1] if parts else generator.encoded(["x"]).shape[1]
    table = torch.cat(parts).double().numpy() if parts else np.zeros((0, width))
    place = {t: i for i, t in enumerate(unique)}
    out = np.full((len(texts), width), np.nan)
    for i, text in enumerate(texts):
        if text in place:
            out[i] = table[place[text]]
    return out


def others(generator: Generator, seen: Seen, rows: Rows, audience: str, constant: str, seed: int) -> dict[str, Said]:
    """Writers to compare with: each voice, one sentence for all, a learned sentence of the diagnosis at random."""
    spoken: dict[str, list[str]] = {
        label: [said[c].get(f, "") for c, f in zip(rows.case, rows.findings, strict=True)]
        for label, said in seen.said.items()
    }
    spoken[FIXED] = [constant or CONSTANTS.get(audience, CONSTANT)] * len(rows.findings)
    rng = np.random.default_rng(seed)
    known = {f: [e.nle for e in generator.databases[audience] if e.diagnosis == f] for f in set(rows.findings)}
    spoken[DRAWN] = [known[f][rng.integers(len(known[f]))] if known[f] else "" for f in rows.findings]
    return {label: encoded(generator, texts) for label, texts in spoken.items()}


def _written(
    generator: Generator, seen: Seen, rows: Rows, mine: NDArray[np.int64], audience: str
) -> dict[str, NDArray[Any]]:
    """z and texts of the rows ``mine``; each picture's maps are read once."""
    import torch

    members, at = np.unique(rows.case[mine], return_inverse=True)
    with torch.inference_mode():
        maps, chances = _read(seen, members.tolist())
        z = generator.latents(maps[at], chances[at], [rows.findings[i] for i in mine], audience)
        reader = Reader(generator, seen.classifier, audience)  # type: ignore[arg-type]
        texts = reader.worded(z, [rows.findings[i] for i in mine], maps[at].mean((2, 3)), reader.seen(z)[0])
    return {"z": z.float().cpu().numpy(), "texts": np.array(texts, dtype=np.str_)}


def _read(seen: Seen, members: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Feature maps ``[b, d, h, w]`` and probabilities ``[b, f]``."""
    import torch

    logits = torch.from_numpy(seen.logits[list(members)]).float()
    return torch.from_numpy(seen.maps(members)), logits.sigmoid()
