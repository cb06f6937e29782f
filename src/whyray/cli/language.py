"""``whyray evaluate language``: sentences beside references, or, with --weak, learned without pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingError
from .options import Json, Limit, Model, Seed, Threads


def language(
    generated: Annotated[
        Path | None,
        typer.Argument(help="JSON lines: sentence_ID, diagnosis, nle (docs/metrics-language.md).", show_default=False),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="JSON lines in MIMIC-NLE's schema.", show_default=False)
    ] = None,
    bertscore: Annotated[
        Path | None, typer.Option(help="Folder of the encoder for BERTScore.", show_default=False)
    ] = None,
    weak: Annotated[
        bool, typer.Option("--weak", help="Measure a generator that learned without pairs, beside controls; needs -o.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Weak: folder of the run, which goes on there.", show_default=False),
    ] = None,
    dataset: Annotated[
        str, typer.Option("-d", "--dataset", help="Weak: pictures; phantoms also know what is right.")
    ] = "phantom:test=300#test",
    model: Model = "mini",
    generator: Annotated[
        str, typer.Option(help="Weak: folder of the generator. Default: the one of the model.", show_default=False)
    ] = "",
    audience: Annotated[str, typer.Option("--audience", help="Weak: clinician, lay, or another it has.")] = "clinician",
    writers: Annotated[
        list[str] | None,
        typer.Option(
            "-x",
            "--explainer",
            help="Weak: an explainer that speaks, to compare with; again for more. Default: template, dpt, ratchet.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        str, typer.Option(help="Weak: CSV with held-out sentences. Default: the shipped one.", show_default=False)
    ] = "",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Do generated explanations say what the references say? With --weak: are they about the picture, and right?"""
    from .. import api
    from . import show

    paired = generated is not None and references is not None
    if weak == (generated is not None or references is not None) or not (paired or (weak and out is not None)):
        raise SettingError("GENERATED with --references, or --weak with -o OUT was wanted; give one of the two")
    if generated is not None and references is not None:
        return show.language(api.evaluate_language(generated, references, bertscore=bertscore, seed=seed), as_json)
    show.process_settings(threads)
    plan = api.WeakPlan(audience, database=database, bertscore=str(bertscore or ""), limit=limit, seed=seed)
    plan = replace(plan, voices=tuple(writers)) if writers else plan
    subject = api.load_model(model)
    with show.progress("evaluate", quiet=as_json) as reporter:
        folder = out or Path()
        made = api.evaluate_weak_language(subject, dataset, folder, plan, generator=generator, report=reporter)
    show.weak_language(made, folder, as_json)
    raise typer.Exit(1 if made.failures else 0)
