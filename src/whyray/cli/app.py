"""The commands. Each parses, calls ``api`` and prints; what it does is in the function of the same name there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import data, evaluate, experiment, models, nle, patterns, study, train
from .options import Anonymous, Card, Device, Images, Json, Layer, Model, Seed, SomeModel, Threads, Voi, Weights

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Explain the predictions of chest X-ray classifiers, and measure how far to trust each explanation. "
    "Research use only, not for clinical use.",
)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(train.app, name="train")
app.add_typer(nle.app, name="nle")
app.add_typer(patterns.app, name="patterns")
app.add_typer(study.app, name="study")
app.add_typer(experiment.app, name="experiment")


@app.callback(invoke_without_command=True)
def whyray(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Options before the command."""
    if version:
        from .. import __version__
        from ..io.records import NOTICE

        typer.echo(f"whyray {__version__}. {NOTICE}")
        raise typer.Exit


@app.command()
def explain(
    images: Images,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    model: Model = "mini",
    findings: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--finding",
            help="Finding to explain; again for more. Default: those above their operating point, three at least.",
            show_default=False,
        ),
    ] = None,
    explainers: Annotated[
        list[str] | None,
        typer.Option(
            "-x",
            "--explainer",
            metavar="NAME[:KEY=VALUE,...]",
            help="Explainer; again for more. Default: gradcam and template (occlusion for a model without features or "
            "gradients), and ratchet and wenlex for a model that has their generators of sentences.",
            show_default=False,
        ),
    ] = None,
    layer: Layer = None,
    weights: Weights = None,
    card: Card = None,
    voi: Voi = "file",
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    budget: Annotated[float | None, typer.Option(help="Seconds an image may take.", show_default=False)] = None,
    audience: Annotated[
        str | None, typer.Option(help="Of statements: clinician (the default) or lay.", show_default=False)
    ] = None,
    anonymous: Anonymous = False,
    animation: Annotated[str, typer.Option(help="Of counterfactuals: webp, gif, mp4, png (a strip), none.")] = "webp",
    as_json: Json = False,
) -> None:
    """Explain radiographs: a folder each, with report.html, overlays, raw maps and explanation.json."""
    from .. import api
    from . import show

    show.process_settings(threads)
    plan = api.Plan(tuple(findings or ()), tuple(explainers or ()), seed, budget, audience or "")
    classifier = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    files = {key: path.name for key, path in (("weights", weights), ("card", card)) if path}
    with show.progress("explain", quiet=as_json) as reporter:
        batch = api.explain_files(
            images,
            out,
            classifier=classifier,
            plan=plan,
            voi=api.voi_option(voi),
            anonymous=anonymous,
            animation=animation,
            options={
                "layer": layer,
                "device": None if device == "cpu" else device,
                "animation": None if animation == "webp" else animation,
                **files,
            },
            report=reporter,
        )
    show.batch(batch, as_json)
    raise typer.Exit(batch.exit_code)


@app.command()
def predict(
    images: Images,
    model: Model = "mini",
    weights: Weights = None,
    card: Card = None,
    voi: Voi = "file",
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Predict only: logit, calibrated probability and operating point of every finding."""
    from .. import api
    from . import show

    show.process_settings(threads)
    classifier = api.load_model(model, device=device, weights=weights, card=card)
    with show.progress("predict", quiet=as_json) as reporter:
        batch = api.predict_files(images, classifier=classifier, voi=api.voi_option(voi), report=reporter)
    show.batch(batch, as_json, every_finding=True)
    raise typer.Exit(batch.exit_code)


@app.command()
def activations(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the store; an interrupted run goes on there.")],
    model: SomeModel = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "-d", "--dataset", help="phantom, nih14:PATH, folder:PATH ...; again for more.", show_default=False
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="TOML plan, or a recipe with [stage.activations].", show_default=False)
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Splits to store. Default: train and val.", show_default=False)
    ] = None,
    tap: Annotated[
        str | None, typer.Option(help="features (every cell), embedding (one vector) ...", show_default=False)
    ] = None,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Store what a classifier computes at one layer, for `whyray train transcoders`: resumable, larger than memory."""
    from .. import api
    from . import show

    show.process_settings(threads)
    given = {"classifier": model, "data": dataset, "splits": split, "tap": tap}
    changes = {key: value for key, value in given.items() if value}
    options: dict[str, Any] = {"weights": weights, "card": card, "layer": layer, "device": device}
    with show.progress("activations") as reporter:
        made = api.store_activations(plan, out, changes=changes, report=reporter, **options)
    typer.echo(f"stored: -a {made}", err=True)


@app.command()
def explainers(as_json: Json = False) -> None:
    """List the explainers."""
    from ..registry import EXPLAINERS
    from . import show

    show.listing(EXPLAINERS.summaries(), as_json)


@app.command()
def datasets(as_json: Json = False) -> None:
    """List the kinds of data sets."""
    from ..registry import DATASETS
    from . import show

    show.listing(DATASETS.summaries(), as_json)


@app.command()
def metrics(as_json: Json = False) -> None:
    """List the families of metrics."""
    from ..registry import METRICS
    from . import show

    show.listing(METRICS.summaries(), as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and what to do about it."""
    from . import doctor as examine
    from . import show

    show.findings_of_doctor(examine.examine(), as_json)
