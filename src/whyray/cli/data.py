"""``whyray data``: look at a data set before trusting it."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Json, Limit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check a data set.")


@app.callback()
def data() -> None:
    """Commands on data sets."""


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help="phantom, nih14:PATH, folder:PATH[#split] ...")],
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Count labels, find missing or unreadable pictures, and patients that stand in two splits."""
    from .. import api
    from . import show

    with show.progress("check", quiet=as_json) as reporter:
        report = api.check_dataset(dataset, limit=limit, report=reporter)
    show.data_report(report, as_json)
    raise typer.Exit(0 if report.ok else 1)
