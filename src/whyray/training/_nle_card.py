"""The card of a generator that was trained on pairs of picture and sentence, from the JSON beside its tensors alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MEASURES = {
    "clev": "cites the same evidence as the reference (CLEV)",
    "side": "names the reference's side",
    "zone": "names the reference's zone",
    "changed": "differs from the sentence on the shuffled image",
    "grade": "reading grade (Flesch-Kincaid, years of school)",
}


def nle_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """The page, line by line, below its head."""
    facts = data["facts"]
    provenance, architecture = facts["provenance"], facts["architecture"]
    shape = ", ".join(f"{k} {v}" for k, v in architecture.items() if k != "network")
    named = ", ".join(d.replace("_", " ") for d in facts["diagnoses"])
    trained, _, tested = provenance["pairs"]
    yield (
        f"- network: {architecture['network']} ({shape}), for the classifier `{facts['classifier']}`, fingerprint "
        f"`{data['fingerprint'][:16]}`: {named}"
    )
    yield f"- audience: {facts.get('audience', 'clinician')}"
    yield f"- licence of the weights: {facts['licence']}"
    epochs, minutes = provenance["plan"]["loop"]["epochs"], provenance["seconds"] / 60
    yield f"- training: {epochs} epochs, {minutes:.0f} minutes, {trained} pairs of picture and sentence"
    yield f"- intended use: the explainer `{architecture['network']}` of that classifier."
    yield from ("", "## What it learned from", "")
    yield from (f"- {s['about']}. {s['licence']}" for s in facts["data"])
    yield from ("", f"## On {tested} held-back pairs", "")
    yield "95 % intervals: patient-level bootstrap, 2000 replicates, seed 0."
    yield from ("", "| measure | writer | |", "|---|---|---|")
    for row in facts["results"]:
        if row["metric"] in MEASURES and row["value"] is not None:
            value = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], n = {row['n']}"
            yield f"| {MEASURES[row['metric']]} | {row['writer']} | {value} |"
    yield from ("", "## Limits", "", *(f"- {limit}" for limit in facts["limits"]))
