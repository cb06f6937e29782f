"""From an ensemble of transcoders to a pattern bank: what each member does on the validation pictures, then the gates.

Every member, and every piece of the second pass, is a cell: stop it and run it again, and nothing is made twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import DataError, FingerprintError, SettingError
from ..io.whole import disk_errors, write_whole
from ..patterns.activations import ActivationStore
from ..patterns.bank import Pattern, PatternBank, save_bank
from ..patterns.funnel import GatePlan
from ..patterns.gates import directions
from ..patterns.lacking import left_out, of_split
from ..patterns.members import Members, codes, load_members
from ..patterns.site import same_place, site_of
from ..training.lock import locked
from ..types import Report, content
from ._gated import Gated, Latents, gated
from ._patterns_page import page
from .files import silent
from .run import Cell, run, whole
from .store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1  # of the numbers in the cells
CELLS, FUNNEL = "cells", "funnel.html"
PIECE = 16  # pictures whose tokens are read at once


@dataclass(frozen=True, eq=False)
class _Pictures:
    """The validation pictures the gates look at."""

    store: ActivationStore
    chosen: NDArray[np.int64]

    @property
    def facts(self) -> dict[str, Any]:
        """What a cell depends on."""
        return {"fingerprint": self.store.fingerprint, "pictures": self.store.content(self.chosen)}

    def pieces(self) -> Iterator[NDArray[np.int64]]:
        """Picture numbers, a piece at a time."""
        for start in range(0, len(self.chosen), PIECE):
            yield self.chosen[start : start + PIECE]


def build_patterns(
    ensemble: str | Path,
    activations: str | Path,
    classifier: Classifier,
    out: str | Path,
    *,
    plan: GatePlan | None = None,
    kept: Path | None = None,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> PatternBank:
    """Build the bank of ``classifier`` into the folder ``out``: artefact.json, artefact.safetensors, cells/ and
    funnel.html. Categories and names come later; patterns are in the order of what they move.

    kept  the folder whose cells/ are used, in place of those in ``out``.
    Raises FingerprintError where ensemble or activations are another classifier's, SettingError where they were read at
    another layer, DataError where nothing passes (funnel.html is there all the same), or the split has no pictures.
    """
    plan = plan or GatePlan()
    folder, members, store = Path(out), load_members(ensemble), ActivationStore(activations)
    for trouble in left_out(store):
        report(0, 0, trouble)
    _require(classifier, members, store)
    pictures = _Pictures(store, chosen_images(store, plan))
    with disk_errors(folder), locked(folder):
        cells = Store((kept or folder) / CELLS)
        latents = _latents(members, pictures, cells, report, cancelled)
        made = gated(
            latents, plan, _strengths_of(members, pictures, cells, report, cancelled), _head(classifier, members)
        )
        bank = _bank(classifier, members, made, plan, store)
        write_whole(folder / FUNNEL, page(bank).encode())
        if not bank.patterns:
            raise DataError(
                f"no pattern passed the gates; {folder / FUNNEL} shows how many other thresholds would let through: "
                "move one (--set moves=0.003), or train more members"
            )
        save_bank(folder, bank)
    return bank


def _require(classifier: Classifier, members: Members, store: ActivationStore) -> None:
    """Raises FingerprintError or SettingError unless all three are of one classifier, read at one layer."""
    store.require(classifier)
    if members.fingerprint != classifier.fingerprint:
        raise FingerprintError(
            f"the ensemble {members.folder} is of another classifier; train one for {classifier.name}"
        )
    here = site_of(classifier, store.site.tap_in, store.site.tap_out)
    for folder, site in ((store.folder, store.site), (members.folder, members.site)):
        if not same_place(here, site):
            layers = ", ".join(f"{tap} at {layer}" for tap, layer in classifier.taps.items())
            raise SettingError(
                f"{folder} was read at another place than {classifier.name} is now ({layers}); "
                "give the --layer that `whyray activations` was given"
            )


def chosen_images(store: ActivationStore, plan: GatePlan) -> NDArray[np.int64]:
    """Pictures of the plan's split, drawn where there are more than it asks for, in their order."""
    if plan.split == "test":
        raise SettingError("split='test' came, and test pictures measure the finished bank; give --set split=val")
    found = of_split(store, plan.split, least=2)
    if len(found) > plan.images:
        found = np.sort(np.random.default_rng(plan.seed).choice(found, plan.images, replace=False))
    return np.asarray(found, np.int64)


def _latents(
    members: Members, pictures: _Pictures, cells: Store, report: Report, cancelled: Callable[[], bool]
) -> Latents:
    """What every latent of every member does on every picture: peak, mean, and the share of tokens it fires in."""
    about = {"kind": "member-activity", "version": VERSION, **pictures.facts}
    wanted = [Cell({**about, "member": h}, f"member {i}", i) for i, h in enumerate(_contents(members))]

    def work(missing: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, NDArray[Any]]]]:
        for cell in missing:
            yield cell, _activity(members, cell.given, pictures)

    run([[c] for c in wanted], work, cells, total=len(wanted), report=report, cancelled=cancelled)
    parts = [r.arrays for r in whole(wanted, cells)]
    every = members[:]
    return Latents(
        peaks=np.concatenate([p["peaks"] for p in parts], axis=1),
        means=np.concatenate([p["means"] for p in parts], axis=1),
        tokens=np.concatenate([p["tokens"] for p in parts]),
        member=np.repeat(np.arange(len(every)), [m.width for m in every]),
        directions=directions(np.concatenate([m.encoder for m in every]), np.concatenate([m.decoder for m in every])),
        decoder=np.concatenate([m.decoder for m in every]),
        readout=np.concatenate([m.decoder @ members.site.weights.T for m in every]).astype(np.float32),
        pooled=_pooled(pictures, pictures.store.outputs),
        embeddings=_pooled(pictures, pictures.store.tokens),
        kinds=tuple(pictures.store.images[i].spec for i in pictures.chosen),
    )


