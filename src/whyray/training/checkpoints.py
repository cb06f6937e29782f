"""Checkpoints of a training run: tensors as safetensors, the rest as JSON; the last two are kept, the pointer is last.

checkpoints/step-00000120.safetensors
checkpoints/step-00000120.json      with the sha256 of the tensors
checkpoints/latest.json             which one to resume from, written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..io.whole import disk_errors, write_whole

if TYPE_CHECKING:
    from torch import Tensor

POINTER = "latest.json"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and facts that are plain JSON."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save(folder: Path, step: int, checkpoint: Checkpoint, keep: int = 2) -> None:
    """Write a checkpoint whole, point at it, and drop all but the last ``keep``. Raises DiskFullError."""
    from safetensors.torch import save as encode

    stem = f"step-{step:08d}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        data = encode({k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()})
        write_whole(folder / f"{stem}.safetensors", data)
        facts = json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "facts": checkpoint.facts})
        body = {"sha256": hashlib.sha256(facts.encode()).hexdigest(), "body": facts}
        write_whole(folder / f"{stem}.json", json.dumps(body).encode())
        write_whole(folder / POINTER, json.dumps({"checkpoint": stem}).encode())
        for path in sorted(folder.glob("step-*.json"))[:-keep]:
            path.unlink(missing_ok=True)
            path.with_suffix(".safetensors").unlink(missing_ok=True)
        for left in folder.glob("*.part"):
            left.unlink(missing_ok=True)


def load(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what was wrong with newer ones. None where there is none."""
    stems = [p.stem for p in sorted(folder.glob("step-*.json"), reverse=True)] if folder.is_dir() else []
    first = _pointed(folder)
    if first in stems:
        stems = [first, *(s for s in stems if s < first)]
    troubles: list[str] = []
    for stem in stems:
        try:
            return _read(folder, stem), troubles
        except (OSError, ValueError, KeyError, TypeError, WeightsError):
            troubles.append(f"checkpoint {stem} is damaged; an earlier one is used, and what it misses is done again")
    return None, troubles


def _pointed(folder: Path) -> str | None:
    try:
        name = json.loads((folder / POINTER).read_text())["checkpoint"]
        return name if isinstance(name, str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(folder: Path, stem: str) -> Checkpoint:
    from ..io.weights import load_weights

    outer = json.loads((folder / f"{stem}.json").read_text())
    if hashlib.sha256(outer["body"].encode()).hexdigest() != outer["sha256"]:
        raise ValueError("the facts are damaged")
    body = json.loads(outer["body"])
    return Checkpoint(load_weights(folder / f"{stem}.safetensors", sha256=body["sha256"]), body["facts"])
