"""What belongs to one classifier (autoencoder, pattern bank, sentence model ...): tensors that carry its fingerprint.

FOLDER/artefact.json         kind, fingerprint of the classifier, facts, sha256 of the tensors; written last
FOLDER/artefact.safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FingerprintError, WeightsError
from .weights import load_weights, save_weights
from .whole import write_whole

if TYPE_CHECKING:
    from torch import Tensor

NAME = "artefact.json"
FORMAT = "whyray-artefact/1"


@dataclass(frozen=True)
class Artefact:
    """kind ("autoencoder", "patterns" ...), fingerprint of its classifier, tensors by name, facts as plain JSON."""

    kind: str
    fingerprint: str
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save_artefact(folder: Path, artefact: Artefact) -> Path:
    """Write an artefact whole; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(folder / "artefact.safetensors", artefact.tensors)
    data = {
        "format": FORMAT,
        "kind": artefact.kind,
        "fingerprint": artefact.fingerprint,
        "sha256": sha256,
        "facts": dict(artefact.facts),
    }
    write_whole(folder / NAME, (json.dumps(data, indent=1) + "\n").encode())
    return folder


def load_artefact(folder: Path, kind: str, fingerprint: str) -> Artefact:
    """The artefact of ``kind`` that belongs to the classifier with ``fingerprint``.

    Raises WeightsError where it is missing or damaged, FingerprintError where it belongs to another classifier.
    """
    try:
        data = json.loads((folder / NAME).read_text(encoding="utf-8"))
        found, sha256, facts = str(data["fingerprint"]), str(data["sha256"]), dict(data["facts"])
        if data["format"] != FORMAT or data["kind"] != kind:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(f"{folder} holds no {kind}; name another folder, or train one (docs/training.md)") from None
    if found != fingerprint:
        raise FingerprintError(
            f"the {kind} in {folder} belongs to the classifier {found[:12]}, and this one is {fingerprint[:12]}; "
            "name another folder, or train one for this classifier (docs/training.md)"
        )
    return Artefact(kind, found, load_weights(folder / "artefact.safetensors", sha256=sha256), facts)
