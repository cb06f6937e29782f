"""Reports beside stored activations: one embedding a picture, of the Findings section only.

FOLDER/reports-00000.safetensors embeddings [n, d] of the pictures of one shard; a row without a text is zero
FOLDER/reports-00000.json        their names, the tower, what was read, why some have none, and the sha256;
                                 written after it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..io.weights import file_sha256, load_weights, save_weights
from ..io.whole import disk_errors, write_whole
from ..models._clip_text import TextTower, before_conclusion, report_embeddings
from ..types import Report
from .activations import ActivationStore, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 512  # reports a file: what a kill costs


def write_reports(
    parts: Sequence[Part], folder: Path, tower: TextTower, *, report: Report | None = None
) -> Mapping[str, str]:
    """Embed the Findings of the cases into the folder of their activations; returns case id -> why it has none.

    Run again after a stop, it goes on where it was. Raises SettingError, DiskFullError.
    """
    import torch

    listed = [(part.spec, case) for part in parts for case in part.cases]
    without: dict[str, str] = {}
    with disk_errors(folder):
        for number, start in enumerate(range(0, len(listed), PIECE)):
            some = listed[start : start + PIECE]
            read = json.dumps([before_conclusion(case.report.get("findings", "")) for _, case in some]).encode()
            about = {
                "tower": tower.name,
                "cases": [[spec, case.id] for spec, case in some],
                "read": hashlib.sha256(read).hexdigest(),
            }
            held = _whole(folder, number)
            if held is None or {k: held.get(k) for k in about} != about:
                rows, lacking = report_embeddings([case for _, case in some], tower)
                tensors = {"embeddings": torch.from_numpy(np.nan_to_num(rows))}
                sha256 = save_weights(_file(folder, number), tensors)
                held = {**about, "without": lacking, "sha256": sha256}
                write_whole(_file(folder, number).with_suffix(".json"), (json.dumps(held) + "\n").encode())
            without |= held["without"]
            if report is not None:
                report(start + len(some), len(listed), "reports")
    return without


def read_reports(store: ActivationStore) -> NDArray[np.float32]:
    """``[n, d]`` in the order of ``store.images``; NaN for a picture whose report has no Findings. DataError."""
    rows: dict[tuple[str, str], NDArray[np.float32]] = {}
    for number in range(len(list(store.folder.glob("reports-*.json")))):
        held = _whole(store.folder, number)
        if held is None:
            name = _file(store.folder, number).name
            raise DataError(f"{name} in {store.folder} is damaged; write it again with `whyray activations`")
        vectors = load_weights(_file(store.folder, number))["embeddings"].numpy()
        for (spec, case), vector in zip(held["cases"], vectors, strict=True):
            rows[spec, case] = vector if vector.any() else np.full_like(vector, np.nan)  # no text has none of anything
    lacking = [image.case for image in store.images if (image.spec, image.case) not in rows]
    if lacking:
        raise DataError(f"{store.folder} has no report embedding of {lacking[0]}; give its plan `reports = FOLDER`")
    return np.stack([rows[image.spec, image.case] for image in store.images])


def _file(folder: Path, number: int) -> Path:
    return folder / f"reports-{number:05d}.safetensors"


def _whole(folder: Path, number: int) -> dict[str, Any] | None:
    """What the facts beside one file say, or None where either is absent or damaged."""
    file = _file(folder, number)
    try:
        facts: dict[str, Any] = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        return facts if facts["sha256"] == file_sha256(file) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
