"""A sentence by a GPT-2-style decoder that reads cells and prediction as its prefix (DPT, MIMIC-NLE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ._narrated import Narrated


@dataclass(frozen=True)
class DPT(Narrated):
    """The generator ``dpt`` of networks/narrator.py; settings and checks are those of ``Narrated``."""

    paper: ClassVar[str] = "Kayser et al., Explaining Chest X-ray Pathologies in Natural Language, MICCAI 2022"
    network: ClassVar[Literal["dpt", "ratchet", "tienet"]] = "dpt"
