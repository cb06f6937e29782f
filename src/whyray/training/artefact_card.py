"""Cards of what belongs to a classifier, as Markdown, from the JSON beside the tensors alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._nle_card import nle_lines
from ._wenlex_card import wenlex_lines

HEAD = "Made from the facts beside the weights; do not edit. **Research use only. Not for clinical use.**"
INTERVALS = "95 % intervals: patient-level bootstrap, 2000 replicates, seed 0."


def artefact_page(data: Mapping[str, Any]) -> str:
    """The card of an artefact's JSON: autoencoder, patterns, or a generator of sentences."""
    pages = {"autoencoder": autoencoder_page, "patterns": patterns_page}
    if data["kind"] in pages:
        return pages[data["kind"]](data)
    lines = wenlex_lines(data) if data["kind"] == "sentences-wenlex" else nle_lines(data)
    return "\n".join([f"# Model card: {data['facts']['name']}", "", HEAD, "", *lines]) + "\n"


def autoencoder_page(data: Mapping[str, Any]) -> str:
    """What it was trained on, and what its reconstructions keep of each prediction."""
    facts = data["facts"]
    shape = ", ".join(f"{k} {v}" for k, v in facts["architecture"].items() if k != "network")
    provenance = facts["provenance"]
    counts = dict(zip((s["name"] for s in facts["data"]), provenance["pictures"], strict=True))
    lines = [
        *(f"# Model card: {facts['name']}", "", HEAD, ""),
        f"- network: {facts['architecture']['network']} autoencoder ({shape}), for the classifier "
        f"`{facts['classifier']}`, fingerprint `{data['fingerprint'][:16]}`",
        f"- licence of the weights: {facts['licence']}",
        f"- training: {provenance['plan']['loop']['epochs']} epochs, {provenance['seconds'] / 60:.0f} minutes "
        f"(`recipes/mini.toml`){', after the stages before it' if provenance['plan']['init'] else ''}",
        "- intended use: counterfactuals (`latent_shift`) of that classifier.",
        *("", "## Training data", ""),
        *(f"- {s['about']}: {counts[s['name']]} training pictures. {s['licence']}" for s in facts["data"]),
        *("", "## What a reconstruction keeps, on held-back patients", ""),
        "Fidelity: correlation of the classifier's logit before and after; change: mean difference of the logit. Mean "
        f"absolute error in grey values 0..1. {INTERVALS}",
        "",
    ]
    for source in facts["data"]:
        rows = [r for r in facts["results"] if r["data"] == source["name"]]
        lines += [f"### {source['about']}, n = {rows[0]['n']}", "", *_kept(rows), ""]
    return "\n".join([*lines, "## Limits", "", *(f"- {limit}" for limit in facts["limits"])]) + "\n"


def patterns_page(data: Mapping[str, Any]) -> str:
    """How many patterns each gate let through, and the settings of the gates."""
    facts = data["facts"]
    made, site = facts["facts"], facts["site"]
    member, halves = made["results_of_members"], made["halves"]
    lines = [
        *("# Model card: patterns of mini", "", HEAD, ""),
        f"- {len(facts['patterns'])} patterns of {facts['members']} transcoders ({facts['kind']}, k = {facts['k']}) "
        f"that read `{site['tap_in']}`, {site['grid'][0]} x {site['grid'][1]} cells, of the classifier with "
        f"fingerprint `{data['fingerprint'][:16]}`",
        f"- members, mean on {member['tokens']:.0f} validation tokens: explained variance {member['explained']:.3f}, "
        f"{member['l0']:.0f} codes a token, {member['dead']:.1%} of the latents dead",
        f"- two halves of the ensemble share {halves['shared']:.1%} of {halves['n']:.0f} stable latents",
        "- intended use: the explainer `patterns`. No picture, and no part of one, is in it.",
        *("", "## The gates, in order", "", f"On {made['images']} validation pictures.", ""),
        *("| gate | came | passed |", "|---|---|---|"),
        *(f"| {g['gate']} | {g['before']} | {g['after']} |" for g in made["funnel"]),
        *("", "Settings: " + ", ".join(f"{k} {v}" for k, v in made["plan"].items()) + "."),
    ]
    return "\n".join(lines) + "\n"


def _kept(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table of findings, and one line of the pictures themselves."""
    yield "| finding | fidelity | change of the logit |"
    yield "|---|---|---|"
    by_metric = {(r["finding"], r["metric"]): r for r in rows}
    for finding in dict.fromkeys(r["finding"] for r in rows if r["finding"]):
        change = by_metric.get((finding, "logit_change"))
        name = finding.replace("_", " ").capitalize()
        yield f"| {name} | {_value(by_metric[finding, 'fidelity'])} | {_value(change) if change else ''} |"
    yield ""
    yield f"Mean absolute error {_value(by_metric['', 'mae'])}; SSIM {_value(by_metric['', 'ssim'])}."


def _value(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "n/a"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
