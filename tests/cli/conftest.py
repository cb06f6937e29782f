"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from outcome import Outcome

from whyray.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run one command."""

    def once(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), said.out, said.err)

    return once
