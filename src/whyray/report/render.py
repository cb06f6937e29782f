"""One self-contained ``report.html`` for one picture or many: no network, no file beside it, hash-based CSP."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..explainers._place import lungs
from ..explanations import Attribution, Counterfactual, Explanation, PatternSum
from ..io.records import NOTICE, ExplanationRecord, FindingRecord, Record, Results, file_name
from ..types import Radiograph
from . import colours, figures
from .animation import MAKERS, drawn_frames
from .film import film
from .pages import asset, digest, environment
from .parts import parts
from .regions import summary

if TYPE_CHECKING:
    from ..io.frontal import Chest

PREVIEW = 1024  # longest side of an embedded picture
HEAT = 320  # longest side of an embedded map; the browser smooths it, as bilinear resampling does


@dataclass(frozen=True)
class Page:
    """One explained picture of a report. ``scales``: ``finding/explainer`` -> a scale shared with other maps."""

    record: Record
    radiograph: Radiograph = field(repr=False)
    results: Results = field(repr=False)
    scales: Mapping[str, figures.Scale] = field(default_factory=dict)

    @cached_property
    def chest(self) -> Chest | None:
        """Where the lungs lie, for the places of all maps."""
        return lungs(self.radiograph)


def draw(page: Page, animation: str = "webp") -> tuple[Page, dict[str, bytes]]:
    """(the page with every map's summary in its record, file name -> bytes) for ``io.bundles.write_bundle``.

    animation  of each counterfactual: "webp", "gif", "mp4", "png" (a strip), or "none".
    """
    pictures = {"picture.png": figures.picture_png(page.radiograph)}
    findings, count = [], len(page.record.warnings)
    warned = f" · {count} warning{'s' if count > 1 else ''}, see the report" if count else ""
    for finding in page.record.findings:
        entries = []
        for entry in finding.explanations:
            made = _map(page.results.get(finding.finding, {}).get(entry.explainer))
            if made is not None:
                scale = page.scales.get(f"{finding.finding}/{entry.explainer}")
                title = f"{finding.name} · {entry.explainer}" + (" (control)" if entry.control else "") + warned
                overlay = file_name(finding.finding, entry.explainer, ".png")
                pictures[overlay] = figures.overlay_png(page.radiograph, made, scale, title)
                entry = replace(entry, summary=_summary(page, finding, entry, made))
            pictures |= _animated(page, finding, entry, animation)
            entries.append(entry)
        findings.append(replace(finding, explanations=tuple(entries)))
    return replace(page, record=replace(page.record, findings=tuple(findings))), pictures


def _animated(page: Page, finding: FindingRecord, entry: ExplanationRecord, kind: str) -> dict[str, bytes]:
    """file name -> bytes of a counterfactual's animation; nothing for the other kinds of explanation."""
    made = page.results.get(finding.finding, {}).get(entry.explainer)
    if kind == "none" or not isinstance(made, Counterfactual):
        return {}
    ending = "-strip.png" if kind == "png" else f".{kind}"  # its PNG is the overlay
    name = file_name(finding.finding, entry.explainer, ending)
    return {name: MAKERS[kind](drawn_frames(made, finding.threshold))}


def page_html(pages: Sequence[Page]) -> str:
    """The report as text."""
    style, script = (asset(f"report.{kind}") + asset(f"film.{kind}") for kind in ("css", "js"))
    style += asset("parts.css")
    csp = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; "
        f"script-src '{digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    views = [_view(page, number) for number, page in enumerate(pages, 1)]
    bars = {name: _uri(figures.png(_bar(table)), "png") for name, table in _tables().items()}
    made: str = _template().render(
        pages=views,
        style=style,
        script=script,
        csp=csp,
        notice=NOTICE,
        bars=bars,
        preview=PREVIEW,
        whyray=pages[0].record.provenance.versions.get("whyray", ""),
    )
    return made


@cache
def _template() -> Any:
    filled = environment()
    filled.filters.update(
        evidence=_evidence,
        percent=_percent,
        signed=_signed,
        number=_number,
        words=_words,
        pretty=_pretty,
        seconds=_seconds,
    )
    return filled.get_template("report.html.j2")


def _view(page: Page, number: int) -> dict[str, Any]:
    """What the template needs of one page, with its pictures as data URIs."""
    record, (h, w) = page.record, page.radiograph.shape
    findings = [_finding(page, f, f"p{number}f{i}") for i, f in enumerate(sorted(record.findings, key=_excess))]
    thumbnail = figures.grey(page.radiograph)
    thumbnail.thumbnail((96, 96))
    return {
        "id": f"p{number}",
        "anchors": _anchors(findings),
        "record": record,
        "width": w,
        "height": h,
        "picture": _preview(page.radiograph),
        "thumbnail": _jpeg(thumbnail),
        "reduced": max(h, w) > PREVIEW,
        "explained": [f for f in findings if f["record"].explanations],
        "compact": all(len(f["tiles"]) + len(f["controls"]) <= 1 for f in findings),
        "others": [f for f in findings if not f["record"].explanations],
        "hidden_positive": sum(f["record"].positive for f in findings if not f["record"].explanations),
        "positive": [f["record"].name for f in findings if f["record"].positive],
    }


def _excess(finding: FindingRecord) -> float:
    """Sorting key: how far below its operating point a finding is."""
    point = 0.5 if finding.threshold is None else finding.threshold
    return point - (finding.probability if finding.probability is not None else -1)


def _finding(page: Page, finding: FindingRecord, key: str) -> dict[str, Any]:
    made = page.results.get(finding.finding, {})
    shown = [e for e in finding.explanations if e.skipped is None]
    tiles = [_tile(page, finding, e, made.get(e.explainer), f"{key}e{i}") for i, e in enumerate(shown)]
    statements = [t for t in tiles if t["text"]]
    return {
        "id": key,
        "record": finding,
        "statements": statements,
        "tiles": [t for t in tiles if not t["record"].control and t not in statements],
        "controls": [t for t in tiles if t["record"].control],
        "skipped": [e for e in finding.explanations if e.skipped is not None],
        "bar": None if finding.probability is None else round(100 * finding.probability, 2),
        "mark": None if finding.threshold is None else round(100 * finding.threshold, 2),
    }


def _anchors(findings: Sequence[dict[str, Any]]) -> dict[str, str]:
    """``finding/explainer``, as statements name their evidence, -> the id of its tile."""
    return {
        f"{f['record'].finding}/{t['record'].explainer}": t["id"] for f in findings for t in f["tiles"] + f["controls"]
    }


def _tile(
    page: Page, finding: FindingRecord, entry: ExplanationRecord, made: Explanation | str | None, key: str
) -> dict[str, Any]:
    tile: dict[str, Any] = {"id": key, "record": entry, "map": None, "film": None, "sum": None}
    tile["text"] = getattr(made, "text", None)
    if isinstance(made, Counterfactual):
        tile["film"] = film(made, finding.threshold)
    if isinstance(made, PatternSum):
        tile["sum"] = parts(made)
    attribution = _map(made)
    if attribution is not None:
        scale = page.scales.get(f"{finding.finding}/{entry.explainer}") or figures.scale_of([attribution])
        tile["map"] = _overlay(attribution, scale) | {"shared": f"{finding.finding}/{entry.explainer}" in page.scales}
        tile["summary"] = entry.summary or _summary(page, finding, entry, attribution)
    return tile


def _summary(page: Page, finding: FindingRecord, entry: ExplanationRecord, made: Attribution) -> str:
    """Where the evidence lies; of a counterfactual, where it changed the picture."""
    what = isinstance(page.results.get(finding.finding, {}).get(entry.explainer), Counterfactual)
    return summary(made, page.chest, page.radiograph.view, "change" if what else "positive evidence")


def _overlay(attribution: Attribution, scale: figures.Scale) -> dict[str, Any]:
    """Heat as a small RGBA picture over the whole source, contours as paths, colour-bar numbers, the seen area."""
    shares = (1.0, 0.0, -1.0) if scale.signed else (1.0, 0.0)
    return {
        "heat": None if scale.empty else _uri(figures.map_png(attribution, scale, HEAT), "png"),
        "contours": [
            {"path": _path(lines), "inner": abs(level) > figures.LEVELS[0], "against": level < 0}
            for level, lines in figures.contour_lines(attribution, scale, side=160)
        ],
        "bar": "signed" if scale.signed else "unsigned",
        "empty": scale.empty,
        "unit": scale.unit,
        "ticks": [figures.tick(share, scale) for share in reversed(shares)],
        "unseen": _unseen(attribution),
        "cells": "{1} x {0}".format(*attribution.values.shape),
    }


def _unseen(attribution: Attribution) -> str | None:
    """SVG path around what the model saw, to be cut out of the whole picture; None where it saw everything."""
    (h, w), (rows, columns) = attribution.source_shape, attribution.values.shape
    corners = np.array([[-0.5, columns - 0.5, columns - 0.5, -0.5], [-0.5, -0.5, rows - 0.5, rows - 0.5], [1, 1, 1, 1]])
    x, y, _ = attribution.to_source @ corners + 0.5  # SVG counts from pixel edges
    if x.min() <= 1 and y.min() <= 1 and x.max() >= w - 1 and y.max() >= h - 1:
        return None
    inner = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.clip(0, w), y.clip(0, h), strict=True))
    return f"M0 0H{w}V{h}H0ZM{inner}Z"


