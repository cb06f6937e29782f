"""Pictures through a frozen image tower, once: embeddings in a cache that a kill takes at most a part from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..io.whole import disk_errors, whole_file
from ..models._prepare import prepare
from ..models._torch import fingerprint_of
from ..models.biomedclip import ImageTower
from ..networks.tower import Tower
from ..types import Case, Report
from .examples import labels_of, load_cases
from .plan import ClassifierPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 512  # pictures whose embeddings are kept in one file
BATCH = 16


@dataclass(frozen=True, eq=False)
class Embedded:
    """One split: embeddings float32 ``[n, d]``, labels float32 ``[n, f]`` (NaN = not labelled), patients, sources."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.float32]
    patients: tuple[str, ...]
    source: NDArray[np.int64]


def gathered(
    plan: ClassifierPlan,
    split: str,
    tower: ImageTower,
    embed: Callable[[Tensor], Tensor],
    cache: Path,
    report: Report | None = None,
) -> Embedded:
    """All sources of one split; embeddings are made once and kept in ``cache``."""
    parts = [(source, load_cases(source, split)) for source in plan.data]
    vectors = [embeddings(cases, tower, embed, cache / f"{source.name}-{split}", report) for source, cases in parts]
    labels = [labels_of(cases, plan.findings, source, plan.uncertain) for source, cases in parts]
    return Embedded(
        np.concatenate(vectors),
        np.concatenate(labels),
        tuple(c.patient for _, cases in parts for c in cases),
        np.concatenate([np.full(len(cases), i) for i, (_, cases) in enumerate(parts)]),
    )


def embeddings(
    cases: Sequence[Case],
    tower: ImageTower,
    embed: Callable[[Tensor], Tensor],
    path: Path,
    report: Report | None = None,
) -> NDArray[np.float32]:
    """``[n, d]`` of the cases' pictures, ``PART`` a file in a folder of their own; what is there is not made again."""
    said = [tower_hash(tower), *(c.source() for c in cases)]
    folder = path.with_name(f"{path.name}-{hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:12]}")
    rows = []
    for start in range(0, len(cases), PART):
        file = folder / f"{start // PART:05d}.npy"
        some = cases[start : start + PART]
        made = _kept(file, (len(some), tower.settings["projection"]))
        if made is None:
            made = _embedded(some, tower, embed)
            _keep(file, made)
        rows.append(made)
        if report is not None:
            report(start + len(some), len(cases), f"embedding {path.name}")
    return np.concatenate(rows)


def embedder(tower: ImageTower, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """The frozen tower: model input ``[b, c, s, s]`` -> embeddings ``[b, d]`` on the CPU."""
    module = Tower(**tower.settings)
    module.load_state_dict({k.removeprefix("visual."): v for k, v in tower.tensors.items()})
    module.to(device).eval().requires_grad_(False)

    def embed(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([module(x[i : i + BATCH].to(device)).float().cpu() for i in range(0, len(x), BATCH)])

    return embed


def tower_hash(tower: ImageTower) -> str:
    """What its embeddings depend on: weights, structure and preparation."""
    return fingerprint_of({"settings": dict(tower.settings), "preparation": asdict(tower.preparation)}, tower.tensors)


def _embedded(cases: Sequence[Case], tower: ImageTower, embed: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
    rows = []
    for start in range(0, len(cases), BATCH):
        frames = [prepare(c.radiograph(), tower.preparation).pixels for c in cases[start : start + BATCH]]
        rows.append(embed(torch.from_numpy(np.stack(frames))).numpy())
    return np.concatenate(rows)


def _kept(file: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """What was made before, or None where it is absent or torn."""
    try:
        held: NDArray[np.float32] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return held if held.shape == shape and held.dtype == np.float32 else None


def _keep(file: Path, made: NDArray[np.float32]) -> None:
    with disk_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as handle:
            np.save(handle, made, allow_pickle=False)