def _activity(members: Members, number: int, pictures: _Pictures) -> dict[str, NDArray[Any]]:
    """peaks float16 and means float32 ``[n, width]``, tokens ``[width]`` of one member."""
    member, count = members[number], pictures.store.cells
    peaks, means, fired = [], [], np.zeros(member.width)
    for piece in pictures.pieces():
        tokens = members.basis.project(pictures.store.tokens(piece))
        active = codes(member, tokens.reshape(-1, tokens.shape[2]))
        fired += np.asarray((active > 0).sum(axis=0)).ravel()
        dense = active.toarray().reshape(len(piece), count, member.width)
        peaks.append(dense.max(axis=1).astype(np.float16))
        means.append(dense.mean(axis=1, dtype=np.float64).astype(np.float32))
    share = fired / (len(pictures.chosen) * count)
    return {"peaks": np.concatenate(peaks), "means": np.concatenate(means), "tokens": share}


def _contents(members: Members) -> list[list[str | None]]:
    """What a cell depends on of each member: its numbers, how many codes it keeps, and what it reads of a token."""
    plan, read = members.plan, content(members.basis)
    return [[str(m["sha256"]), content([plan["k"], plan["kind"]]), read] for m in members.facts["members"]]


def _pooled(pictures: _Pictures, read: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> NDArray[np.float64]:
    """Mean over cells ``[n, d]``."""
    return np.concatenate([read(piece).mean(axis=1, dtype=np.float64) for piece in pictures.pieces()])


def _strengths_of(
    members: Members, pictures: _Pictures, cells: Store, report: Report, cancelled: Callable[[], bool]
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """cluster of each latent -> strength of each pattern on each picture ``[n, patterns]``: the second pass."""

    def strengths(cluster: NDArray[np.int64]) -> NDArray[np.float32]:
        bank = _bare(members, cluster)
        about = {"kind": "strengths", "version": VERSION, "bank": bank.sha256}
        wanted = [
            Cell({**about, "pictures": pictures.store.content(piece)}, "patterns", piece) for piece in pictures.pieces()
        ]

        def work(missing: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, NDArray[Any]]]]:
            for cell in missing:
                yield cell, {"strengths": bank.activations(pictures.store.tokens(cell.given))}

        run([[c] for c in wanted], work, cells, total=len(wanted), report=report, cancelled=cancelled)
        return np.concatenate([r["strengths"] for r in whole(wanted, cells)])

    return strengths


def _head(classifier: Classifier, members: Members) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Pooled features ``[b, d]`` -> logits ``[b, f]``, by the classifier's own head on a constant map."""
    import torch

    site = members.site

    def head(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
        value = torch.from_numpy(pooled.astype(np.float32))
        if site.grid != (1, 1):
            value = value[:, :, None, None].expand(-1, -1, *site.grid)
        with torch.inference_mode():
            return np.asarray(classifier.head(site.tap_out, value).double().cpu().numpy())

    return head


def _bare(members: Members, cluster: NDArray[np.int64], patterns: Sequence[Pattern] = ()) -> PatternBank:
    """A bank of these clusters, before it has names and facts."""
    every = members[:]
    thresholds = [m.threshold for m in every if m.threshold is not None]
    number = int(cluster.max()) + 1 if len(cluster) else 0
    return PatternBank(
        fingerprint=members.fingerprint,
        findings=(),
        site=members.site,
        basis=members.basis,
        members=len(every),
        k=every[0].k,
        kind=every[0].kind,
        encoder=np.concatenate([m.encoder for m in every]),
        encoder_bias=np.concatenate([m.encoder_bias for m in every]),
        threshold=np.concatenate(thresholds) if thresholds else None,
        readout=np.concatenate([m.decoder @ members.site.weights.T for m in every]).astype(np.float32),
        base=np.mean([members.site.weights @ m.decoder_bias for m in every], axis=0),
        cluster=cluster,
        patterns=tuple(patterns) or tuple(Pattern(f"p{i:04d}") for i in range(number)),
    )


def _bank(classifier: Classifier, members: Members, made: Gated, plan: GatePlan, store: ActivationStore) -> PatternBank:
    """The bank of the clusters that passed, with what was measured of each pattern."""
    findings = classifier.findings
    patterns = [
        Pattern(
            id=f"p{i:04d}",
            density=float(made.density[i]),
            stability=float(made.stability[i]),
            monosemanticity=float(made.cohesion[i]),
            relevance=float(np.abs(made.moved[i]).max()),
            findings=tuple(findings[c] for c in made.moves(i, plan.moves)),
        )
        for i in range(len(made.density))
    ]
    facts = {
        "plan": dataclasses.asdict(plan),
        "images": made.images,
        "members": len(members),
        "plan_of_members": dict(members.plan),
        "results_of_members": _mean_results(members),
        "funnel": [gate.facts() for gate in made.funnel],
        "halves": made.halves,
        "left_out": list(store.troubles),
    }
    bare = _bare(members, made.cluster, patterns)
    return dataclasses.replace(bare, findings=findings, facts=facts)


def _mean_results(members: Members) -> dict[str, float]:
    """Mean over members of what was measured of each."""
    names = dict.fromkeys(name for r in members.results for name in r)
    return {n: float(np.mean([r[n] for r in members.results if n in r])) for n in names}
