"""The report of a phantom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._phantom_findings import Lesion


@dataclass(frozen=True)
class Sentence:
    """One sentence and what it claims."""

    text: str


def write_report(
    n: int, lesions: Sequence[Lesion], devices: Sequence[str], severities: Mapping[str, float]
) -> tuple[tuple[Sentence, ...], dict[str, str]]:
    """Placeholder until the report is written."""
    return (), {"findings": "", "impression": ""}
