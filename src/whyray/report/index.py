"""``index.html`` beside the folders of a batch: one line a radiograph, with a link to its report."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..io.records import NOTICE

TEMPLATES = Path(__file__).parent / "templates"


def index_html(records: Sequence[Mapping[str, Any]], folders: Sequence[Path], failures: Sequence[str]) -> str:
    """The page as text, from what ``explanation.json`` holds; no network, no script."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    style = (TEMPLATES / "index.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = [
        {
            "record": record,
            "href": f"{quote(folder.name)}/report.html",
            "positive": [f["name"] for f in record["findings"] if f["positive"] and f["threshold"] is not None],
        }
        for record, folder in zip(records, folders, strict=True)
    ]
    csp = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    made: str = environment.get_template("index.html.j2").render(
        rows=rows, failures=failures, style=style, csp=csp, notice=NOTICE
    )
    return made
