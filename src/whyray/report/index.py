"""``index.html`` beside the folders of a batch: one line a radiograph, with a link to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..io.records import NOTICE
from .pages import asset, digest, environment


def index_html(records: Sequence[Mapping[str, Any]], folders: Sequence[Path], failures: Sequence[str]) -> str:
    """The page as text, from what ``explanation.json`` holds; no network, no script."""
    style = asset("index.css")
    rows = [
        {
            "record": record,
            "href": f"{quote(folder.name)}/report.html",
            "positive": [f["name"] for f in record["findings"] if f["positive"] and f["threshold"] is not None],
        }
        for record, folder in zip(records, folders, strict=True)
    ]
    csp = f"default-src 'none'; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'"
    made: str = (
        environment()
        .get_template("index.html.j2")
        .render(rows=rows, failures=failures, style=style, csp=csp, notice=NOTICE)
    )
    return made
