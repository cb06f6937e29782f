"""Documentation is complete and every Python example in it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from whyray.cli.app import app
from whyray.registry import DATASETS, EXPLAINERS, MODELS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


EXAMPLES = [(page, i) for page in PAGES for i in range(len(blocks(page, "python")))]


@pytest.mark.parametrize(("page", "number"), EXAMPLES, ids=[f"{p.name}-{i}" for p, i in EXAMPLES])
def test_python_examples_run(page: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page, "python")[number], f"{page.name}[{number}]", "exec"), {"__name__": "example"})  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_docs_exist_with_their_options(page: Path) -> None:
    for line in "\n".join(blocks(page, "console")).splitlines():
        words = shlex.split(re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")))  # shlex would cut phantom#test
        if words[:1] == ["whyray"]:
            _parses(words[1:])


def _parses(words: list[str]) -> None:
    """Walk down the commands, then check each option's name."""
    from typer.main import get_command

    command = get_command(app)
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands") or not words or words[0].startswith("-"), f"no command {words}"
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in known, f"{command.name} has no option {word}"


def test_readme_names_every_entry_of_the_registries() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*EXPLAINERS.names(), *DATASETS.names(), *(m for m in MODELS.names() if m != "wrapped")):
        assert f"`{name}" in text, f"README does not name {name}"


def test_the_changelog_speaks_of_this_version() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import generate

    for name, text in generate.pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, (
            f"run `make docs`: docs/{name} is out of date"
        )


def test_every_explainer_has_its_section_with_its_paper() -> None:
    from whyray.registry import explainer_class

    text = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("explainers*.md")))
    for name in EXPLAINERS.names():
        assert re.search(rf"^##? {name}$", text, re.MULTILINE), f"no page docs/explainers*.md has a section on {name}"
        assert explainer_class(name).paper in text


def test_the_figure_in_the_readme_is_that_of_the_card() -> None:
    figure = re.search(
        r"(\.\d+) \[(\.\d+), (\.\d+)\] over 13 NIH findings, n = (\d+)", (ROOT / "README.md").read_text()
    )
    assert figure is not None
    mean, low, high, n = figure.groups()
    assert f"0{mean} [0{low}, 0{high}], n = {n}." in (ROOT / "docs/models/mini.md").read_text()
