"""``whyray evaluate``: tables with n and intervals."""

from __future__ import annotations

import typer

from .options import Card, Data, Device, Json, Limit, Model, Seed, Threads, Weights

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure a classifier on a data set.")


@app.callback()
def evaluate() -> None:
    """Commands that measure."""


@app.command()
def classifier(
    model: Model = "mini",
    dataset: Data = "phantom#test",
    limit: Limit = None,
    weights: Weights = None,
    card: Card = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """AUC, AUPRC, sensitivity, specificity and calibration of each finding, with patient-bootstrap 95 % intervals."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, device=device, weights=weights, card=card)
    with show.progress("evaluate", quiet=as_json) as reporter:
        scores = api.evaluate_classifier(subject, dataset, limit=limit, seed=seed, report=reporter)
    show.scores(scores, as_json)
