"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="Radiographs (DICOM, PNG, JPEG, TIFF, NIfTI), folders, globs, lists (.txt, .csv), or - for stdin.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help="mini, xrv:NAME, timm:NAME, exported:FILE, module:factory, or a trained folder. See `whyray models`.",
    ),
]
SomeModel = Annotated[
    str | None, typer.Option("-m", "--model", help="As for explain. Default: mini.", show_default=False)
]
Weights = Annotated[
    Path | None, typer.Option(help="Checkpoint for timm: and module:factory models.", show_default=False)
]
Card = Annotated[
    Path | None, typer.Option(help="JSON card (findings, preparation) for such a model.", show_default=False)
]
Layer = Annotated[
    str | None, typer.Option(help="Layer to explain at; `whyray models layers` lists them.", show_default=False)
]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; by default the cores that are free.", show_default=False)
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
Anonymous = Annotated[bool, typer.Option("--anonymous", help="Name outputs by hash, never by file name.")]
Data = Annotated[str, typer.Option("-d", "--dataset", help="phantom, nih14:PATH, folder:PATH[#split] ...")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N cases.", show_default=False)]
Voi = Annotated[str, typer.Option(help="Grey-scale window: file, none, or CENTRE/WIDTH.")]
Explained = Annotated[
    str | None, typer.Option("-m", "--model", help="Classifier that is explained.", show_default=False)
]
Writer = Annotated[Path | None, typer.Option(help="Folder of the text autoencoder that writes.", show_default=False)]


def with_names(changes: list[str] | None, **names: object) -> list[str]:
    """``KEY=VALUE`` changes to a plan, and behind them what options of their own name."""
    return [*(changes or ()), *(f"{key}={value}" for key, value in names.items() if value)]
