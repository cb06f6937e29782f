"""``whyray nle``: explanations in radiology reports, by rules or as published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Seed

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Find explanations in radiology reports.")


@app.callback()
def nle() -> None:
    """Commands about explanations in reports."""


@app.command()
def extract(
    source: Annotated[Path, typer.Argument(help="MIMIC-CXR report tree, or a reports.csv (docs/nle.md).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="JSON lines; an interrupted run goes on.")],
    score: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="QUERY.json", help="Compare with published ids of MIMIC-NLE; again for more.", show_default=False
        ),
    ] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Also write the sentences that explain nothing, and why.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Sentences that explain a diagnosis by what is seen, in MIMIC-NLE's schema, with the rules that decided."""
    from .. import api
    from . import show

    with show.progress("extract", quiet=as_json) as reporter:
        made = api.extract_explanations(source, out, refused=refused, report=reporter)
    rows = api.score_extraction(out, score, seed=seed) if score else []
    show.extraction(made, rows, out, as_json)
    raise typer.Exit(made.exit_code)


@app.command()
def mimic(
    reports: Annotated[Path, typer.Argument(help="MIMIC-CXR report tree: p10 ... p19.")],
    queries: Annotated[Path, typer.Argument(help="Folder with train-query.json, dev-query.json, test-query.json.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for mimic-nle-{train,dev,test}.json.")],
    as_json: Json = False,
) -> None:
    """MIMIC-NLE exactly as published, from its query files; what is missing is counted and named."""
    from .. import api
    from . import show

    made = api.extract_mimic_nle(reports, queries, out)
    show.data_report(made, as_json)
    raise typer.Exit(0 if made.whole else 1)
