"""Write the pages that are made from the code: ``make docs``. A test fails when one of them is out of date.

python docs/generate.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    from whyray.io.records import schema_text
    from whyray.models import mini
    from whyray.models._store import read_card
    from whyray.training.artefact_card import artefact_page
    from whyray.training.measure import card_page

    shipped = Path(mini.__file__).parent / "weights"
    artefacts = {p.parent.name: json.loads(p.read_text("utf-8")) for p in sorted(shipped.glob("*/artefact.json"))}
    return {
        "cli.md": cli_page(),
        "explanation.schema.json": schema_text(),
        "models/mini.md": card_page(read_card(shipped / "mini.json")),
        **{f"models/{name}.md": artefact_page(data) for name, data in artefacts.items()},
    }


def cli_page() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from whyray.cli.app import app

    head = (
        "# Command line\n\nMade by `make docs` from the commands themselves.\n\n"
        "Exit codes: 0 done, 1 some inputs failed (listed on stderr), 2 usage or refused input, "
        "3 locked by another run, 5 disk full, 130 / 143 stopped.\n"
    )
    return head + "".join(section(name, command) for name, command in commands("whyray", get_command(app)))


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below this one, depth first."""
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from commands(f"{name} {child.name}", child)


def section(name: str, command: Any) -> str:
    """One command."""
    text = f"\n## `{name}`\n\n{(command.help or '').strip()}\n"
    rows = [row(p) for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    return text + ("\n| argument or option | what | default |\n|---|---|---|\n" + "".join(rows) if rows else "")


def row(parameter: Any) -> str:
    """One line of a command's table."""
    shown = parameter.metavar or parameter.name.upper() if parameter.param_type_name == "argument" else None
    names = shown or ", ".join(parameter.opts)
    none = parameter.required or parameter.default is None or parameter.default is False
    default = "" if none else f"`{parameter.default}`"
    return f"| `{names}` | {(parameter.help or '').replace('|', chr(92) + '|')} | {default} |\n"


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text, encoding="utf-8")
