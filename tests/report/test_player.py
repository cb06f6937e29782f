"""The player of a counterfactual in report.html, in a real browser: every control, narrow windows, paper, no script."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from browser import Browser, installed

from whyray.report.render import Page, page_html

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

FRAMES = 5
RECORD = """(() => {
  window.seen = [];
  const film = document.querySelector(".film");
  new MutationObserver(() => {
    const at = [...film.querySelectorAll(".frame")].findIndex(f => f.classList.contains("shown"));
    if (seen.at(-1) !== at) seen.push(at);
  }).observe(film, { subtree: true, attributes: true, attributeFilter: ["class"] });
})()"""


@pytest.fixture
def opened(
    browser: Browser, make_page: Callable[..., Page], make_counterfactual: Callable, tmp_path: Path
) -> Iterator[Browser]:
    """Two findings with a film each; the second's reconstruction lost most of its prediction."""
    results = {
        "pneumonia": {"latent_shift": make_counterfactual("pneumonia", frames=FRAMES)},
        "cardiomegaly": {"latent_shift": make_counterfactual("cardiomegaly", kept=0.4)},
    }
    path = tmp_path / "report.html"
    path.write_text(page_html([make_page(results)]), encoding="utf-8")
    browser.resize(1280, 900)
    browser.prefer(prefers_reduced_motion="no-preference")
    browser.scripts(True)
    browser.open(path)
    browser.value(RECORD)
    yield browser
    assert not browser.errors


def shown(browser: Browser, film: int = 0) -> int:
    """The one frame that can be seen; fails where none or several can."""
    frames = f"[...document.querySelectorAll('.film')[{film}].querySelectorAll('.frame')]"
    seen = browser.value(f"{frames}.map((f, i) => f.checkVisibility({{visibilityProperty: true}}) ? i : -1)")
    (at,) = [i for i in seen if i >= 0]
    return int(at)


def told(browser: Browser, film: int = 0) -> str:
    text: str = browser.value(f"document.querySelectorAll('.film .caption')[{film}].innerText")
    return text.replace("\u00a0", " ")


def test_it_opens_on_the_reconstruction_with_its_labels(opened: Browser) -> None:
    assert [shown(opened, 0), shown(opened, 1)] == [2, 2] and told(opened) == "pneumonia: reconstruction, 50 %"
    labels = opened.value("[...document.querySelectorAll('.made-up')].map(e => e.checkVisibility() && e.innerText)")
    assert labels == ["Model-made picture, not a radiograph"] * 2
    badges = opened.value("[...document.querySelectorAll('.fidelity')].map(e => [e.innerText, e.className])")
    assert badges[0] == ["The reconstruction keeps this prediction: 56\u00a0% → 50\u00a0%", "fidelity"]
    assert badges[1][0].startswith("Do not trust: the reconstruction has lost 60 %") and "poor" in badges[1][1]


def test_scrubbing_moves_frame_gauge_and_words_of_this_film_alone(opened: Browser) -> None:
    opened.drag(".film input", 0.999)
    assert shown(opened) == 4 and told(opened) == "pneumonia: stronger, 88 %"
    assert float(opened.value("document.querySelector('.needle').getAttribute('width')")) == pytest.approx(88.08)
    assert opened.value("document.querySelector('.film input').getAttribute('aria-valuetext')").startswith(
        "pneumonia: s"
    )
    assert shown(opened, 1) == 2
    for _ in range(4):
        opened.key("ArrowLeft", 37)
    assert shown(opened) == 0 and told(opened) == "pneumonia: weaker, 12 %"
    gauge, track = opened.box(".film .needle"), opened.box(".film .track")
    assert gauge["width"] / track["width"] == pytest.approx(0.119, abs=0.005)


def test_play_goes_there_and_back_until_it_is_paused(opened: Browser) -> None:
    opened.click(".film .play")
    assert opened.value("document.querySelector('.play').innerText") == "Pause"
    opened.wait("seen.length > 12")
    opened.click(".film .play")
    seen = opened.value("seen")
    assert set(seen) == set(range(FRAMES)) and all(abs(a - b) == 1 for a, b in pairwise(seen))
    turns = [b for (a, b), (_, c) in pairwise(pairwise(seen)) if b - a != c - b]
    assert set(turns) == {0, FRAMES - 1}
    before = shown(opened)
    time.sleep(0.4)
    assert shown(opened) == before and opened.value("document.querySelector('.play').innerText") == "Play"
    assert shown(opened, 1) == 2


def test_scrubbing_stops_the_play(opened: Browser) -> None:
    opened.click(".film .play")
    opened.wait("seen.length > 1")
    opened.drag(".film input", 0.001)
    time.sleep(0.4)
    assert (
        shown(opened) == 0 and opened.value("document.querySelector('.play').getAttribute('aria-pressed')") == "false"
    )


