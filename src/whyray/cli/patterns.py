"""``whyray patterns``: build a bank of patterns, look at it, name what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Card, Device, Json, Layer, Model, Threads, Weights

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What did it see: build, show, browse and name patterns."
)

Bank = Annotated[
    str | None, typer.Argument(help="Folder of a bank. Default: the one of the model.", show_default=False)
]
Activations = Annotated[
    Path, typer.Option("-a", "--activations", help="Folder that `whyray activations` wrote for the model.")
]
Images = Annotated[
    int, typer.Option(min=20, help="Pictures the patterns are described with; those of test splits never.")
]
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting of the gates, such as split=train or moves=0.003; again for more.",
        show_default=False,
    ),
]


@app.callback()
def patterns() -> None:
    """Commands about patterns."""


@app.command()
def build(
    ensemble: Annotated[Path, typer.Argument(help="Folder that `whyray train transcoders` wrote.")],
    activations: Activations,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the bank; an interrupted build goes on there.")],
    model: Model = "mini",
    gates: Gates = None,
    images: Images = 1500,
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Build a bank: gates with a funnel report, galleries, categories, statistical names, and its page."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    options: dict[str, Any] = {"changes": gates or (), "images": images}
    with show.progress("patterns") as reporter:
        bank = api.build_patterns(ensemble, activations, subject, out, report=reporter, **options)
    typer.echo(f"{len(bank.patterns)} patterns: {out / 'patterns.html'}, {out / 'funnel.html'}", err=True)


@app.command(name="show")
def show_(
    bank: Bank = None,
    pattern: Annotated[
        str | None, typer.Option("-p", "--pattern", help="Id of one pattern, in full.", show_default=False)
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Only this category: cardiac, pulmonary, pleural ...", show_default=False)
    ] = None,
    finding: Annotated[
        str | None, typer.Option("-f", "--finding", help="Only patterns that move this finding.", show_default=False)
    ] = None,
    model: Model = "mini",
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """List the patterns of a bank, the most relevant first, or show one with its evidence and gallery."""
    from .. import api
    from . import show

    subject = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    rows = api.list_patterns(subject, bank or "", pattern=pattern, category=category, finding=finding)
    if as_json:
        show.document(rows)
    else:
        typer.echo("\n".join(api.pattern_lines(rows, in_full=pattern is not None)))


@app.command()
def browse(
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file to write.")],
    bank: Bank = None,
    embed_images: Annotated[
        bool, typer.Option("--embed-images", help="Copy pictures of every data set into the page, not phantoms only.")
    ] = False,
    model: Model = "mini",
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Write a self-contained page of a bank: search, filter, sort, galleries with the firing region outlined."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    with show.progress("pictures") as reporter:
        page = api.browse_patterns(subject, out, bank or "", embed=embed_images, report=reporter)
    typer.echo(str(page), err=True)


@app.command()
def name(
    bank: Annotated[Path, typer.Argument(help="Folder of a bank that was built.")],
    activations: Activations,
    annotator: Annotated[
        str, typer.Option(help="Base address of an OpenAI-compatible service; its key: $WHYRAY_ANNOTATOR_KEY.")
    ],
    annotator_model: Annotated[str, typer.Option(help="Model to ask for.")] = "default",
    send_images: Annotated[
        bool, typer.Option("--send-images", help="Consent that pictures are sent there. Without it words only.")
    ] = False,
    most_requests: Annotated[int, typer.Option(min=1, help="Requests that may be made.")] = 1000,
    most_tokens: Annotated[int, typer.Option(min=1, help="Tokens that may be used.")] = 2_000_000,
    images: Images = 1500,
    model: Model = "mini",
    weights: Weights = None,
    card: Card = None,
    layer: Layer = None,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Ask a large model for names, check each on held-out images, and adopt those that hold."""
    from .. import api
    from . import show

    show.process_settings(threads)
    subject = api.load_model(model, layer=layer, device=device, weights=weights, card=card)
    with show.progress("names", quiet=as_json) as reporter:
        named = api.name_patterns(
            bank,
            activations,
            subject,
            annotator,
            service=annotator_model,
            send_images=send_images,
            limits=(most_requests, most_tokens),
            images=images,
            report=reporter,
        )
    show.data_report(named, as_json)
    raise typer.Exit(1 if named.ended else 0)
