"""The record of one explained picture, as it stands in ``explanation.json``: plain JSON types, no identity.

``record(...)`` fills one; ``schema()`` is the JSON Schema that ``docs/explanation.schema.json`` publishes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..contracts import Classifier
from ..errors import UnknownName, WhyrayError, clipped, printable
from ..explanations import Explanation
from ..findings import facts as finding_facts
from ..types import Prediction, Radiograph

NOTICE = "Research use only. Not for clinical use."
SCHEMA_VERSION = 1
Results = Mapping[str, Mapping[str, Explanation | str]]  # finding -> explainer -> explanation, or why it was skipped
MOST = 64  # characters of a name on disk
# a name, or a name with settings, of which safe_name loses nothing: no two of these become one
_TAME = re.compile(r"[a-z0-9_]+(?::[a-z0-9_]+=[a-z0-9.-]+(?:,[a-z0-9_]+=[a-z0-9.-]+)*)?")


@dataclass(frozen=True)
class ImageRecord:
    """The picture: what is known of it, never whose it is. ``spacing_mm`` is (row, column)."""

    name: str
    sha256: str
    width: int
    height: int
    bits: int
    spacing_mm: tuple[float, float] | None = None
    view: str | None = None
    laterality: str | None = None
    voi: str = "none"
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRecord:
    """The classifier: ``fingerprint`` covers architecture, weights, preparation and finding order."""

    name: str
    fingerprint: str
    licence: str
    backend: str
    preparation: Mapping[str, Any] = field(default_factory=dict)
    taps: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExplanationRecord:
    """One explanation of one finding, or why there is none (``skipped``).

    file     npz with the raw arrays, at the resolution they were computed, and the affine to source pixels.
    overlay  PNG in source pixels.
    summary  where the evidence lies, in words.
    checks   name -> number; null: could not be checked.
    control  it knows nothing of the finding: what an explanation has to beat.
    content  what is not an array: unit, signed, text, evidence ...
    """

    explainer: str
    kind: str
    file: str | None = None
    overlay: str | None = None
    summary: str = ""
    checks: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    control: bool = False
    paper: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FindingRecord:
    """One finding: the numbers of ``Prediction``, and its explanations (none where it was only predicted)."""

    finding: str
    name: str
    logit: float | None
    probability: float | None
    calibrated: bool
    prevalence: float | None
    threshold: float | None
    positive: bool
    explanations: tuple[ExplanationRecord, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """How the record was made. ``started`` and ``finished`` are UTC, ISO 8601; ``command`` repeats the run."""

    started: str = ""
    finished: str = ""
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: versions())


@dataclass(frozen=True)
class Record:
    """One explained picture. ``files``: name -> sha256 of every other file in its folder."""

    image: ImageRecord
    model: ModelRecord
    warnings: tuple[str, ...]
    findings: tuple[FindingRecord, ...]
    provenance: RunRecord
    files: Mapping[str, str] = field(default_factory=dict)
    notice: str = NOTICE
    schema: int = SCHEMA_VERSION


def record(
    radiograph: Radiograph,
    classifier: Classifier,
    predictions: Sequence[Prediction],
    results: Results,
    run: RunRecord,
    *,
    warnings: Sequence[str] = (),
    anonymous: bool = False,
) -> Record:
    """The record of one picture. ``warnings`` join those of the radiograph; ``anonymous`` drops name and command."""
    if anonymous:
        run = dataclasses.replace(run, command=None)
    return Record(
        image=_image(radiograph, anonymous),
        model=ModelRecord(
            name=classifier.name,
            fingerprint=classifier.fingerprint,
            licence=classifier.card.licence,
            backend=classifier.backend,
            preparation=_plain(dataclasses.asdict(classifier.card.preparation)),
            taps=dict(classifier.taps),
            limits=tuple(classifier.card.limits),
        ),
        warnings=tuple(dict.fromkeys((*radiograph.warnings, *warnings))),
        findings=tuple(_finding(p, results.get(p.finding, {})) for p in predictions),
        provenance=run,
    )


def display_name(finding: str) -> str:
    """The name of a finding for people; a finding outside the vocabulary keeps its own."""
    try:
        return finding_facts(finding).name
    except UnknownName:
        return finding.replace("_", " ")


def file_name(finding: str, explainer: str, ending: str) -> str:
    """``finding-explainer`` and ``ending`` (".npz", ".png", "-strip.png"): one file of one explanation, nobody else's.

    It is safe as a file name on every system.
    """
    return f"{unique_name(finding)}-{unique_name(explainer)}{ending}"


def unique_name(text: str) -> str:
    """``safe_name``, with a short hash of the whole text where that alone could be the name of another text too."""
    if len(text) <= MOST and _TAME.fullmatch(text):
        return safe_name(text)
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe_name(text, MOST - len(mark) - 1)}-{mark}"


def safe_name(text: str, most: int = MOST) -> str:
    """Letters, digits, ``. _ -``; everything else becomes ``_``; never empty, never hidden."""
    return clipped(re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".-"), most).replace("…", "_") or "_"


def folder_stem(text: str, most: int = 120) -> str:
    """As ``safe_name``, with letters, marks and digits of every script (NFC) where the file system takes them: at most
    ``MOST`` characters and ``most`` bytes."""

    def kept(letter: str) -> bool:
        return letter in "._-" or unicodedata.category(letter)[0] in "LMN"

    whole = "".join(c if kept(c) else "_" for c in unicodedata.normalize("NFC", text))
    whole = re.sub("_+", "_", whole).lstrip(".-")
    while len(whole) > MOST or len(whole.encode()) > most:
        whole = whole[:-1]
    if not whole.isascii() and unicodedata.category(whole[0]).startswith("M"):
        whole = f"_{whole}"
    try:
        whole.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return safe_name(text)
    return safe_name(text) if whole.isascii() else whole


def versions() -> dict[str, str]:
    """Versions of what the numbers rest on; nothing is imported for it."""
    found = {"python": platform.python_version()}
    for package in ("whyray", "torch", "numpy", "scipy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def threads() -> int | None:
    """Threads torch computes with, where torch is loaded."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def to_json(value: Record) -> dict[str, Any]:
    """Plain JSON types: tuples become lists, NaN and infinities become null."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(value))
    return plain


def from_json(data: Mapping[str, Any]) -> Record:
    """The inverse of ``to_json``. Raises pydantic's ValidationError for what the schema forbids."""
    from pydantic import TypeAdapter

    made: Record = TypeAdapter(Record).validate_python(data)
    return made


