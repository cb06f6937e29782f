"""``whyray experiment``: the questions of a paper, each a grid of runs. Run the same command again to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Explained, Json, Limit, Seed, Threads, Writer, with_names

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train, measure and compare whole grids of runs.")


@app.callback()
def experiment() -> None:
    """Commands that experiment."""


@app.command()
def wenlex(
    plan: Annotated[Path, typer.Argument(help="Plan of `whyray train wenlex`, or a recipe with [stage.wenlex].")],
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Pictures on which sentences are measured.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the experiment; run again, it goes on there.")],
    model: Explained = None,
    text: Writer = None,
    question: Annotated[
        list[str] | None,
        typer.Option("-q", "--question", help="Only this question (docs/experiments.md); again for more."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm that trains the classifier.")] = 3,
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            help="Pictures on which AUC is compared; again for more. Default: those of -d.", show_default=False
        ),
    ] = None,
    audience: Annotated[str, typer.Option(help="For whom sentences are measured: clinician or lay.")] = "clinician",
    activations: Annotated[
        Path | None, typer.Option("-a", "--activations", help="Folder that `whyray activations` wrote.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of every run's plan.")
    ] = None,
    limit: Limit = None,
    replicates: Annotated[int, typer.Option(min=100, help="Draws of patients behind each interval.")] = 2000,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """WeNLEX: MMD or WGAN-GP, reconstruction, words or latent, how many examples, post-hoc or in-model, lay or not."""
    from .. import api
    from . import show

    show.process_settings(threads)
    asked = api.Experiment(
        plan=str(plan),
        dataset=dataset,
        questions=tuple(question or ()),
        changes=tuple(with_names(change, classifier=model, text=text)),
        audience=audience,
        seeds=seeds,
        labelled=tuple(labelled or ()),
        activations=str(activations or ""),
        limit=limit,
        seed=seed,
        replicates=replicates,
    )
    with show.progress("experiment", quiet=as_json) as reporter:
        result = api.experiment_wenlex(asked, out, report=reporter)
    show.experiment(result, out, as_json)
    raise typer.Exit(1 if result.failures else 0)
