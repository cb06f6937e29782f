"""A sentence by a decoder that reads cells and prediction by cross-attention (RATCHET)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ._narrated import Narrated


@dataclass(frozen=True)
class Ratchet(Narrated):
    """The generator ``ratchet`` of networks/narrator.py; settings and checks are those of ``Narrated``."""

    paper: ClassVar[str] = (
        "Hou et al., RATCHET: Medical Transformer for Chest X-ray Diagnosis and Reporting, MICCAI 2021"
    )
    network: ClassVar[Literal["dpt", "ratchet", "tienet"]] = "ratchet"
