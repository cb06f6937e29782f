"""One self-contained page that asks a reader about explanations, and saves the answers as a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..io.records import NOTICE
from .pages import asset, digest, environment


def form_html(
    items: Sequence[Mapping[str, str]], title: str, levels: Sequence[str], shortcomings: Sequence[str], file: str
) -> str:
    """The page: no network; one script, allowed by its hash, that gathers the answers into ``file``.

    items  item, answer, explanation, png (base64, or "") each.
    """
    style, script = asset("study_form.css"), asset("study_form.js")
    csp = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    made: str = (
        environment()
        .get_template("study_form.html.j2")
        .render(
            items=items,
            title=title,
            levels=levels,
            shortcomings=shortcomings,
            file=file,
            style=style,
            script=script,
            csp=csp,
            notice=NOTICE,
        )
    )
    return made
