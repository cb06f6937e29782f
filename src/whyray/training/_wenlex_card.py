"""The card of a generator that learned from a few examples, from the JSON beside its tensors alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MEASURES = {
    "cosine": "cosine, picture drawn from the words",
    "cosine_latent": "the same, drawn from the vector",
    "cosine_label": "control: from the diagnosis alone",
    "cosine_shuffled": "control: from words on another picture with the same diagnosis",
    "named": "words are of the diagnosis that was asked",
    "side": "words state the side of the classifier's evidence",
    "severity": "words state the strength of the classifier's answer",
}


def wenlex_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """The page, line by line, below its head."""
    facts = data["facts"]
    provenance, counts = facts["provenance"], facts["described"]
    plan = provenance["plan"]
    named = ", ".join(d.replace("_", " ") for d in facts["diagnoses"])
    yield (
        f"- a sentence a diagnosis for the classifier `{facts['classifier']}`, fingerprint "
        f"`{data['fingerprint'][:16]}`, for {' and '.join(facts['audiences'])}: {named}"
    )
    yield f"- licence of the weights: {facts['licence']}"
    before = ", after a first stage" if plan["init"] else ""
    minutes = f"{provenance['seconds'] / 60:.0f} minutes"
    yield f"- training: {plan['loop']['epochs']} epochs, {minutes}{before}; no pair of picture and sentence"
    yield "- intended use: the explainer `wenlex` of that classifier."
    yield from ("", "## What it learned from", "")
    for source, number in zip(facts["data"], _numbers(provenance, len(facts["data"])), strict=True):
        yield f"- pictures: {source['about']}{number}. {source['licence']}"
    for audience, described in counts.items():
        few = sorted(set(described["diagnoses"].values()))
        each = str(few[0]) if len(few) == 1 else f"{few[0]} to {few[-1]}"
        yield (
            f"- sentences, {audience}: {each} a diagnosis, drawn with seed {plan['loop']['seed']} "
            f"({', '.join(described['sources'])}), sha256 `{described['sha256'][:16]}`"
            + ("; each also with left and right exchanged" if plan["mirrored"] else "")
        )
    yield from ("", "Unpaired text that its text autoencoder saw:", "")
    for source in facts["text"].get("data", ()):
        yield f"- {source['about']}: {source['texts']} texts. {source['licence']}"
    yield from (
        "",
        "What is lost without some of them: [ablation](../training-text-autoencoder.md#the-text-autoencoder-of-mini).",
    )
    yield from ("", f"## On {provenance['pictures'][2]} held-back pictures", "")
    yield "A row is a sentence on a called diagnosis. 95 % intervals: patient-level bootstrap, 2000 replicates, seed 0."
    yield from ("", f"| measure | {' | '.join(facts['audiences'])} |", "|---|" + "---|" * len(facts["audiences"]))
    for metric, words in MEASURES.items():
        cells = [_cell(facts["results"], metric, audience) for audience in facts["audiences"]]
        yield f"| {words} | {' | '.join(cells)} |"
    yield from ("", "## Limits", "", *(f"- {limit}" for limit in facts["limits"]))


def _numbers(provenance: Mapping[str, Any], sources: int) -> list[str]:
    """How many training pictures, behind the last source: they are counted together."""
    return [*[""] * (sources - 1), f" ({provenance['pictures'][0]} training pictures in all)"]


def _cell(results: Sequence[Mapping[str, Any]], metric: str, audience: str) -> str:
    row = next((r for r in results if (r["metric"], r["audience"]) == (metric, audience)), None)
    if row is None or row["value"] is None:
        return "n/a"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], n = {row['n']}"
