"""One large radiograph, 18 findings, every explainer: under 2 GiB, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_every_explainer_on_3000_pixels_stays_under_2_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import memory

    alone = memory.measured([])
    together = memory.measured(memory.SPECS)
    assert 200 < alone < together < memory.LIMIT, f"{alone} MiB without an explainer, {together} MiB with all"
