"""The nouns everything else is about: Radiograph, Frame, Region, Case, Prediction, Score, Provenance.

Coordinates everywhere: x to the right, y down, 0-based, pixel centres at whole numbers. An affine is a float64
``[3, 3]`` matrix that takes ``(x, y, 1)`` of one grid to ``(x, y, 1)`` of another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

View = Literal["PA", "AP", "LATERAL"]
Laterality = Literal["L", "R"]
Voi = Literal["file", "none"] | tuple[float, float]
Report = Callable[[int, int, str], None]  # progress of a long job: (done, in all, what it is at)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One picture as a reader would see it, without identity.

    pixels      float32 ``[h, w]``, 0 = black (air) .. 1 = white (bone), read-only.
    bits        significant bits of a source pixel.
    spacing_mm  (row, column) distance of pixel centres, or None where unknown.
    view        "PA", "AP", "LATERAL", or None where the source does not say.
    laterality  "L" or "R" where the source gives one (a chest radiograph rarely does), else None.
    voi         how grey values were windowed: "file", "none" or "centre/width".
    facts       non-identifying facts of the source: format, modality, body part, polarity, size ...
    warnings    one sentence each: what a reader of an explanation ought to know about this picture.
    sha256      hash of the source bytes (or of the array, where there was no file).
    patient_key salted hash that groups pictures of one patient; None where the source names none.
    name        a label for tables and folders (the file's stem); never taken from a tag.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    bits: int = 8
    spacing_mm: tuple[float, float] | None = None
    view: View | None = None
    laterality: Laterality | None = None
    voi: str = "none"
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    sha256: str = ""
    patient_key: str | None = None
    name: str = "radiograph"

    def __post_init__(self) -> None:
        pixels = np.array(self.pixels, dtype=np.float32, order="C")  # a copy: the caller's array stays his
        pixels.setflags(write=False)
        object.__setattr__(self, "pixels", pixels)
        if not self.sha256:
            object.__setattr__(self, "sha256", array_hash(pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the source picture."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class Frame:
    """What a classifier is fed for one radiograph.

    pixels        float32 ``[c, h, w]``, normalised as the model wants it.
    to_source     affine from model-input pixels to source pixels.
    source_shape  (h, w) of the radiograph it came from.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    to_source: NDArray[np.float64]
    source_shape: tuple[int, int]

    @property
    def sha256(self) -> str:
        """Hash of the model-ready array."""
        return array_hash(self.pixels)


@dataclass(frozen=True, eq=False)
class Region:
    """Where an annotator saw a finding: a box, or a mask of the radiograph's shape. Source pixels.

    box  (x, y, width, height).
    mask bool ``[h, w]`` or None.
    kind "finding", "anatomy", or "machine" (the output of a program: not truth).
    """

    finding: str
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    kind: Literal["finding", "anatomy", "machine"] = "finding"
    annotator: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """One row of a data set. The picture is read when ``radiograph()`` is called, not before.

    open    reads it. Where it (or ``open_regions``) has a method ``source() -> str`` that tells what it reads from
            every other thing without reading it, what is kept of a picture is found again without reading it.
    labels  canonical finding -> 1.0 present, 0.0 absent, NaN not labelled.
    report  section name ("findings", "impression" ...) -> text; empty where there is none.
    facts   what else the data set says (view, age, sex, device, severity ...).
    """

    id: str
    open: Callable[[], Radiograph] = field(repr=False)
    labels: Mapping[str, float] = field(default_factory=dict)
    patient: str = ""
    split: str = ""
    open_regions: Callable[[], tuple[Region, ...]] = field(default=tuple, repr=False)
    report: Mapping[str, str] = field(default_factory=dict, repr=False)
    facts: Mapping[str, object] = field(default_factory=dict, repr=False)

    def radiograph(self) -> Radiograph:
        """Read the picture."""
        return self.open()

    def regions(self) -> tuple[Region, ...]:
        """Read the annotators' regions."""
        return self.open_regions()

    def source(self) -> str:
        """What tells its pixels from any others, a sha256; the picture is read only where ``open`` does not know."""
        return _source(self.open, lambda: array_hash(self.radiograph().pixels))

    def regions_source(self) -> str:
        """The same of its regions."""
        return _source(self.open_regions, lambda: str(content(self.regions())))


def _source(read: Callable[[], object], otherwise: Callable[[], str]) -> str:
    known = getattr(read, "source", None)
    words = otherwise() if known is None else str(known())
    return hashlib.sha256(words.encode()).hexdigest()  # a path, or a name in it, does not leave the machine


@dataclass(frozen=True)
class Prediction:
    """One finding of one radiograph: three different numbers, never mixed.

    logit        raw output of the network.
    probability  calibrated to ``prevalence`` where the card has a calibration, else ``sigmoid(logit)`` and
                 ``calibrated`` is False.
    threshold    operating point on the probability scale, or None.
    """

    finding: str
    logit: float
    probability: float
    threshold: float | None = None
    prevalence: float | None = None
    calibrated: bool = False

    @property
    def positive(self) -> bool:
        """At or above the operating point (0.5 where none is declared)."""
        return self.probability >= (0.5 if self.threshold is None else self.threshold)


@dataclass(frozen=True)
class Score:
    """One cell of a table: a metric with its 95 % interval and the number of cases it rests on."""

    finding: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    explainer: str | None = None
    slice: str | None = None
    baseline: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Provenance:
    """How an explanation was made: enough to make it again."""

    explainer: str
    version: int
    settings: Mapping[str, object]
    seed: int
    fingerprint: str
    image_sha256: str
    frame_sha256: str
    backend: str
    seconds: float
    whyray: str


def array_hash(array: NDArray[np.generic]) -> str:
    """sha256 over dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def content(value: object) -> str | None:
    """Words that two values share only where they are the same through and through: every field of a dataclass, every
    element of an array. None where a part of it is known by its address alone (a lambda, a plain object)."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | PurePath):
        return f"{kind} {value!r}"
    if isinstance(value, np.ndarray | np.generic):
        return None if value.dtype.hasobject else f"{kind} {array_hash(np.asarray(value))}"
    if isinstance(value, Mapping):
        parts = [content(part) for item in value.items() for part in item]
    elif isinstance(value, list | tuple):
        parts = [content(part) for part in value]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [content(getattr(value, f.name)) for f in dataclasses.fields(value)]
    else:
        return None
    return None if None in parts else f"{kind} {json.dumps(parts)}"


def radiograph_from_array(
    pixels: NDArray[np.generic], *, inverted: bool = False, name: str = "array", view: View | None = None
) -> Radiograph:
    """A radiograph from a 2-D array: integers by their dtype's full range, floats that already lie in 0..1.

    Raises InputError for another shape, for floats outside 0..1 and for values that are not finite.
    """
    from .errors import InputError

    array = np.asarray(pixels)
    if array.ndim != 2 or min(array.shape) < 32:
        raise InputError(name, f"an array of shape {array.shape} came", "give a 2-D array of at least 32 x 32")
    if array.dtype.kind == "u":
        values, bits = array.astype(np.float64) / np.iinfo(array.dtype).max, array.dtype.itemsize * 8
    elif array.dtype.kind == "f":
        values, bits = array.astype(np.float64), 32
    else:
        raise InputError(name, f"an array of type {array.dtype} came", "give unsigned integers, or floats in 0..1")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InputError(name, "values lie outside 0..1 or are not finite", "scale to 0 = black .. 1 = white")
    return Radiograph(np.asarray(1 - values if inverted else values, np.float32), bits=bits, view=view, name=name)
