"""The sentences that a generator learns from, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ..models._text_autoencoders import TextCoder
from ..text.attributes import severity_of, side_of
from ..text.nle_database import Entry, drawn, mirrored, read_database
from ._wenlex_asked import SEVERITIES, SIDES
from ._wenlex_plan import WenlexPlan
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHOICES: Mapping[str, tuple[str, ...]] = {"side": SIDES, "severity": SEVERITIES}


@dataclass(frozen=True, eq=False)
class Known:
    """What is learned from.

    databases   audience -> the sentences that were drawn; ``diagnoses`` of which all audiences have some.
    z, group    their vectors ``[k, width]``, and audience * diagnoses + diagnosis of each ``[k]``.
    stated      attribute ("side", "severity") -> what each states ``[k]``: index in ``SIDES`` or ``SEVERITIES``.
    """

    databases: Mapping[str, tuple[Entry, ...]]
    diagnoses: tuple[str, ...]
    z: Tensor
    group: Tensor
    stated: Mapping[str, Tensor]

    def to(self, device: str) -> Known:
        """The same, with its tensors on a device."""
        stated = {name: states.to(device) for name, states in self.stated.items()}
        return replace(self, z=self.z.to(device), group=self.group.to(device), stated=stated)

    @property
    def diagnosis(self) -> Tensor:
        """Index of the diagnosis of each vector ``[k]``."""
        return self.group % len(self.diagnoses)

    def spoken(self, attribute: str) -> NDArray[np.bool_]:
        """``[diagnoses]``: whether a sentence on it states the attribute at all."""
        names = self.stated[attribute] < CHOICES[attribute].index("")
        return np.array([bool(names[self.diagnosis == d].any()) for d in range(len(self.diagnoses))])

    def fitting(self, group: Tensor, wanted: Mapping[str, Tensor]) -> Tensor:
        """bool ``[b, k]``: the sentences of each group ``[b]``, and of these the ones that state what is ``wanted [b]``
        (-1 = nothing) of side, then of severity, where there are any."""
        fits = group[:, None] == self.group[None]
        for attribute, wants in wanted.items():
            closer = fits & ((self.stated[attribute][None] == wants[:, None]) | (wants < 0)[:, None])
            fits = torch.where(closer.any(1, keepdim=True), closer, fits)
        return fits

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
    texts = [text for text, _ in listed]
    stated = {
        name: torch.tensor([CHOICES[name].index(read(text)) for text in texts])
        for name, read in (("side", side_of), ("severity", severity_of))
    }
    group = torch.tensor([g for _, g in listed])
    return Known(databases, diagnoses, coder.encoded(texts).float().cpu(), group, stated)


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
