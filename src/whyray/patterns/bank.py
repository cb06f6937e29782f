"""The pattern bank: what is shipped to say what a classifier saw. Encoders of all members, what each latent adds to
each logit, and which latents are one pattern. It holds no decoder, and no picture.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import WeightsError
from ..types import content
from .site import Basis, Site, site_from, site_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..contracts import Classifier

    Float = NDArray[np.float32]

KIND = "patterns"
UNASSIGNED = "unassigned"


@dataclass(frozen=True)
class Pattern:
    """One pattern: a cluster of latents, each of which other members have too (by the looser cosine of the gate).

    density          share of the validation images on which it fires somewhere.
    stability        share of the members whose latents are in this very cluster.
    monosemanticity  mean cosine of its strongest images above that of random ones; ``low``: its 95 % lower end.
    relevance        largest mean change of a logit when it is taken out, over the images on which it is strongest.
    findings         those whose logit it moves, most first.
    """

    id: str
    name: str = ""
    category: str = UNASSIGNED
    density: float = float("nan")
    stability: float = float("nan")
    monosemanticity: float = float("nan")
    relevance: float = float("nan")
    findings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name where it has one, else its id."""
        return self.name or self.id


@dataclass(frozen=True, eq=False)
class PatternBank:
    """Patterns of one classifier, ``latents = members * width`` in the order of members.

    fingerprint  of the classifier; ``findings``: its findings, in order.
    site         where tokens are read and what they add to logits; ``basis``: what the encoders read of a token.
    encoder      float32 ``[latents, r]``; encoder_bias ``[latents]``; threshold ``[latents]`` where ``kind`` is
                 "jumprelu", else None; ``k``: latents that may be active in one token of one member.
    readout      float32 ``[latents, f]``: logits a latent adds to, per unit of activity in every cell.
    base         float64 ``[f]``: what the mean decoder bias adds to each logit.
    cluster      int ``[latents]``: index into ``patterns``, or -1 where no gate let the latent through.
    facts        how it was built, its funnel, what it was measured on; plain JSON.
    """

    fingerprint: str
    findings: tuple[str, ...]
    site: Site
    basis: Basis | None
    members: int
    k: int
    kind: str
    encoder: Float = field(repr=False)
    encoder_bias: Float = field(repr=False)
    threshold: Float | None = field(repr=False)
    readout: Float = field(repr=False)
    base: NDArray[np.float64] = field(repr=False)
    cluster: NDArray[np.int64] = field(repr=False)
    patterns: tuple[Pattern, ...] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """Latents of one member."""
        return len(self.encoder) // self.members

    @cached_property
    def sha256(self) -> str:
        """Hash of all that it computes; names, categories and facts are not part of it."""
        held = dataclasses.replace(self, patterns=(), facts={})
        return hashlib.sha256(str(content(held)).encode()).hexdigest()

    def index(self, pattern: str) -> int:
        """Number of the pattern with this id. Raises UnknownName with the nearest ids."""
        from ..errors import UnknownName

        ids = [p.id for p in self.patterns]
        if pattern not in ids:
            raise UnknownName("pattern", pattern, ids)
        return ids.index(pattern)

    @cached_property
    def grouping(self) -> Any:
        """Sparse ``[patterns, latents]``: the mean over members of what a pattern's latents do."""
        from scipy.sparse import csr_matrix

        named = np.flatnonzero(self.cluster >= 0)
        share = np.full(len(named), 1 / self.members, np.float32)
        return csr_matrix((share, (self.cluster[named], named)), (len(self.patterns), len(self.cluster)))

    @cached_property
    def by_pattern(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(latents in the order of their patterns, where each pattern's begin ``[patterns + 1]``)."""
        order = np.argsort(self.cluster, kind="stable")
        return order, np.searchsorted(self.cluster[order], np.arange(len(self.patterns) + 1))

    def codes(self, tokens: NDArray[np.floating[Any]]) -> Any:
        """Activity of every latent, sparse ``[n, latents]``, in tokens ``[n, d_in]``."""
        from scipy.sparse import csr_matrix

        x = np.asarray(tokens, np.float32)
        if self.basis is not None:
            x = self.basis.project(x)
        before = (x @ self.encoder.T + self.encoder_bias).reshape(len(x), self.members, self.width)
        active = self._active(before).reshape(len(x), -1)
        rows, columns = np.nonzero(active)
        starts = np.r_[0, np.cumsum(np.bincount(rows, minlength=len(x)))]
        values = before.reshape(len(x), -1)[rows, columns]
        return csr_matrix((values, columns, starts), (len(x), len(self.encoder)))

    def _active(self, before: Float) -> NDArray[np.bool_]:
        """Which latents fire, from what their encoders give ``[n, members, width]``."""
        if self.threshold is not None:
            return np.asarray(before > np.maximum(self.threshold.reshape(self.members, self.width), 0))
        if self.k >= self.width:
            return np.asarray(before > 0)
        cut = np.partition(before, self.width - self.k, axis=2)[:, :, self.width - self.k]
        return np.asarray(before >= np.maximum(cut, np.finfo(np.float32).tiny)[:, :, None])

    def maps(self, tokens: NDArray[np.floating[Any]]) -> Float:
        """Activity of each pattern in each cell, ``[n, patterns, cells]``, of tokens ``[n, cells, d_in]``.

        A pattern's activity is the mean over members of the summed activity of its latents.
        """
        out = np.empty((len(tokens), len(self.patterns), tokens.shape[1]), np.float32)
        for i, image in enumerate(tokens):
            out[i] = (self.grouping @ self.codes(image).T).toarray()
        return out

    def activations(self, tokens: NDArray[np.floating[Any]]) -> Float:
        """Activity of each pattern on each image, ``[n, patterns]``: that of its strongest cell."""
        out = np.empty((len(tokens), len(self.patterns)), np.float32)
        for i, image in enumerate(tokens):
            out[i] = (self.grouping @ self.codes(image).T).toarray().max(axis=1)
        return out


def save_bank(folder: Path, bank: PatternBank) -> Path:
    """Write a bank as an artefact of its classifier; returns its folder."""
    import torch

    from ..io.artefacts import Artefact, save_artefact

    arrays: dict[str, NDArray[Any]] = {
        "encoder": bank.encoder.astype(np.float16),
        "encoder_bias": bank.encoder_bias.astype(np.float32),
        "readout": bank.readout.astype(np.float16),
        "base": bank.base.astype(np.float64),
        "cluster": bank.cluster.astype(np.int16 if len(bank.patterns) < 2**15 else np.int32),
    }
    if bank.basis is not None:
        arrays |= {"mean": np.asarray(bank.basis.mean, np.float32), "rows": np.asarray(bank.basis.rows, np.float32)}
    if bank.threshold is not None:
        arrays["threshold"] = bank.threshold.astype(np.float32)
    facts = {
        "findings": list(bank.findings),
        "site": bank.site.facts,
        "members": bank.members,
        "k": bank.k,
        "kind": bank.kind,
        "patterns": [dataclasses.asdict(p) for p in bank.patterns],
        "facts": dict(bank.facts),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    return save_artefact(folder, Artefact(KIND, bank.fingerprint, tensors | site_tensors(bank.site), _finite(facts)))


def load_bank(folder: Path, classifier: Classifier) -> PatternBank:
    """The bank in a folder, for this classifier.

    Raises WeightsError where it is missing or damaged, FingerprintError where it belongs to another classifier.
    """
    from ..io.artefacts import load_artefact

    artefact = load_artefact(Path(folder), KIND, classifier.fingerprint)
    arrays = {name: t.numpy() for name, t in artefact.tensors.items()}
    facts = artefact.facts
    try:
        return PatternBank(
            fingerprint=artefact.fingerprint,
            findings=tuple(facts["findings"]),
            site=site_from(facts["site"], artefact.tensors),
            basis=Basis(arrays["mean"], arrays["rows"]) if "rows" in arrays else None,
            members=int(facts["members"]),
            k=int(facts["k"]),
            kind=str(facts["kind"]),
            encoder=arrays["encoder"].astype(np.float32),
            encoder_bias=arrays["encoder_bias"],
            threshold=arrays.get("threshold"),
            readout=arrays["readout"].astype(np.float32),
            base=arrays["base"],
            cluster=arrays["cluster"].astype(np.int64),
            patterns=tuple(_pattern(p) for p in facts["patterns"]),
            facts=facts.get("facts", {}),
        )
    except (KeyError, TypeError, ValueError, IndexError):
        raise WeightsError(f"the bank in {folder} lacks a part; build it again: whyray patterns build") from None


def bank_for(classifier: Classifier, folder: str = "") -> PatternBank:
    """The bank named, else the one that belongs to the classifier. Raises UnmetNeed where there is none."""
    from ..models._artefacts import artefact_folder

    return load_bank(Path(folder) if folder else artefact_folder(KIND, classifier), classifier)


def _pattern(values: Mapping[str, Any]) -> Pattern:
    """A pattern from JSON: lists become tuples, null becomes NaN."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        plain[name] = tuple(value) if isinstance(value, list) else float("nan") if value is None else value
    return Pattern(**plain)


def _finite(value: Any) -> Any:
    """For JSON: numbers that are not finite as None, the rest rounded to five digits: all that they are good for."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.5g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
