"""``import whyray``, ``whyray --help`` and every list load neither torch nor matplotlib."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "scipy", "skimage", "pydicom", "torchvision", "pandas")


def loaded(statement: str) -> set[str]:
    """Heavy packages in ``sys.modules`` after a statement in a fresh process."""
    code = (
        "import sys, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    exec({statement!r})\n"
        f"print(','.join(n for n in {HEAVY!r} if n in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(filter(None, out.stdout.strip().split(",")))


@pytest.mark.parametrize(
    "statement",
    [
        "import whyray; whyray.WhyrayError; whyray.Radiograph; dir(whyray)",
        "from whyray.cli import main; main(['--help'])",
        "from whyray.cli import main; main(['explain', '--help'])",
        "from whyray.cli import main; main(['models'])",
        "from whyray.cli import main; main(['explainers'])",
        "from whyray.cli import main; main(['datasets'])",
        "from whyray.cli import main; main(['metrics'])",
    ],
)
def test_light(statement: str) -> None:
    assert loaded(statement) == set()


def test_the_check_can_fail() -> None:
    assert "scipy" in loaded("import scipy")
