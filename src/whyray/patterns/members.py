"""An ensemble of transcoders on disk, and their codes.

FOLDER/ensemble.json            the classifier's fingerprint, the site, the plan, one entry a member; written last
FOLDER/frame.safetensors        read-out of the site, and the basis
FOLDER/member-000.safetensors   encoder, encoder_bias, decoder, decoder_bias, and threshold where it has one
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ..errors import WeightsError
from ..io.weights import load_weights, save_weights
from ..io.whole import write_whole
from .site import Basis, Site, site_from, site_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

NAME = "ensemble.json"
FORMAT = "whyray-ensemble/1"
Kind = Literal["topk", "jumprelu", "matryoshka"]


@dataclass(frozen=True, eq=False)
class Member:
    """One transcoder: ``codes = keep(encoder @ x + encoder_bias)``, ``h_out ~ decoder_bias + codes @ decoder``.

    encoder    float32 ``[width, r]``, reads tokens in the basis; ``encoder_bias [width]``.
    decoder    float32 ``[width, d_out]``, unit rows; ``decoder_bias [d_out]``.
    k          codes kept a token ("topk", "matryoshka": the largest that are above 0).
    threshold  ``[width]`` ("jumprelu": kept where above it), else None.
    """

    encoder: NDArray[np.float32] = field(repr=False)
    encoder_bias: NDArray[np.float32] = field(repr=False)
    decoder: NDArray[np.float32] = field(repr=False)
    decoder_bias: NDArray[np.float32] = field(repr=False)
    k: int
    kind: Kind = "topk"
    threshold: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Number of latents."""
        return len(self.encoder)


class Members(Sequence[Member]):
    """The members of an ensemble, read one by one when asked for.

    fingerprint, site, basis  of the classifier the ensemble is for.
    plan    what it was trained by; ``results``: one mapping a member (explained variance, L0, dead share ...).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.facts: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
            if self.facts["format"] != FORMAT:
                raise ValueError
            self._hashes = [str(m["sha256"]) for m in self.facts["members"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise WeightsError(f"{folder} holds no ensemble; train one: whyray train transcoders PLAN") from None
        frame = load_weights(folder / "frame.safetensors")
        self.fingerprint = str(self.facts["fingerprint"])
        self.site: Site = site_from(self.facts["site"], frame)
        self.basis = Basis(frame["basis_mean"].numpy(), frame["basis_rows"].numpy())
        self.plan: Mapping[str, Any] = self.facts["plan"]
        self.results: Sequence[Mapping[str, float]] = [m["results"] for m in self.facts["members"]]

    def __len__(self) -> int:
        return len(self._hashes)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> list[Member]: ...
    def __getitem__(self, index: int | slice) -> Member | list[Member]:
        """Read a member. Raises WeightsError where its file is damaged."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return read_member(_path(self.folder, number), self.plan, self._hashes[number])


def load_members(folder: str | Path) -> Members:
    """The ensemble in a folder. Raises WeightsError where there is none, or it is not finished."""
    return Members(Path(folder))


def codes(member: Member, tokens: NDArray[np.float32]) -> csr_matrix:
    """Codes of tokens in the basis ``[n, r]`` -> sparse ``[n, width]``, float32, every stored value above 0."""
    from scipy.sparse import csr_matrix

    before = tokens @ member.encoder.T + member.encoder_bias
    if member.threshold is not None:
        rows, columns = np.nonzero(before > np.maximum(member.threshold, 0))
    else:
        rows = np.repeat(np.arange(len(before)), min(member.k, member.width))
        columns = np.argpartition(-before, min(member.k, member.width) - 1, axis=1)[:, : member.k].ravel()
        active = before[rows, columns] > 0
        rows, columns = rows[active], columns[active]
    shape = (len(before), member.width)
    return csr_matrix((before[rows, columns], (rows, columns)), shape)


def write_member(folder: Path, number: int, member: Member) -> str:
    """Write one member whole; returns its sha256."""
    import torch

    arrays = {
        "encoder": member.encoder,
        "encoder_bias": member.encoder_bias,
        "decoder": member.decoder,
        "decoder_bias": member.decoder_bias,
    }
    if member.threshold is not None:
        arrays["threshold"] = member.threshold
    return save_weights(_path(folder, number), {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()})


def read_member(path: Path, plan: Mapping[str, Any], sha256: str) -> Member:
    """One member's file. Raises WeightsError where it is not the one that was written."""
    tensors = {name: tensor.numpy() for name, tensor in load_weights(path, sha256=sha256).items()}
    return Member(k=int(plan["k"]), kind=plan["kind"], threshold=tensors.pop("threshold", None), **tensors)


def write_ensemble(
    folder: Path,
    *,
    fingerprint: str,
    site: Site,
    basis: Basis,
    plan: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
) -> Path:
    """Declare the members that were written (``sha256`` and ``results`` each) an ensemble; returns its folder."""
    import torch

    frame = {
        **site_tensors(site),
        "basis_mean": torch.from_numpy(np.array(basis.mean)),
        "basis_rows": torch.from_numpy(np.array(basis.rows)),
    }
    save_weights(folder / "frame.safetensors", frame)
    facts = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "site": site.facts,
        "plan": dict(plan),
        "members": [dict(m) for m in members],
    }
    write_whole(folder / NAME, (json.dumps(facts, indent=1) + "\n").encode())
    return folder


def _path(folder: Path, number: int) -> Path:
    return folder / f"member-{number:03d}.safetensors"
