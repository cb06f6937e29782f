"""CONTRIBUTING.md tells the truth: its explainer, installed by entry point, works and keeps the contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import whyray
from whyray.registry import EXPLAINERS, explainer

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def block(language: str, number: int = 0) -> str:
    """One fenced block of the page."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[number]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's explainer in a package of its own, as pip would leave it."""
    package = tmp_path / "your_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "gradient_times_input.py").write_text(block("python"))
    info = tmp_path / "your_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: your-package\nVersion: 1.0\n")
    toml = block("toml")
    name, target = re.search(r'^(\w+) = "(.*)"$', toml, re.MULTILINE).groups()  # type: ignore[union-attr]
    (info / "entry_points.txt").write_text(f"[whyray.explainers]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name  # type: ignore[misc]
    for module in [m for m in sys.modules if m.startswith("your_package")]:
        del sys.modules[module]


def test_it_is_listed_settable_and_keeps_the_contract(installed: str) -> None:
    assert installed in EXPLAINERS.names()
    assert explainer(f"{installed}:absolute=true").absolute is True  # type: ignore[attr-defined]
    exec(block("python", 1), {})  # noqa: S102


def test_it_explains(installed: str) -> None:
    model, picture = whyray.load_model("analytic"), whyray.testing.sample_radiographs(1)[0]
    made = whyray.explain(model, picture, findings=["nodule"], explainers=[installed])["nodule", installed]
    assert isinstance(made, whyray.Attribution) and made.values.shape == (128, 128) and made.values.any()
