"""``whyray study``: the statistics of reader studies, wherever the ratings were collected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Limit, Seed

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Analyse and plan reader studies.")


@app.callback()
def study() -> None:
    """Commands about reader studies."""


@app.command()
def analyse(
    ratings: Annotated[
        Path, typer.Argument(help="CSV: reader,read,case,arm,truth,finding,question,rating. See docs/reader-study.md.")
    ],
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST,SECOND", help="The arms to compare, where there are more than two.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for plots (SVG and PNG) and study.json.", show_default=False),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Paired gain of one arm over the other, over-reliance on wrong predictions, agreement, sample size."""
    from .. import api
    from . import show

    found = api.analyse_study(ratings, arms=arms, seed=seed)
    if out is not None:
        found.save(out)
    show.data_report(found, as_json)


@app.command()
def size(
    difference: Annotated[float, typer.Option(help="Mean gain to be found, in steps of the rating scale.")],
    sd: Annotated[float, typer.Option(help="Standard deviation of the paired differences.")],
    power: Annotated[float, typer.Option(help="Wanted chance to find it.")] = 0.8,
    design_effect: Annotated[
        float, typer.Option(help="1 for independent pairs; more for shared readers and cases.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Pairs of ratings that a two-sided Wilcoxon signed-rank test needs at the 5 % level."""
    from ..metrics.reader import pairs_needed
    from . import show

    pairs = pairs_needed(difference, sd, wanted=power, design_effect=design_effect)
    facts = {"difference": difference, "sd": sd, "power": power, "design_effect": design_effect, "pairs": pairs}
    if as_json:
        show.document(facts)
    else:
        typer.echo(f"{pairs} pairs")


@app.command("export")
def export_forms(
    arms: Annotated[list[str], typer.Argument(metavar="ARM=FILE.jsonl...", help="Explanations of each arm.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the forms and the key.")],
    readers: Annotated[str, typer.Option(metavar="NAME,NAME", help="Names of the readers.")] = "A,B",
    references: Annotated[
        Path | None, typer.Option(help="MIMIC-NLE's schema: which predictions are right.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the lines' image is relative to.", show_default=False)
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Blinded, randomised forms for clinicians: does the explanation justify the answer? CSV and HTML."""
    from .. import api
    from . import show

    made = api.export_study(
        arms, out, readers=readers.split(","), references=references, pictures=images, limit=limit, seed=seed
    )
    show.data_report(made, as_json)


@app.command("import")
def import_forms(
    folder: Annotated[Path, typer.Argument(help="Folder of the export, with its key.csv.")],
    forms: Annotated[list[Path], typer.Argument(metavar="FORM.csv...", help="Filled forms.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV of ratings, for `whyray study analyse`.")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Filled forms to ratings; scores 1, 2/3, 1/3, 0 of each arm with intervals, and agreement."""
    from .. import api
    from . import show

    show.data_report(api.import_study(folder, forms, out, seed=seed), as_json)