def _path(lines: Any) -> str:
    return "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in (lines + 0.5).tolist())


def _map(made: Explanation | str | None) -> Attribution | None:
    """The map of any kind that has one."""
    to_map = getattr(made, "attribution", None)
    return to_map() if to_map is not None else None


def _tables() -> dict[str, Any]:
    return {"signed": colours.diverging(), "unsigned": colours.sequential()}


def _bar(table: Any) -> Image.Image:
    """A horizontal colour bar as the heat is drawn: fading with the magnitude."""
    signed = table is colours.diverging()
    ramp = np.linspace(-1 if signed else 0, 1, 256, dtype=np.float32)[None].repeat(8, 0)
    colour, alpha = figures.heat(ramp, figures.Scale(1.0, signed))
    picture = Image.new("RGB", colour.size, (46, 49, 54))
    picture.paste(colour, mask=alpha)
    return picture


def _preview(radiograph: Radiograph) -> str:
    picture = figures.grey(radiograph)
    picture.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    return _jpeg(picture)


def _jpeg(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90, comment=NOTICE)
    return _uri(out.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _percent(value: float | None) -> str:
    if value is None:
        return "not known"
    text = f"{100 * value:.0f}" if 0.1 <= value <= 0.9 else f"{100 * value:.1f}".removesuffix(".0")
    return f"{text}\u00a0%"


def _signed(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.2f}"


def _number(value: object) -> str:
    if value is None:
        return "could not be checked"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _seconds(value: float) -> str:
    return "under 0.01 s" if value < 0.01 else f"{value:.2g} s"


def _evidence(key: str) -> str:
    """``lung_opacity/gradcam`` for people."""
    finding, _, explainer = key.partition("/")
    return f"{explainer} of {_words(finding)}"


def _words(text: str) -> str:
    return text.replace("_", " ")


def _pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
