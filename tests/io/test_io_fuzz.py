"""Mutated files: whatever comes, a Radiograph or an InputError; the parent lives, and a PNG is right or refused."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from corpus import BASE, Case
from corpus_dicom import cases as dicom_cases
from corpus_pictures import cases as picture_cases

from whyray.errors import InputError
from whyray.io.load import decode_image

MAGIC = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds() -> list[Case]:
    """Good files below 100 kB, one of each way to write the same picture."""
    cases = [*picture_cases(), *dicom_cases()]
    return [c for c in cases if c.outcome == "same" and isinstance(c.data, bytes) and len(c.data) < 100_000]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four faults; three in four of them lie in the first 2 kB, where structure is."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, min(len(out), 2000 if rng.random() < 0.75 else len(out)) or 1))
        size = int(rng.integers(1, 64))
        match int(rng.integers(0, 7)):
            case 0:
                out[at : at + 1] = bytes([(out[at] if at < len(out) else 0) ^ (1 << int(rng.integers(0, 8)))])
            case 1:
                out[at : at + size] = rng.bytes(size)
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[at : at + size]
            case 4:
                out[at:at] = rng.bytes(size)
            case 5:
                width = int(rng.choice([1, 2, 4]))
                value = int(rng.choice(MAGIC)) & ((1 << 8 * width) - 1)
                out[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
            case _:
                del out[int(rng.integers(0, len(out) or 1)) :]
    return bytes(out)


def outcomes(count: int, seed: int) -> Iterator[tuple[str, str, float]]:
    """(case name, "same" | "other" | a reason, seconds) of each mutation; anything but InputError passes through."""
    files, rng = seeds(), np.random.default_rng(seed)
    for i in range(count):
        case = files[i % len(files)]
        assert isinstance(case.data, bytes)
        started = time.monotonic()
        try:
            found = decode_image(mutated(case.data, rng), case.name)
        except InputError as error:
            assert len(str(error)) <= 200 and str(error).isprintable()
            yield case.name, error.reason, time.monotonic() - started
            continue
        low, high = float(found.pixels.min()), float(found.pixels.max())
        assert found.pixels.dtype == np.float32 and low >= 0 and high <= 1, (case.name, low, high)
        same = found.shape == BASE.shape and float(np.abs(found.pixels - BASE / 255).max()) <= max(case.within, 1e-6)
        yield case.name, "same" if same else "other", time.monotonic() - started


def check(count: int, seed: int) -> Counter[str]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally: Counter[str] = Counter()
    for name, outcome, seconds in outcomes(count, seed):
        assert seconds < 12, (name, seconds)
        assert not (outcome == "other" and name.endswith(".png") and "12_in" not in name and "14_in" not in name), name
        tally[outcome] += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024
    return tally


def test_mutations() -> None:
    tally = check(400, seed=1)
    assert sum(tally.values()) == 400
    assert len(tally) > 15  # the mutations reach many different checks


@pytest.mark.slow
def test_many_mutations() -> None:
    assert sum(check(20_000, seed=2).values()) == 20_000