def test_flicker_swaps_the_ends(opened: Browser) -> None:
    opened.click(".film .flicker")
    opened.wait("seen.length > 3")
    opened.click(".film .flicker")
    seen = opened.value("seen")
    assert set(seen) == {0, FRAMES - 1}
    time.sleep(0.7)
    assert opened.value("seen.length") == len(seen)


def test_the_difference_stands_alone_and_anything_else_leaves_it(opened: Browser) -> None:
    visible = "document.querySelector('.film .difference').checkVisibility({visibilityProperty: true})"
    assert not opened.value(visible)
    opened.click(".film .differ")
    assert opened.value(visible) and "orange lighter, blue darker, at most 0.4" in told(opened)
    hidden = "[...document.querySelectorAll('.film')[0].querySelectorAll('.frame, .prob')]"
    assert not opened.value(f"{hidden}.some(e => e.checkVisibility({{visibilityProperty: true}}))")
    opened.click(".film .differ")
    assert not opened.value(visible) and shown(opened) == 2 and told(opened) == "pneumonia: reconstruction, 50 %"
    opened.click(".film .differ")
    opened.drag(".film input", 0.999)
    assert not opened.value(visible) and shown(opened) == 4
    assert opened.value("document.querySelector('.differ').getAttribute('aria-pressed')") == "false"


def test_nothing_moves_by_itself_where_less_motion_is_wanted(opened: Browser) -> None:
    opened.click(".film .play")
    opened.wait("seen.length > 1")
    opened.prefer(prefers_reduced_motion="reduce")
    opened.wait("document.querySelector('.play').innerText === 'Step'")
    opened.drag(".film input", 0.001)
    seen = []
    for _ in range(2 * FRAMES - 2):
        opened.click(".film .play")
        time.sleep(0.15)
        seen.append(shown(opened))
    assert seen == [1, 2, 3, 4, 3, 2, 1, 0]
    opened.click(".film .flicker")
    time.sleep(0.7)
    assert shown(opened) == 4


def test_what_moves_along_is_a_table(opened: Browser) -> None:
    summary = opened.value("document.querySelector('.moves summary').innerText")
    assert summary == "What else moves along: cardiomegaly -0.50"
    opened.click(".moves summary")
    rows = opened.value("[...document.querySelector('.film').querySelectorAll('tbody tr')].map(r => r.innerText)")
    own, other = (r.split() for r in rows)
    assert own == ["pneumonia", "-2.00", "+2.00", "+1.00"] and other == ["cardiomegaly", "+1.00", "-1.00", "-0.50"]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_windows_show_all_of_it(opened: Browser, width: int) -> None:
    opened.resize(width, 740)
    assert opened.value("document.documentElement.scrollWidth") <= width
    for control in ("input", ".play", ".flicker", ".differ"):
        opened.middle(f".film {control}")
        box = opened.box(f".film {control}")
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 14, control
    opened.drag(".film input", 0.999)
    opened.click(".film .differ")
    assert "orange lighter" in told(opened)


def test_on_paper_and_without_a_script_three_frames_stand_side_by_side(opened: Browser, tmp_path: Path) -> None:
    def stands() -> None:
        seen = "e => e.checkVisibility({visibilityProperty: true})"
        words = (
            f"[...document.querySelector('.film').querySelectorAll('.frame p')].filter({seen}).map(e => e.innerText)"
        )
        assert [w.replace("\u00a0", " ") for w in opened.value(words)] == [
            "pneumonia: weaker, 12 %",
            "pneumonia: reconstruction, 50 %",
            "pneumonia: stronger, 88 %",
        ]
        controls = "[...document.querySelectorAll('.film .player, .film .caption, .film .prob, .difference')]"
        assert not opened.value(f"{controls}.some({seen})")
        tops = (
            "[...document.querySelector('.film').querySelectorAll('.still img')].map(e => e.getBoundingClientRect().y)"
        )
        assert len(set(opened.value(tops))) == 1

    opened.click(".film .differ")
    opened.prefer(media="print")
    stands()
    opened.prefer()
    opened.scripts(False)
    opened.open(tmp_path / "report.html")
    stands()


def test_a_path_of_one_frame_has_no_player(
    browser: Browser, make_page: Callable[..., Page], make_counterfactual: Callable, tmp_path: Path
) -> None:
    alone = replace(make_counterfactual(frames=1), checks={})
    (tmp_path / "alone.html").write_text(page_html([make_page({"pneumonia": {"latent_shift": alone}})]), "utf-8")
    browser.scripts(True)
    browser.open(tmp_path / "alone.html")
    assert shown(browser) == 0 and browser.value("document.querySelector('.player, .fidelity, .moves') === null")
    assert not browser.errors
