"""A sentence by an LSTM that reads cells and prediction by attention (TieNet)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ._narrated import Narrated


@dataclass(frozen=True)
class TieNet(Narrated):
    """The generator ``tienet`` of networks/narrator.py; settings and checks are those of ``Narrated``."""

    paper: ClassVar[str] = (
        "Wang et al., TieNet: Text-Image Embedding Network for Common Thorax Disease Classification, CVPR 2018"
    )
    network: ClassVar[Literal["dpt", "ratchet", "tienet"]] = "tienet"
