"""The report: one file, no network, nothing unescaped, everything said."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray.io.bundles import load_bundle, write_bundle
from whyray.report.figures import NOTICE, scale_of
from whyray.report.render import Page, draw, page_html
from whyray.types import Radiograph

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "{{ 7*7 }}",
    "{% raw %}",
    "</style><script>x</script>",
    "javascript:alert(1)",
    "<svg/onload=alert(1)>",
    "&lt;b&gt;",
    "=1+1|cmd",
    "\x1b[31mred",
    "a\r\nSet-Cookie: x",
    "<!--",
    "]]>",
    "\u202egnp.exe",
    "%3Cscript%3E",
    "`${1}`",
    "<a href=//evil.example>x</a>",
    "<meta http-equiv=refresh content=0>",
    "x' style='background:url(//evil.example)",
)


class Tags(HTMLParser):
    """Every tag with its attributes, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_self_contained_and_its_policy_fits(make_page: Callable[..., Page]) -> None:
    html = page_html([make_page()])
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    for tag, attributes in Tags(html).tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert "style" not in attributes, "an inline style is against the policy"
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    policy = next(a["content"] for t, a in Tags(html).tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_stay_text(make_page: Callable[..., Page], make_map: Callable, text: str) -> None:
    picture = Radiograph(np.full((180, 240), 0.5), name=text, facts={"format": text, text: 1})
    results = {"pneumonia": {"gradcam": make_map(notes=(text,), checks={text: 1.0}), "lrp": text}}
    page = draw(make_page(results, warnings=(text,), command=text, radiograph=picture))[0]
    benign = make_page(
        {"pneumonia": {"gradcam": make_map(notes=("n",), checks={"c": 1.0}), "lrp": "r"}},
        ("w",),
        "c",
        Radiograph(np.full((180, 240), 0.5), name="n", facts={"format": "f", "g": 1}),
    )
    tags = [[(t, sorted(a)) for t, a in Tags(page_html([p])).tags] for p in (page, draw(benign)[0])]
    assert tags[0] == tags[1]


def test_everything_is_said(make_page: Callable[..., Page], make_map: Callable) -> None:
    results = {
        "pneumonia": {
            "gradcam": make_map(checks={"completeness_gap": 0.031, "stability": float("nan")}, notes=("A note.",)),
            "lrp": "stub has no rules",
        }
    }
    page = draw(make_page(results, ("The view is unknown.",), "whyray explain chest.png"))[0]
    html = page_html([page])
    for said in (
        NOTICE,
        "The view is unknown.",
        "stub has no rules",
        "A note.",
        "completeness gap",
        "0.031",
        "could not be checked",
        "whyray explain chest.png",
        "ab" * 32,
        "Never validated.",
        "62\u00a0%",
        "prevalence 10\u00a0%",
        "not calibrated",
        "+1.40",
        "where the program looked",
        "picture&#39;s left half (patient&#39;s right)",
    ):
        assert said in html, said


def test_controls_are_marked(make_page: Callable[..., Page]) -> None:
    page = make_page()
    (finding, *rest) = page.record.findings
    marked = dataclasses.replace(finding.explanations[0], control=True)
    record = dataclasses.replace(page.record, findings=(dataclasses.replace(finding, explanations=(marked,)), *rest))
    assert 'class="tile control"' not in page_html([page])
    assert 'class="tile control"' in page_html([dataclasses.replace(page, record=record)])


def test_every_picture_has_words(make_page: Callable[..., Page]) -> None:
    tags = Tags(page_html([make_page(), make_page()])).tags
    assert all("alt" in a for t, a in tags if t == "img")
    assert all(a.get("aria-label") or a.get("aria-hidden") for t, a in tags if t == "svg")
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {(a["href"] or "")[1:] for t, a in tags if t in {"a", "use"} and (a.get("href") or "").startswith("#")}
    assert targets <= set(ids)


def test_headings_go_down_by_one(make_page: Callable[..., Page], make_map: Callable) -> None:
    results = {"pneumonia": {"gradcam": make_map(), "centre": make_map(), "lrp": "no rules"}}
    tags = Tags(page_html([make_page(results), make_page()])).tags
    levels = [int(t[1]) for t, _ in tags if re.fullmatch("h[1-6]", t)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_embedded_pictures_are_small_and_carry_the_notice(make_page: Callable[..., Page], make_map: Callable) -> None:
    large = Radiograph(np.full((1500, 2000), 0.5, np.float32), name="large")
    made = make_map(source_shape=(1500, 2000), to_source=np.diag([140.0, 110, 1]))
    html = page_html([make_page({"pneumonia": {"gradcam": made}}, radiograph=large)])
    assert "Shown at 1024 pixels" in html
    for kind, data in re.findall(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)", html):
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert max(image.size) <= 1024
        assert NOTICE in (image.text["Disclaimer"] if kind == "png" else image.info["comment"].decode())


def test_an_empty_map_and_a_shared_scale_are_said(make_page: Callable[..., Page], make_map: Callable) -> None:
    page = make_page({"pneumonia": {"gradcam": make_map(np.zeros((14, 14)))}})
    assert "The map is empty" in page_html([page])
    assert 'class="heat"' not in page_html([page])
    shared = dataclasses.replace(make_page(), scales={"pneumonia/gradcam": scale_of([make_map(), make_map()])})
    assert "shared colour scale</" not in page_html([make_page()])
    assert "· shared colour scale" in page_html([shared])


def test_drawn_page_becomes_a_bundle(make_page: Callable[..., Page], tmp_path: Path) -> None:
    page, pictures = draw(make_page())
    folder = write_bundle(tmp_path, page.record, page.results, pictures)
    entry = load_bundle(folder).record.findings[0].explanations[0]
    assert entry.overlay == "pneumonia-gradcam.png"
    assert "positive evidence" in entry.summary
    for png in folder.glob("*.png"):
        assert Image.open(png).text["Disclaimer"] == NOTICE


def test_the_notice_is_printed_on_every_sheet(make_page: Callable[..., Page]) -> None:
    assert f'@bottom-left {{ content: "{NOTICE}"' in page_html([make_page()])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("webp", "pneumonia-latent_shift.webp"),
        ("gif", "pneumonia-latent_shift.gif"),
        ("png", "pneumonia-latent_shift-strip.png"),
    ],
)
def test_a_counterfactual_leaves_its_animation_beside_the_report(
    make_page: Callable[..., Page], make_counterfactual: Callable, tmp_path: Path, kind: str, name: str
) -> None:
    page, pictures = draw(make_page({"pneumonia": {"latent_shift": make_counterfactual()}}), kind)
    folder = write_bundle(tmp_path, page.record, page.results, pictures)
    assert {p.name for p in folder.glob("pneumonia-latent_shift*")} == {
        name,
        "pneumonia-latent_shift.png",
        "pneumonia-latent_shift.npz",
    }
    with Image.open(folder / name) as image:
        assert getattr(image, "n_frames", 1) == (1 if kind == "png" else 8)
    bundle = load_bundle(folder)
    assert name in bundle.record.files, "its hash is in the manifest"
    assert "The change is spread" in bundle.record.findings[0].explanations[0].summary
    assert name not in draw(make_page({"pneumonia": {"latent_shift": make_counterfactual()}}), "none")[1]
