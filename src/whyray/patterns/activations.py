"""Activations of many pictures on disk: sharded, resumable, memory-mapped, larger than memory.

FOLDER/activations.json        the classifier's fingerprint, the site, what is in the store; written first
FOLDER/site.safetensors        the read-out
FOLDER/shard-00000.safetensors inputs [n, cells, d_in], and outputs [n, cells, d_out] where another tap is written
FOLDER/shard-00000.json        its pictures, and its sha256; written after it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..contracts import Classifier
from ..errors import DataError, FingerprintError, SettingError, WeightsError
from ..io.weights import file_sha256, load_weights, save_weights
from ..io.whole import disk_errors, write_whole
from ..types import Case, Report
from .site import Site, read_tokens, same_place, site_from, site_of, site_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "activations.json"
FORMAT = "whyray-activations/1"
Numbers = Literal["float16", "float32"]


@dataclass(frozen=True)
class Part:
    """Cases of one data set, and the spec that finds them again ("phantom#train"; variables stay as they are)."""

    spec: str
    cases: Sequence[Case] = field(repr=False)


@dataclass(frozen=True)
class Layout:
    """How a store is written: pictures a shard, pictures a forward pass, the type of its numbers."""

    shard: int = 256
    batch: int = 16
    numbers: Numbers = "float16"


@dataclass(frozen=True)
class ImageRow:
    """One picture of a store: where it comes from, never the picture itself. ``labels`` has the known ones only."""

    spec: str
    case: str
    patient: str
    split: str
    labels: Mapping[str, float]


def write_activations(
    classifier: Classifier,
    parts: Sequence[Part],
    folder: Path,
    *,
    site: Site | None = None,
    layout: Layout = Layout(),
    report: Report | None = None,
) -> Path:
    """Stream the pictures of ``parts`` through ``classifier``; returns ``folder``. Run again, it goes on after a stop.

    Raises SettingError where ``folder`` holds another store (also one of pictures or labels that have changed since:
    see ``Case.source``), or numbers do not fit into ``layout.numbers``; DataError
    where there are no cases, or two of one spec have the same name.
    """
    site = site or site_of(classifier)
    listed = [(part.spec, case) for part in parts for case in part.cases]
    if not listed:
        raise DataError("no pictures came; give a data set with cases in this split")
    if len({(spec, case.id) for spec, case in listed}) < len(listed):
        raise DataError("a picture came twice; name each data set and split once")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _begin(folder, classifier, site, layout, listed)
        for number, start in enumerate(range(0, len(listed), layout.shard)):
            chosen = listed[start : start + layout.shard]
            if _whole(folder, number) is None:
                made = _activations(classifier, site, [case for _, case in chosen], layout)
                _write_shard(folder, number, chosen, made)
            if report is not None:
                report(min(start + layout.shard, len(listed)), len(listed), f"shard {number}")
    return folder


class ActivationStore:
    """What ``write_activations`` wrote. A damaged or absent shard is left out: see ``troubles`` and ``missing``.

    images    one ImageRow a picture, in order; token (i, p) is cell p of picture i.
    site      where the tokens were read; ``cells`` of a picture.
    troubles  one sentence a shard that is left out; ``missing`` = how many pictures were in such shards.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.facts = _facts(self.folder)
        self.fingerprint = str(self.facts["fingerprint"])
        self.site = _site(self.folder, self.facts)
        self.cells = self.site.cells
        self.images: tuple[ImageRow, ...]
        self.missing: int
        self.troubles: tuple[str, ...]
        self._arrays: list[dict[str, NDArray[Any]]] = []
        self._hashes: list[str] = []
        self._open()

    def __len__(self) -> int:
        return len(self.images)

    def tokens(self, images: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """What a transcoder reads, of pictures by index: float32 ``[n, cells, d_in]``."""
        return self._read(images, "inputs", self.site.d_in)

    def outputs(self, images: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """What it writes: float32 ``[n, cells, d_out]``; the same as ``tokens`` where it is one tap."""
        one_tap = self.site.tap_in == self.site.tap_out
        return self._read(images, "inputs" if one_tap else "outputs", self.site.d_out)

    def logits(self, images: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """``[n, f]``, by the read-out."""
        logits: NDArray[np.float64] = self.outputs(images).mean(1, dtype=np.float64) @ self.site.weights.T
        return logits + self.site.bias

    def content(self, images: Sequence[int] | NDArray[np.int64]) -> str:
        """sha256 that tells these pictures' numbers and rows from any others, from the hashes of their shards."""
        digest = hashlib.sha256()
        for shard, row in zip(*self._places(images), strict=True):
            digest.update(f"{self._hashes[shard]} {row}\n".encode())
        return digest.hexdigest()

    def where(self, split: str) -> NDArray[np.int64]:
        """Indices of the pictures of one split."""
        return np.flatnonzero([image.split == split for image in self.images])

    def require(self, classifier: Classifier) -> None:
        """Raises FingerprintError where the activations are another classifier's."""
        if classifier.fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{self.folder} holds activations of {self.facts['classifier']}, and {classifier.name} is another "
                "classifier: write them again with `whyray activations`"
            )

    def _open(self) -> None:
        images: list[ImageRow] = []
        troubles, starts, expected = [], [0], int(self.facts["images"])
        shard = int(self.facts["layout"]["shard"])
        for number in range(-(-expected // shard)):
            rows = _whole(self.folder, number)
            if rows is None:
                wanted = min(shard, expected - number * shard)
                troubles.append(f"shard-{number:05d} is damaged or absent: {wanted} pictures are left out")
                continue
            self._hashes.append(file_sha256(self.folder / f"shard-{number:05d}.json"))  # it holds that of the numbers
            self._arrays.append(_mapped(self.folder / f"shard-{number:05d}.safetensors"))
            images += rows
            starts.append(len(images))
        if not images:
            raise DataError(f"{self.folder} has no shard that is whole; write it again with `whyray activations`")
        self.images, self.troubles, self.missing = tuple(images), tuple(troubles), expected - len(images)
        self._starts = np.asarray(starts)

    def _read(self, images: Sequence[int] | NDArray[np.int64], name: str, width: int) -> NDArray[np.float32]:
        shards, rows = self._places(images)
        out = np.empty((len(rows), self.cells, width), np.float32)
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = self._arrays[shard][name][rows[here]]
        return out

    def _places(self, images: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(shard, row in it) of each picture."""
        wanted = np.asarray(images, np.int64)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        return shards, wanted - self._starts[shards]


def _begin(
    folder: Path, classifier: Classifier, site: Site, layout: Layout, listed: Sequence[tuple[str, Case]]
) -> None:
    """Write the head of a new store; raises SettingError where the folder holds another one."""
    rows = [json.dumps([asdict(_row(spec, case)), case.source()], sort_keys=True) for spec, case in listed]
    facts = {
        "format": FORMAT,
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "findings": list(classifier.findings),
        "site": site.facts,
        "layout": asdict(layout) | {"batch": 0},
        "images": len(listed),
        "cases": hashlib.sha256("\n".join(rows).encode()).hexdigest(),
    }
    if (folder / NAME).exists():
        if _facts(folder) != facts or not same_place(site, _site(folder, facts)):
            raise SettingError(
                f"{folder} holds other activations (of another classifier, layer or list of cases, or of pictures or "
                "labels that have changed since); give another folder, or delete this one"
            )
        return
    save_weights(folder / "site.safetensors", site_tensors(site))
    write_whole(folder / NAME, (json.dumps(facts, indent=1) + "\n").encode())


def _site(folder: Path, facts: Mapping[str, Any]) -> Site:
    return site_from(facts["site"], load_weights(folder / "site.safetensors"))


def _activations(classifier: Classifier, site: Site, cases: Sequence[Case], layout: Layout) -> dict[str, NDArray[Any]]:
    """inputs (and outputs) of one shard, batch by batch."""
    import torch

    parts: dict[str, list[NDArray[Any]]] = {"inputs": [], "outputs": []}
    for start in range(0, len(cases), layout.batch):
        pictures = [classifier.prepare(c.radiograph()).pixels for c in cases[start : start + layout.batch]]
        read = read_tokens(classifier, site, torch.from_numpy(np.stack(pictures)))
        for name, values in zip(parts, read[: 1 if site.tap_in == site.tap_out else 2]):
            if not np.abs(values).max() <= np.finfo(layout.numbers).max:
                raise SettingError(f"activations at {site.tap_in!r} do not fit into {layout.numbers}; use float32")
            parts[name].append(values.astype(layout.numbers))
    return {name: np.concatenate(values) for name, values in parts.items() if values}


def _write_shard(
    folder: Path, number: int, chosen: Sequence[tuple[str, Case]], arrays: Mapping[str, NDArray[Any]]
) -> None:
    import torch

    stem = folder / f"shard-{number:05d}"
    sha256 = save_weights(stem.with_suffix(".safetensors"), {k: torch.from_numpy(v) for k, v in arrays.items()})
    rows = [asdict(_row(spec, case)) for spec, case in chosen]
    write_whole(stem.with_suffix(".json"), json.dumps({"sha256": sha256, "images": rows}).encode())


def _row(spec: str, case: Case) -> ImageRow:
    known = {name: float(value) for name, value in case.labels.items() if value == value}
    return ImageRow(spec, case.id, case.patient or case.id, case.split, known)


def _whole(folder: Path, number: int) -> list[ImageRow] | None:
    """The pictures of a shard that is there and as it was written, else None."""
    stem = folder / f"shard-{number:05d}"
    try:
        found = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        if file_sha256(stem.with_suffix(".safetensors")) != found["sha256"]:
            return None
        return [ImageRow(**row) for row in found["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file whose hash was checked, memory-mapped."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    kinds = {"F16": np.float16, "F32": np.float32}
    return {
        name: np.memmap(path, kinds[e["dtype"]], "r", 8 + length + e["data_offsets"][0], tuple(e["shape"]))
        for name, e in header.items()
        if name != "__metadata__"
    }


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(
            f"{folder} holds no activations; write them: whyray activations -d DATA -o {folder}"
        ) from None
    return facts
