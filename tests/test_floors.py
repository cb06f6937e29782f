"""Imports go down only: a module imports from lower floors, from its own folder, and nothing above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "whyray"

FLOORS = {
    "errors": 0,
    "findings": 0,
    "types": 0,
    "cards": 0,
    "explanations": 0,
    "contracts": 0,
    "registry": 0,
    "_torchvision": 0,
    "__init__": 0,
    "io": 1,
    "networks": 1,
    "text": 1,
    "models": 2,
    "datasets": 2,
    "metrics": 3,
    "engine": 3,
    "patterns": 3,
    "explainers": 4,
    "training": 5,
    "report": 5,
    "jobs": 6,
    "testing": 6,
    "api": 7,
    "cli": 8,
    "web": 8,
    "__main__": 8,
}
# Inside floor 0 the order is this; each may import only from those before it.
GROUND = ("errors", "types", "findings", "cards", "explanations", "contracts", "registry")


def unit(path: Path) -> str:
    """The floor unit of a file: its folder, or its own name at the top."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> set[str]:
    """Units of whyray that a file imports, also inside functions and TYPE_CHECKING blocks."""
    inside = path.relative_to(SRC).parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("whyray.")}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = list(inside[: len(inside) - node.level + 1])
                target = base + (node.module or "").split(".") if node.module else base
                found |= {target[0]} if target else {a.name for a in node.names}
            elif (node.module or "").split(".")[0] == "whyray":
                parts = (node.module or "").split(".")[1:]
                found |= {parts[0]} if parts else {a.name for a in node.names}
    return found - {"__version__"}


def violations(path: Path) -> list[str]:
    """What a file imports from above or from beside."""
    here = unit(path)
    out = []
    for there in imports(path):
        if there == here or here in ("__init__", "__main__"):
            continue
        if there not in FLOORS:
            out.append(f"{there} has no floor")
        elif FLOORS[here] == 0 and FLOORS[there] == 0:
            if here in GROUND and there in GROUND and GROUND.index(there) > GROUND.index(here):
                out.append(f"{here} (ground) imports {there}")
        elif FLOORS[there] >= FLOORS[here]:
            out.append(f"{here} (floor {FLOORS[here]}) imports {there} (floor {FLOORS[there]})")
    return out


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_down_only(path: Path) -> None:
    assert unit(path) in FLOORS, f"give {unit(path)} a floor"
    assert violations(path) == []


def test_the_check_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_floors.SRC", tmp_path)
    (tmp_path / "io").mkdir()
    bad = tmp_path / "io" / "bad.py"
    lines = ("from ..api import explain", "from whyray.report import figures", "from .. import cli")
    bad.write_text("def f():\n" + "".join(f"    {line}\n" for line in lines))
    assert len(violations(bad)) == 3


def test_one_level_of_folders_and_files_that_fit() -> None:
    for path in SRC.rglob("*.py"):
        assert len(path.relative_to(SRC).parts) <= 2, f"{path} lies too deep"
        lines = path.read_text().count("\n")
        assert lines <= 400, f"{path.relative_to(SRC)} has {lines} lines; split it"
