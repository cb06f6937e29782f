"""``whyray train``: resumable runs. Run the same command again to go on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Explained, Threads, Writer, with_names

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train a classifier, or everything a recipe lists.")

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of the run; an interrupted run goes on from there.")]
Init = Annotated[
    str | None,
    typer.Option(
        help="Start from a weights file, a trained folder, or timm:NAME (transfer learning).", show_default=False
    ),
]
Change = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the plan.", show_default=False)
]


@app.callback()
def train() -> None:
    """Commands that train."""


@app.command()
def classifier(
    plan: Annotated[Path, typer.Argument(help="TOML plan; docs/training.md lists its keys.")],
    out: Out,
    init: Init = None,
    change: Change = None,
    threads: Threads = None,
) -> None:
    """Train a classifier by a plan, calibrate it, and write it as a bundle that ``-m OUT`` loads."""
    from .. import api
    from . import show

    show.process_settings(threads)
    changes = [*(change or ()), *([f"init={init}"] if init else [])]
    with show.progress("train") as reporter:
        made = api.train_classifier(plan, out, changes=changes, report=reporter)
    typer.echo(f"trained: -m {made}", err=True)


@app.command()
def autoencoder(
    plan: Annotated[Path, typer.Argument(help="TOML plan, or a recipe with [stage.autoencoder].")],
    out: Out,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Classifier it is for.", show_default=False)
    ] = None,
    change: Change = None,
    threads: Threads = None,
) -> None:
    """Train an autoencoder for a classifier; ``-x latent_shift:autoencoder=OUT`` draws counterfactuals with it."""
    from .. import api
    from . import show

    show.process_settings(threads)
    changes = with_names(change, classifier=model)
    with show.progress("train") as reporter:
        made = api.train_autoencoder(plan, out, changes=changes, report=reporter)
    typer.echo(f"trained: -x latent_shift:autoencoder={made}", err=True)


@app.command()
def transcoders(
    plan: Annotated[Path, typer.Argument(help="TOML plan, or a recipe with [stage.transcoders].")],
    out: Out,
    activations: Annotated[Path, typer.Option("-a", "--activations", help="Folder that `whyray activations` wrote.")],
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes, or Ray tasks, that share the members.", show_default=False)
    ] = None,
    engine: Annotated[str | None, typer.Option(help="local, or ray for a cluster.", show_default=False)] = None,
    change: Change = None,
) -> None:
    """Train an ensemble of transcoders, for `whyray patterns build`; OUT/live.tsv has a line a member while it runs."""
    from .. import api
    from . import show

    show.process_settings(None)
    given = {"processes": processes, "engine": engine}
    changes = [*(change or ()), *(f"{key}={value}" for key, value in given.items() if value)]
    with show.progress("train") as reporter:
        made = api.train_transcoders(plan, activations, out, changes=changes, report=reporter)
    typer.echo(f"trained: whyray patterns build {made} -a {activations}", err=True)


@app.command()
def nle(
    plan: Annotated[Path, typer.Argument(help="TOML plan, or a recipe with [stage.sentences].")],
    out: Out,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Classifier it explains as it is; without one a plan may train its own."),
    ] = None,
    activations: Annotated[
        Path | None, typer.Option("-a", "--activations", help="Folder that `whyray activations` wrote, for -m.")
    ] = None,
    change: Change = None,
    threads: Threads = None,
) -> None:
    """Train a generator of explaining sentences; OUT/generated.jsonl is for `whyray evaluate language` (clinicians)."""
    from .. import api
    from . import show

    show.process_settings(threads)
    changes = with_names(change, classifier=model)
    with show.progress("train") as reporter:
        made = api.train_nle(plan, out, activations=activations, changes=changes, report=reporter)
    measure = f"whyray evaluate language {made}/generated.jsonl --references {made}/references.jsonl"
    typer.echo(f"trained: {measure if (made / 'generated.jsonl').is_file() else made}", err=True)


@app.command()
def text_autoencoder(
    plan: Annotated[Path, typer.Argument(help="TOML plan, or a recipe with [stage.text].")],
    out: Out,
    change: Change = None,
    threads: Threads = None,
) -> None:
    """Train a text autoencoder on unpaired texts; `whyray train wenlex` writes its sentences with it."""
    from .. import api
    from . import show

    show.process_settings(threads)
    with show.progress("train") as reporter:
        made = api.train_text_autoencoder(plan, out, changes=change or (), report=reporter)
    typer.echo(f"trained: whyray train wenlex PLAN --set text={made}", err=True)


@app.command()
def wenlex(
    plan: Annotated[Path, typer.Argument(help="TOML plan, or a recipe with [stage.wenlex].")],
    out: Out,
    model: Explained = None,
    text: Writer = None,
    activations: Annotated[
        Path | None, typer.Option("-a", "--activations", help="Folder that `whyray activations` wrote, for -m.")
    ] = None,
    change: Change = None,
    threads: Threads = None,
) -> None:
    """Train a generator of sentences from a few examples a diagnosis, without a pair of picture and sentence."""
    from .. import api
    from . import show

    show.process_settings(threads)
    changes = with_names(change, classifier=model, text=text)
    with show.progress("train") as reporter:
        made = api.train_wenlex(plan, out, activations=activations, changes=changes, report=reporter)
    typer.echo(f"trained: -x wenlex:generator={made}", err=True)


@app.command()
def recipe(
    plan: Annotated[Path, typer.Argument(help="A recipe, such as recipes/mini.toml.")],
    out: Out,
    stage: Annotated[
        list[str] | None, typer.Option(help="Only this stage; again for more.", show_default=False)
    ] = None,
    threads: Threads = None,
) -> None:
    """Rebuild a stack of artefacts that belong together, stage by stage."""
    from .. import api
    from . import show

    show.process_settings(threads)
    with show.progress("recipe") as reporter:
        made = api.run_recipe(plan, out, stages=stage, report=reporter)
    for name, path in made.items():
        typer.echo(f"{name}: {path}", err=True)
