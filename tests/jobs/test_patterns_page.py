"""jobs/patterns_page.py: what the page of a bank leaves out, and what it must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import whyray
from whyray.jobs.patterns_page import browse
from whyray.patterns.bank import load_bank

BUNDLED = Path(whyray.__file__).parent / "models" / "weights" / "mini-patterns"


def test_a_finding_leads_to_every_pattern_that_moves_it(tmp_path: Path) -> None:
    mini = whyray.load_model("mini")
    page = browse(BUNDLED, tmp_path / "bank.html", mini, most=0).read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    cards = {card["id"]: card["effects"] for card in json.loads(data.group(1))["cards"]}
    patterns = load_bank(BUNDLED, mini).patterns
    assert {p.id: set(p.findings) for p in patterns} == {name: set(effects) for name, effects in cards.items()}
    assert max(len(p.findings) for p in patterns) > 6
