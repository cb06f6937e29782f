"""The sentences that a generator learns from, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ..models._text_autoencoders import TextCoder
from ..text.attributes import severity_of, side_of
from ..text.nle_database import Entry, drawn, mirrored, read_database
from ._wenlex_plan import WenlexPlan
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Known:
    """What is learned from.

    databases   audience -> the sentences that were drawn; ``diagnoses`` of which all audiences have some.
    z, group    their vectors ``[k, width]``, and audience * diagnoses + diagnosis of each ``[k]``.
    spoken      attribute ("side", "severity") -> bool ``[diagnoses]``: whether a sentence states it.
    """

    databases: Mapping[str, tuple[Entry, ...]]
    diagnoses: tuple[str, ...]
    z: Tensor
    group: Tensor
    spoken: Mapping[str, NDArray[np.bool_]]

    @property
    def diagnosis(self) -> Tensor:
        """Index of the diagnosis of each vector ``[k]``."""
        return self.group % len(self.diagnoses)

    @property
    def groups(self) -> int:
        """Audiences times diagnoses."""
        return len(self.databases) * len(self.diagnoses)


def known_of(plan: WenlexPlan, coder: TextCoder, findings: Sequence[str]) -> Known:
    """The plan's databases, drawn by its seed. Raises DataError, and SettingError where no finding is in all."""
    databases = {
        audience: drawn(read_database(expanded(name)), plan.examples or None, plan.loop.seed)
        for audience, name in plan.databases.items()
    }
    diagnoses = diagnoses_of(plan.diagnoses, databases, findings)
    databases = {a: tuple(e for e in entries if e.diagnosis in diagnoses) for a, entries in databases.items()}
    listed = [
        (text, i * len(diagnoses) + diagnoses.index(entry.diagnosis))
        for i, entries in enumerate(databases.values())
        for entry in entries
        for text in dict.fromkeys((entry.nle, mirrored(entry.nle)) if plan.mirrored else (entry.nle,))
    ]
    group = torch.tensor([g for _, g in listed])
    z = coder.encoded([text for text, _ in listed]).float().cpu()
    return Known(databases, diagnoses, z, group, spoken(databases, diagnoses))


def diagnoses_of(
    wanted: Sequence[str], databases: Mapping[str, Sequence[Entry]], findings: Sequence[str]
) -> tuple[str, ...]:
    """Findings that every database and the classifier have, in the classifier's order, or those that are wanted."""
    has = [{entry.diagnosis for entry in entries} for entries in databases.values()]
    both = tuple(f for f in findings if all(f in names for names in has))
    if not both:
        raise SettingError("the databases and the classifier share no finding; write sentences for the classifier's")
    for name in wanted:
        if name not in both:
            raise SettingError(f"diagnoses has {name!r}; the databases and the classifier share {', '.join(both)}")
    return tuple(wanted) or both


def spoken(databases: Mapping[str, Sequence[Entry]], diagnoses: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Attribute -> bool ``[diagnoses]``: whether any sentence on the diagnosis states it."""
    texts = {d: [e.nle for entries in databases.values() for e in entries if e.diagnosis == d] for d in diagnoses}
    return {
        name: np.array([any(read(text) for text in texts[d]) for d in diagnoses])
        for name, read in (("side", side_of), ("severity", severity_of))
    }
