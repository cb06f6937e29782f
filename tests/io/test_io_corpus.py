"""The corpus through the one door: every case as it says, fast, small, and one clean sentence a refusal."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpus import BASE, Case, corpus

from whyray.errors import InputError
from whyray.io.load import load_image

SECONDS = 10


def fault(case: Case, folder: Path) -> str | None:
    """What is wrong with how ``case`` was read, or None."""
    path, started = case.write(folder), time.monotonic()
    try:
        found = load_image(path)
    except InputError as error:
        text = str(error)
        if len(text) > 200 or not text.isprintable() or str(folder) in text:
            return f"message {text!r}"
        outcome, words, far = "refuse", f"{error.reason}; {error.remedy}", 0.0
    else:
        same = case.outcome == "same"
        outcome, words = case.outcome if same else "accept", " ".join(found.warnings)
        far = float(np.abs(found.pixels - BASE / 255).max()) if same and found.shape == BASE.shape else 9.0 * same
    if outcome != case.outcome or case.says not in words or far > case.within:
        return f"wanted {case.outcome} {case.says!r}, got {outcome} {words!r}, difference {far:.2g}"
    seconds = time.monotonic() - started
    return f"took {seconds:.1f} s" if seconds > SECONDS else None


@pytest.mark.parametrize("part", ["pictures", "dicom", "special"])
def test_corpus(part: str, tmp_path: Path) -> None:
    cases = list(importlib.import_module(f"corpus_{part}").cases())
    faults = {case.name: found for case in cases if (found := fault(case, tmp_path))}
    assert not faults
    assert len({case.name for case in cases}) == len(cases)


def test_the_corpus_is_large_and_seeded() -> None:
    cases = corpus()
    refused = [case for case in cases if case.outcome == "refuse"]
    assert len(cases) >= 400 and len(refused) >= 150
    again = [case.data for case in importlib.import_module("corpus_pictures").cases()]
    assert again == [case.data for case in cases[: len(again)]]


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    good = corpus()[0]
    assert fault(good, tmp_path) is None
    assert fault(Case("x.png", good.data, "refuse"), tmp_path)
    assert fault(Case("y.png", good.data, "accept", "words that nobody says"), tmp_path)
    broken = bytes(good.data[:200]) if isinstance(good.data, bytes) else b""
    assert fault(Case("z.png", broken, "same"), tmp_path)


MEASURE = """
import resource, sys
from whyray.errors import InputError
from whyray.io.load import load_image
import whyray.io.png, whyray.io.dicom, whyray.io.images, PIL.Image
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        load_image(path)
    except InputError:
        pass
from whyray.io import child
child._CHILD.stop()
print(max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle,
    resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""
SWELLING = (
    "bomb",
    "huge",
    "sparse",
    "texts",
    "2gb",
    "4gb",
    "nested",
    "elements",
    "deflate",
    "zero.dcm",
    "random.png",
    "fifo",
)


def test_bombs_stay_small(tmp_path: Path) -> None:
    chosen = [case for case in corpus() if any(word in case.name for word in SWELLING)]
    assert len(chosen) > 20
    paths = [str(case.write(tmp_path)) for case in chosen]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=True,
    )
    assert int(ran.stdout) < 600 * 1024, "kilobytes above idle"
