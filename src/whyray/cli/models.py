"""``whyray models``: list, layers, fetch."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Card, Json, Model, Weights

app = typer.Typer(rich_markup_mode=None, help="List models, show a model's layers, fetch published weights.")


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context, as_json: Json = False) -> None:
    """List the kinds of models and the published weights."""
    if ctx.invoked_subcommand is None:
        from .. import api
        from . import show

        show.listing(api.model_names(), as_json)


@app.command()
def layers(model: Model = "mini", weights: Weights = None, card: Card = None, as_json: Json = False) -> None:
    """List the layers an explainer may look at, with their shapes; * marks the default."""
    from .. import api
    from . import show

    show.listing(api.model_layers(model, weights=weights, card=card), as_json)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A published model, as `whyray models` lists it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Accept the shown hash without asking.")] = False,
) -> None:
    """Download published weights once, check or pin their hash, and convert them to safetensors."""
    from .. import api
    from . import show

    with show.progress("fetch") as reporter:
        path = api.fetch_model(name, confirm=lambda text: yes or typer.confirm(text, err=True), report=reporter)
    typer.echo(f"ready: -m {name} ({path})", err=True)
