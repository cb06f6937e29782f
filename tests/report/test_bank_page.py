"""The page of a bank: what it holds, and how it searches, filters and sorts in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, installed
from PIL import Image

from whyray.report.bank_page import Card, Shown, Tile, bank_html

needs_browser = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
PATH = "M10.0 10.0L40.0 10.0M10.0 10.0L10.0 40.0"


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (96, 96), level).save(out, "JPEG")
    return out.getvalue()


MINOR = ("mass", "nodule", "emphysema", "fibrosis", "pneumonia")  # what p0001 moves less


def cards() -> list[Card]:
    """25 patterns: p0001 is a tube that moves pneumothorax, p0002 an effusion; the others fill the list."""
    tiles = [Tile("a", PATH, 3.25), Tile("b", PATH, 1.5)]
    groups = {"Fires most": tiles, "Over its range": tiles[1:], "Look-alikes where it is silent": [Tile("c", "", 0.0)]}
    tube = Card(
        "p0001",
        "Chest tube <b>",
        "device",
        origin="name by statistics",
        density=0.02,
        relevance=0.1,
        effects={"pneumothorax": 0.9, "edema": -0.2, **dict.fromkeys(MINOR, 0.1)},
        evidence=["support devices: 40 of 50 firing, 100 of 800 others"],
        groups=groups,
    )
    effusion = Card(
        "p0002", "Pleural effusion", "pleural", stability=0.5, relevance=0.8, effects={"edema": 0.5}, groups=groups
    )
    rest = [Card(f"p{i:04d}", "", "unassigned", relevance=i / 1000) for i in range(3, 26)]
    return [tube, effusion, *rest]


def images() -> dict[str, Shown]:
    return {
        "a": Shown("phantom-7", 96, 96, jpeg(90)),
        "b": Shown("phantom-8", 96, 96, jpeg(160)),
        "c": Shown("nih_1", 96, 96),
        "unused": Shown("phantom-9", 96, 96, jpeg(1)),
    }


def page() -> str:
    return bank_html("Patterns of mini", {"images": "2000"}, [("latents", 51200), ("density", 900)], cards(), images())


def test_the_page_is_whole_and_holds_only_what_it_shows() -> None:
    text = page()
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert text.count("data:image/jpeg") == 2, "one copy of each picture that is shown"
    assert "1 of 3 images are named here and not copied" in text
    assert "Not for clinical use" in text or "not for clinical use" in text
    assert "<b>" not in re.sub(r"<footer>.*</footer>", "", text, flags=re.DOTALL), (
        "names are text, also inside the data"
    )
    assert "51200" in text and "1.76" in text


def test_the_policy_allows_this_style_and_script_only() -> None:
    text = page()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    allowed = policy.group(1).replace("&#39;", "'")
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in allowed
    assert "default-src 'none'" in allowed


def test_an_empty_bank_is_a_page() -> None:
    assert "<main" in bank_html("Nothing", {}, [], [], {})


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "bank.html"
    path.write_text(page(), encoding="utf-8")
    browser.scripts(True)
    browser.open(path)
    yield browser
    assert not browser.errors


def listed(browser: Browser) -> list[str]:
    found: list[str] = browser.value("[...document.querySelectorAll('article')].map(a => a.id)")
    return found


def choose(browser: Browser, control: str, value: str) -> None:
    script = f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}'; "
    browser.value(script + "c.dispatchEvent(new Event('input', { bubbles: true })); })()")


@needs_browser
def test_sorted_by_relevance_twenty_at_a_time(opened: Browser) -> None:
    assert listed(opened)[:3] == ["p0002", "p0001", "p0025"] and len(listed(opened)) == 20
    assert opened.value("document.getElementById('count').textContent") == "25 of 25 patterns"
    opened.click("#more")
    assert len(listed(opened)) == 25
    assert not opened.value("document.getElementById('more').checkVisibility()"), "nothing more to show"


@needs_browser
def test_typing_searches_names_evidence_and_findings(opened: Browser) -> None:
    opened.click("#search")
    for letter in "TUBE":
        opened.key(letter, ord(letter), letter)
    assert listed(opened) == ["p0001"]
    for words, expected in (("devices 800", ["p0001"]), ("pneumothorax", ["p0001"]), ("p0013", ["p0013"]), ("zzz", [])):
        choose(opened, "search", words)
        assert listed(opened) == expected
    assert opened.value("document.getElementById('count').textContent") == "0 of 25 patterns"


@needs_browser
def test_filters_and_the_order_within_a_finding(opened: Browser) -> None:
    choose(opened, "category", "pleural")
    assert listed(opened) == ["p0002"]
    choose(opened, "category", "")
    choose(opened, "finding", "edema")
    assert listed(opened) == ["p0002", "p0001"], "by what they add to this finding"
    choose(opened, "finding", "pneumothorax")
    assert listed(opened) == ["p0001"]
    rows = "document.querySelectorAll('article .effects svg').length"
    assert opened.value(rows) == 5
    choose(opened, "finding", MINOR[-1])
    assert listed(opened) == ["p0001"] and opened.value(rows) == 6, "it says what it adds to the finding asked for"
    choose(opened, "finding", "")
    choose(opened, "sort", "density")
    assert listed(opened)[0] == "p0001", "those that were not measured come last"
    choose(opened, "sort", "id")
    assert listed(opened)[:3] == ["p0001", "p0002", "p0003"]


@needs_browser
def test_a_gallery_outlines_the_region_and_names_what_is_not_copied(opened: Browser) -> None:
    choose(opened, "search", "p0001")
    assert opened.value("document.querySelector('h2').textContent") == "Chest tube <b>"
    assert opened.value("document.querySelectorAll('article .first figure').length") == 2
    assert opened.value("document.querySelector('.edge').getAttribute('d')") == PATH
    assert opened.value("document.querySelector('figure image').getBBox().width") == 96
    assert opened.value("document.querySelector('figcaption').textContent") == "phantom-7 · 3.25"
    assert opened.value("document.querySelectorAll('.rest figure').length") == 0, "drawn when they are asked for"
    opened.click("summary", 1)
    opened.wait("document.querySelectorAll('.rest figure').length === 2")
    assert opened.value("document.querySelector('.away').textContent") == "not copied"
    edge = opened.value("getComputedStyle(document.querySelector('.edge')).stroke")
    assert edge == "rgb(255, 200, 0)", "the style sheet was let in"


@needs_browser
def test_a_link_leads_to_a_pattern_far_down(opened: Browser) -> None:
    choose(opened, "search", "tube")
    opened.value("location.hash = '#p0003'")
    opened.wait("document.querySelectorAll('article').length === 25")
    assert opened.value("document.querySelector(':target') !== null || !!document.getElementById('p0003')")


@needs_browser
def test_without_scripts_the_table_is_complete(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bank.html"
    path.write_text(page(), encoding="utf-8")
    browser.scripts(False)
    browser.open(path)
    browser.scripts(True)
    assert browser.value("document.querySelectorAll('noscript tbody tr').length") == 25
    assert not browser.value("document.getElementById('tools').checkVisibility()")
