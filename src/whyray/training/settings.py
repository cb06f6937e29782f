"""Dataclasses from TOML: an unknown key, or a value of the wrong kind, fails with the choices."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import SettingError, suggestion

if TYPE_CHECKING:
    from pydantic import ValidationError

T = TypeVar("T")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises SettingError where it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from None


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass (nested ones and tuples of them too) from TOML values; ``where`` names the table in errors."""
    from pydantic import TypeAdapter, ValidationError

    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise SettingError(f"{where} has no setting {key!r}; {suggestion(key, tuple(fields))}")
        inner = _dataclass(hints[key])
        if inner is not None and isinstance(value, Mapping):
            out[key] = from_mapping(inner, value, f"{where}.{key}")
        elif inner is not None and isinstance(value, list | tuple):
            out[key] = tuple(from_mapping(inner, v, f"{where}.{key}") for v in value)
        else:
            try:
                out[key] = TypeAdapter(hints[key]).validate_python(value)
            except ValidationError as error:
                raise _wrong(f"{where}.{key}", value, error) from None
    missing = [n for n, f in fields.items() if n not in out and _required(f)]
    if missing:
        raise SettingError(f"{where} lacks the setting {missing[0]!r}")
    return cls(**out)


def _wrong(where: str, value: Any, error: ValidationError) -> SettingError:
    """A value of the wrong kind: one that is none of a few choices, with the nearest of them, or pydantic's words."""
    first = error.errors()[0]
    if first["type"] != "literal_error":
        return SettingError(f"{where} = {value!r:.60}: {first['msg']}")
    choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
    return SettingError(
        f"{where.rpartition('.')[2]} {first['input']!r:.60} is no choice; {suggestion(str(first['input']), choices)}"
    )


@dataclass(frozen=True)
class Plans(Generic[T]):
    """How the plans of one kind of training are read: its dataclass, and the stage of a recipe that holds one."""

    cls: type[T]
    stage: str

    def load(self, path: str | Path, changes: Sequence[str] = ()) -> T:
        """The plan in a TOML file, or in its table ``[stage.STAGE]``; ``changes``: ``key=value`` (``loop.lr=1e-3``).

        Raises SettingError for an unknown key or a value of the wrong kind.
        """
        found = read_toml(path)
        stages = found.get("stage", {})
        return self.read(stage_table(stages, self.stage) if self.stage in stages else found, changes)

    def read(self, table: Mapping[str, Any], changes: Sequence[str] = ()) -> T:
        """The plan in a table that was read."""
        return from_mapping(self.cls, with_changes(table, changes), "the plan")


def with_changes(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The tables with ``key=value`` or ``table.key=value`` put in; a value is TOML, or else text."""
    out: dict[str, Any] = dict(values)
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not path.strip():
            raise SettingError(f"{change!r} came; write key=value, such as loop.epochs=20")
        *tables, key = path.strip().split(".")
        place = out
        for table in tables:
            if not isinstance(place.get(table, {}), Mapping):
                raise SettingError(f"{path!r}: {table} is no table of the plan")
            place[table] = dict(place.get(table, {}))
            place = place[table]
        try:
            place[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            place[key] = text
    return out


def stage_table(stages: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The table of one stage; with ``start = "OTHER"`` the keys it does not set itself are those of the stage OTHER."""
    own = dict(stages[name])
    start = own.pop("start", None)
    if start is None:
        return own
    if start not in list(stages)[: list(stages).index(name)]:
        raise SettingError(f"stage.{name}.start = {start!r}: no stage of that name comes before it")
    return _merged(stage_table(stages, start), own)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    tables = [k for k, v in over.items() if isinstance(v, Mapping) and isinstance(base.get(k), Mapping)]
    return {**base, **over, **{k: _merged(base[k], over[k]) for k in tables}}


def expanded(text: str) -> str:
    """``$NAME`` replaced from the environment. Raises SettingError for a variable that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise SettingError(f"{text!r} needs the environment variable {name}: set it to the folder that is meant")
        return os.environ[name]

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, text)


def _dataclass(hint: Any) -> type[Any] | None:
    """The dataclass in ``X`` or ``tuple[X, ...]``, else None."""
    for candidate in (hint, *typing.get_args(hint)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
