"""Which findings a source labels: what is not listed there is absent (0), and everything else is not labelled (NaN)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import DataError
from ..findings import VOCABULARIES, crosswalk
from ._tables import known_finding

NO_FINDING = "no_finding"


@dataclass(frozen=True)
class Policy:
    """``labelled``: findings that the source decides on for every picture. ``absent``: whether not listed means 0.

    With ``absent`` False the source gives diagnoses: what it states is 1, the rest is not labelled.
    """

    labelled: frozenset[str]
    absent: bool = True


NIH = frozenset(crosswalk("nih-14").values()) | {NO_FINDING}
# known sources, by the beginning of their name in the column "dataset"
KNOWN: Mapping[str, Policy] = {
    "NIH ChestX-ray14": Policy(NIH),
    "Paediatric pneumonia": Policy(frozenset({"pneumonia", NO_FINDING})),
    "COVID-19 image data collection": Policy(frozenset({"pneumonia"}), absent=False),
    "TBX11K": Policy(frozenset({"tuberculosis"})),
    "SIIM-ACR pneumothorax": Policy(frozenset({"pneumothorax"})),
}


def policy_of(row: Mapping[str, str]) -> Policy | None:
    """From the column "labelled" (findings or label sets, ``|`` between them), else from a known source, else None."""
    if row.get("labelled"):
        return Policy(frozenset(f for label in _parts(row["labelled"]) for f in _named(label)))
    dataset = row.get("dataset", "")
    return next((policy for name, policy in KNOWN.items() if dataset.startswith(name)), None)


def labels_from(text: str, policy: Policy | None) -> tuple[dict[str, float], list[str], list[str]]:
    """Labels of one row, findings called uncertain (``Pneumonia?``), and labels nobody knows.

    ``No_X`` says that X is absent. Without a policy only what the row states is labelled.
    """
    labels: dict[str, float] = {}
    unsure: list[str] = []
    unknown: list[str] = []
    for part in _parts(text):
        found = known_finding(part.rstrip("?"))
        denied = known_finding(part[3:]) if part[:3].lower() in ("no_", "no ") else None
        if found is None and denied is None:
            unknown.append(part)
        elif part.endswith("?") and found is not None:
            unsure.append(found)
        else:
            labels[found or denied or ""] = 1.0 if found is not None else 0.0
    if policy is None:
        return labels | dict.fromkeys(unsure, math.nan), unsure, unknown
    if policy.absent and text:
        labels = {f: labels.get(f, math.nan if f in unsure else 0.0) for f in policy.labelled}
    return {f: value for f, value in labels.items() if f in policy.labelled}, unsure, unknown


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split("|") if part.strip()]


def _named(label: str) -> tuple[str, ...]:
    if label in VOCABULARIES:
        return tuple(crosswalk(label).values())
    found = known_finding(label)
    if found is None:
        raise DataError(f"the column 'labelled' names {label!r:.60}, which is neither a finding nor a label set")
    return (found,)
