"""From a data set's name on the command line to the data set: ``NAME``, ``NAME:ARGUMENT``, ``NAME:ARGUMENT#SPLIT``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ..contracts import Dataset
from ..errors import DataError, UnknownName, listed
from ..registry import DATASETS
from ..types import Case


@dataclass(frozen=True, eq=False)
class OneSplit(Dataset):
    """One split of a data set, as if it were all of it."""

    whole: Dataset
    split: str
    name: str
    findings: tuple[str, ...]
    licence: str

    def cases(self, split: str | None = None) -> Sequence[Case]:
        """The cases of the split. Raises DataError where another one is asked for."""
        if split not in (None, self.split):
            raise DataError(f"{self.name} keeps the split {self.split!r} only, and {split!r} was asked for")
        return self.whole.cases(self.split)

    def twin(self, case: Case, finding: str) -> Case | None:
        """As the whole data set knows it."""
        return self.whole.twin(case, finding)


def load_dataset(spec: str) -> Dataset:
    """The data set of this name. Raises UnknownName, DataError (layout, split) and SettingError."""
    name, _, argument = spec.partition(":")
    bare, mark, split = (argument if ":" in spec else name).rpartition("#")
    if not mark:
        loaded: Dataset = _module(name, spec).load(argument)
        return loaded
    whole = load_dataset(f"{name}:{bare}" if ":" in spec else bare)
    whole.cases(split)  # an unknown split fails here, not later
    return OneSplit(whole, split, spec, whole.findings, whole.licence)


def _module(name: str, spec: str) -> ModuleType:
    """The module of a kind of data set. Raises UnknownName, and DataError where a folder came without its kind."""
    try:
        return DATASETS.module(name)
    except UnknownName:
        if not Path(spec).expanduser().exists():
            raise
        folder = spec if Path(spec).expanduser().is_dir() else os.path.dirname(spec) or "."
        kinds = listed([f"{kind}:" for kind in DATASETS.names() if kind not in ("folder", "phantom")], 200)
        raise DataError(
            f"{spec!r} came without the kind of its data set; write folder:{folder} (or, before an official layout, "
            f"{kinds})"
        ) from None
