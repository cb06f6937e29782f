"""What a classifier says of itself: Preparation (part of its fingerprint) and Card (facts, not part of it)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from .errors import SettingError, WeightsError
from .types import Voi

# What a field wants, by its name or else by its type, in words.
WANTED = {
    "size": "a side, or [height, width], as whole numbers",
    "fit": '"crop", "pad" or "squash"',
    "mean": "a number, or a list with one a channel",
    "std": "a number, or a list with one a channel",
    "voi": '"file", "none" or [centre, width]',
    "int": "a whole number",
    "float": "a number",
    "float | None": "a number or null",
    "str": "a text",
    "tuple[str, ...]": "a list of texts",
}


@dataclass(frozen=True)
class Preparation:
    """How a radiograph becomes model input. The order: fit, resize, range, mean and std.

    size  (h, w) of the input.
    fit   "crop" = largest centred box of the input's aspect; "pad" = black borders; "squash" = aspect lost.
    low, high  what black and white become (torchxrayvision: -1024 and 1024).
    mean, std  one number a channel, applied after the range.
    voi   which grey-scale window the model was trained on.
    """

    size: tuple[int, int] = (224, 224)
    channels: int = 1
    fit: Literal["crop", "pad", "squash"] = "crop"
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    voi: Voi = "file"


@dataclass(frozen=True)
class Operation:
    """Calibration and operating point of one finding, at a declared reference prevalence.

    probability = sigmoid(slope * logit + intercept); ``threshold`` is on that probability; None = not declared.
    """

    slope: float = 1.0
    intercept: float = 0.0
    prevalence: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Card:
    """Model card: where a classifier comes from, what it was trained on, how well it does, what it cannot do.

    operations      finding -> Operation; a finding without one gets the plain sigmoid, marked uncalibrated.
    views           views the model was trained on; another one is a warning.
    unfamiliar_above  distance in feature space above which an input gets a warning; None = not measured.
    results         rows of measured performance (finding, metric, value, low, high, n, data).
    """

    name: str
    licence: str = "unknown"
    source: str = ""
    training: str = ""
    paper: str = ""
    preparation: Preparation = field(default_factory=Preparation)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    views: tuple[str, ...] = ("PA", "AP")
    unfamiliar_above: float | None = None
    results: tuple[Mapping[str, Any], ...] = ()
    limits: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Card:
        """The inverse of ``to_dict``; ``size``, ``mean`` and ``std`` may be one number, as in ``whyray.wrap``.

        Raises WeightsError for a field that does not exist, or a value that does not fit.
        """
        with _on_a_card():
            parts = dict(data)
            parts["preparation"] = preparation_of(parts.get("preparation", {}))
            operations = _table(parts.get("operations", {}), "operations")
            parts["operations"] = {k: built(Operation, v, f"operations.{k}") for k, v in operations.items()}
            card: Card = built(Card, parts)
        return card


def preparation_of(values: object) -> Preparation:
    """A preparation from the values of a card, or of ``wrap``: ``size``, ``mean`` and ``std`` may be one number.

    Raises SettingError for a field that does not exist, a value of another type, or one that cannot be carried out.
    """
    parts = dict(_table(values, "preparation"))
    parts |= {key: (parts[key],) for key in ("mean", "std") if isinstance(parts.get(key), int | float)}
    if isinstance(parts.get("size"), int | float):
        parts["size"] = (parts["size"], parts["size"])
    made: Preparation = built(Preparation, parts, "preparation")
    check_preparation(made)
    return made


def stored_preparation(values: object) -> Preparation:
    """A preparation that whyray wrote beside an artefact. Raises WeightsError where it is damaged."""
    with _on_a_card():
        made: Preparation = built(Preparation, values, "preparation")
    return made


def check_preparation(preparation: Preparation) -> None:
    """Raises SettingError for a preparation that cannot be carried out."""
    p = preparation
    if not (1 <= p.channels <= 4 and all(16 <= side <= 4096 for side in p.size) and len(p.size) == 2):
        raise SettingError(f"size={p.size}, channels={p.channels}: give sides of 16 to 4096 and 1 to 4 channels")
    if not all(math.isfinite(v) for v in (p.low, p.high, *p.mean, *p.std)):
        raise SettingError("low, high, mean or std that is no finite number; give numbers")
    if p.low == p.high or not all(len(v) in (1, p.channels) for v in (p.mean, p.std)) or min(p.std) <= 0:
        raise SettingError(
            f"low={p.low:g}, high={p.high:g}, mean={p.mean}, std={p.std}: "
            "low and high must differ, std be above 0, mean and std have one number or one a channel"
        )


def built(cls: type, values: object, where: str = "") -> Any:
    """An instance from JSON values; lists become tuples. ``where``: the part of a card they are, said in errors.

    Raises SettingError for a field that does not exist, or a value of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    given = {k: tuple(v) if isinstance(v, list) else v for k, v in _table(values, where).items()}
    fields, hints = {f.name: f for f in dataclasses.fields(cls)}, get_type_hints(cls)
    unknown = sorted(set(given) - set(fields))
    if unknown:
        place = f"{where}: " if where else ""
        raise SettingError(f"{place}the unknown field {unknown[0]!r:.40}; known: {', '.join(fields)}")
    for key, value in given.items():
        try:
            TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError:
            wanted = WANTED.get(key) or WANTED.get(str(fields[key].type)) or f"a value of {fields[key].type}"
            shown = f"{where}.{key}".lstrip(".")
            raise SettingError(f"{shown} = {values[key]!r:.60}; give {wanted}") from None  # type: ignore[index]
    return cls(**given)


@contextmanager
def _on_a_card() -> Iterator[None]:
    """What does not fit is the fault of a file, not of a setting."""
    try:
        yield
    except SettingError as error:
        raise WeightsError(f"a model card has {error}") from None


def _table(values: object, where: str) -> Mapping[str, Any]:
    """The values, where they are a table. Raises SettingError."""
    if not isinstance(values, Mapping):
        raise SettingError(f'{where} = {values!r:.60}; give a table of the form {{"name": value}}')
    return values