def schema() -> dict[str, Any]:
    """JSON Schema of ``explanation.json``."""
    from pydantic import TypeAdapter

    made = TypeAdapter(Record).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "whyray explanation.json"}


def schema_text() -> str:
    """The text of ``docs/explanation.schema.json``."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def _image(radiograph: Radiograph, anonymous: bool) -> ImageRecord:
    height, width = radiograph.shape
    name = radiograph.sha256[:8] if anonymous else printable(radiograph.name)
    return ImageRecord(
        name=name,
        sha256=radiograph.sha256,
        width=width,
        height=height,
        bits=radiograph.bits,
        spacing_mm=radiograph.spacing_mm,
        view=radiograph.view,
        laterality=radiograph.laterality,
        voi=str(radiograph.voi),
        facts=_plain(dict(radiograph.facts)),
    )


def _finding(prediction: Prediction, made: Mapping[str, Explanation | str]) -> FindingRecord:
    return FindingRecord(
        finding=prediction.finding,
        name=display_name(prediction.finding),
        logit=_number(prediction.logit),
        probability=_number(prediction.probability),
        calibrated=prediction.calibrated,
        prevalence=prediction.prevalence,
        threshold=prediction.threshold,
        positive=prediction.positive,
        explanations=tuple(_explanation(prediction.finding, label, e) for label, e in made.items()),
    )


def _explanation(finding: str, label: str, made: Explanation | str) -> ExplanationRecord:
    about = _explainer_facts(label.partition(":")[0])
    if isinstance(made, str):
        return ExplanationRecord(explainer=label, skipped=made, **about)
    arrays, content = split(made)
    return ExplanationRecord(
        explainer=label,
        **{**about, "kind": made.kind},
        file=file_name(finding, label, ".npz") if arrays else None,
        checks={k: _number(v) for k, v in made.checks.items()},
        seconds=made.provenance.seconds,
        notes=made.notes,
        content=_plain(content),
        provenance=_plain(dataclasses.asdict(made.provenance)),
    )


def split(made: Explanation) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """(arrays for the npz, everything else that is not in every record) of any kind of explanation."""
    own = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    for name in ("finding", "provenance", "checks", "notes"):
        own.pop(name)
    arrays = {k: np.asarray(v) for k, v in own.items() if isinstance(v, np.ndarray) or k == "source_shape"}
    return arrays, {k: v for k, v in own.items() if k not in arrays}


def _explainer_facts(name: str) -> dict[str, Any]:
    """Kind, paper and whether it is a control; a name that is not registered is no control."""
    from ..registry import explainer_class

    try:
        cls = explainer_class(name)
    except (WhyrayError, TypeError, ImportError):
        return {"kind": "attribution", "paper": "", "control": False}
    return {"kind": cls.kind, "paper": cls.paper, "control": cls.control}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """JSON types all the way down."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return _number(value)
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)
