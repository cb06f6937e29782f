"""A folder is a registry: a file in ``explainers/`` is an explainer. Listing imports none of them.

Third parties register by entry point in the groups ``whyray.explainers``, ``whyray.models``, ``whyray.datasets``.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .contracts import Explainer
from .errors import SettingError, UnknownName

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Registry:
    """Names and modules of one folder. ``kind`` is the word users read ("explainer")."""

    folder: str
    kind: str

    def names(self) -> tuple[str, ...]:
        """Sorted names, without importing anything."""
        return tuple(sorted({*self._files(), *self._entry_points()}))

    def summaries(self) -> dict[str, str]:
        """name -> first line of the module's docstring, read as text."""
        files = self._files()
        return {n: _first_line(files[n]) if n in files else "(installed by another package)" for n in self.names()}

    def module(self, name: str) -> ModuleType:
        """Import one. Raises UnknownName with the nearest names."""
        files = self._files()
        if name in files:
            return importlib.import_module(f"whyray.{self.folder}.{files[name].stem}")
        points = self._entry_points()
        if name in points:
            return importlib.import_module(points[name].module)
        raise UnknownName(self.kind, name, self.names())

    def _files(self) -> dict[str, Path]:
        paths = (PACKAGE / self.folder).glob("*.py")
        return {p.stem.rstrip("_"): p for p in paths if not p.stem.startswith("_")}

    def named_class(self, name: str) -> str:
        """The class that an entry point ``module:Class`` names; "" where a module alone, or a file, is registered."""
        if name in self._files():
            return ""
        points = self._entry_points()
        return points[name].attr if name in points else ""

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {p.name: p for p in entry_points(group=f"whyray.{self.folder}")}


EXPLAINERS = Registry("explainers", "explainer")
MODELS = Registry("models", "model")
DATASETS = Registry("datasets", "data set")
METRICS = Registry("metrics", "metric")


def explainer_class(name: str) -> type[Explainer]:
    """The one Explainer subclass that the module of this name defines, or the one that its entry point names."""
    module = EXPLAINERS.module(name)
    if named := EXPLAINERS.named_class(name):
        cls = getattr(module, named, None)
        if not (inspect.isclass(cls) and issubclass(cls, Explainer)):
            raise TypeError(f"the entry point {name} names {module.__name__}:{named}, which is no Explainer subclass")
        return cls
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Explainer) and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define one Explainer subclass, and defines {len(found)}")
    return found[0]


def explainer(spec: str) -> Explainer:
    """An explainer from ``name`` or ``name:key=value,key=value``. Unknown names and settings fail with the choices."""
    name, _, text = spec.partition(":")
    cls = explainer_class(name)
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for key, equals, _value in pairs:
        if not equals:
            raise SettingError(f"{spec!r}: {key!r} has no value; write {name}:key=value,key=value")
    keys = [key.strip() for key, _, _ in pairs]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise SettingError(f"{spec!r} sets {', '.join(twice)} twice; give it once")
    return cls(**_settings(cls, {k.strip(): v.strip() for k, _, v in pairs}))


def _settings(cls: type[Explainer], given: Mapping[str, str]) -> dict[str, Any]:
    """Text values converted to the types of the dataclass fields."""
    from pydantic import TypeAdapter, ValidationError

    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    out: dict[str, Any] = {}
    for key, value in given.items():
        if key not in fields:
            explainer_name = cls.__module__.rpartition(".")[2].rstrip("_")
            raise UnknownName(f"setting of {explainer_name}", key, tuple(fields))
        try:
            out[key] = TypeAdapter(hints[key]).validate_strings(value)
        except ValidationError:
            hint = getattr(hints[key], "__name__", str(hints[key]).replace("typing.", ""))
            default = fields[key].default
            raise SettingError(f"setting {key}={value!r} is no {hint}; the default is {default!r}") from None
    return out


def _first_line(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]
