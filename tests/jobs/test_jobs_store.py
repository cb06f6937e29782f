"""Cells: equal facts are one cell, what is damaged is missing, two writers share no file, nothing is pickled."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from whyray.errors import DiskFullError, SettingError, Stopped
from whyray.jobs.run import Cell, Made, run
from whyray.jobs.store import Store, cell_key

FACTS = {"kind": "map", "image": "ab" * 32, "settings": {"sigma": 2.0, "few": (1, 2)}, "seed": 0}


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"maps": rng.normal(size=(3, 7, 5)).astype(np.float32), "checks": np.array([np.nan, 1.0])}


def test_what_is_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store, key = Store(tmp_path), cell_key(FACTS)
    assert store.get(key) is None and list(store.keys()) == []
    store.put(key, arrays(), FACTS)
    found = store.get(key)
    assert found is not None and list(store.keys()) == [key]
    for name, value in arrays().items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
    assert found.facts["settings"] == {"sigma": 2.0, "few": [1, 2]}
    assert os.listdir(tmp_path / key[:2]) == [f"{key}.npz"], "nothing else is left in the folder"


def test_the_key_is_of_every_fact_and_of_no_order() -> None:
    assert cell_key(FACTS) == cell_key(dict(reversed(list(FACTS.items()))))
    for change in ({"seed": 1}, {"kind": "curves"}, {"settings": {"sigma": 2.5, "few": (1, 2)}}, {"more": None}):
        assert cell_key({**FACTS, **change}) != cell_key(FACTS)
    with pytest.raises(TypeError):
        cell_key({"model": object()})


@pytest.mark.parametrize("damage", ["cut", "zeroed", "bit", "empty", "deleted", "other"])
def test_a_damaged_cell_is_missing(tmp_path: Path, damage: str) -> None:
    store, key = Store(tmp_path), cell_key(FACTS)
    store.put(key, arrays(), FACTS)
    path = store.path(key)
    data = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif damage == "other":  # a whole cell under the wrong name
        other = store.put("c" * 64, arrays(1), {})
        assert other is not None
        path.write_bytes(store.path("c" * 64).read_bytes())
    else:
        middle = len(data) // 3
        flipped = data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]
        path.write_bytes({"cut": data[:middle], "zeroed": bytes(len(data)), "bit": flipped, "empty": b""}[damage])
    assert store.get(key) is None
    assert store.have(FACTS, lambda: arrays())["maps"].shape == (3, 7, 5)
    assert store.get(key) is not None


def test_no_bit_can_be_flipped_unnoticed(tmp_path: Path) -> None:
    store, key = Store(tmp_path), cell_key(FACTS)
    store.put(key, {"x": np.arange(6.0)}, FACTS)
    path = store.path(key)
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        found = store.get(key)
        assert found is None or np.array_equal(found["x"], np.arange(6.0)), f"byte {place}"


def test_nothing_is_pickled(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(TypeError, match="plain arrays"):
        store.put("a" * 64, {"x": np.array([object()])})
    path = store.path("b" * 64)
    path.parent.mkdir()
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    assert store.get("b" * 64) is None


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="can be written"):
        Store(tmp_path / "file").put("a" * 64, arrays())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        Store(tmp_path).put("a" * 64, arrays())
    assert not [p for p in tmp_path.glob("*/*") if p.is_file()], "what was begun is taken away"


def _write_many(folder: str, seed: int) -> None:
    for _ in range(30):
        Store(Path(folder)).put("d" * 64, arrays(seed))


def test_two_processes_write_the_same_cell(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), seed)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    store, seen = Store(tmp_path), 0
    while any(w.is_alive() for w in writers):
        if store.path("d" * 64).exists():
            found = store.get("d" * 64)
            assert found is not None, "a reader saw half a cell"
            seen += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen and [p.name for p in (tmp_path / "dd").iterdir()] == [f"{'d' * 64}.npz"]


def cells(n: int) -> list[list[Cell]]:
    return [[Cell({"n": i, "x": x}, f"case {i}", i) for x in "ab"] for i in range(n)]


class Counter:
    """``work`` that counts, and fails or stops where it is told to."""

    def __init__(self, fail: int = -1, stop_after: int = 10**9) -> None:
        self.calls: list[tuple[int, str]] = []
        self.fail, self.stop_after = fail, stop_after

    def __call__(self, group: list[Cell]) -> list[tuple[Cell, Made]]:  # type: ignore[override]
        out: list[tuple[Cell, Made]] = []
        for cell in group:
            self.calls.append((cell.given, str(cell.facts["x"])))
            out.append((cell, "no good" if cell.given == self.fail else {"y": np.full(3, float(cell.given))}))
        return out

    def cancelled(self) -> bool:
        return len(self.calls) >= self.stop_after


def test_nothing_is_made_twice_and_failures_are_tried_again(tmp_path: Path) -> None:
    store, work = Store(tmp_path), Counter(fail=1)
    seen: list[tuple[int, int]] = []
    first = run(cells(3), work, store, total=3, report=lambda done, total, _: seen.append((done, total)))  # type: ignore[arg-type]
    assert (first.made, first.kept, len(first.failed)) == (4, 0, 2) and set(first.failed.values()) == {"no good"}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    again = Counter()
    second = run(cells(3), again, store)  # type: ignore[arg-type]
    assert again.calls == [(1, "a"), (1, "b")] and (second.made, second.kept) == (2, 4)


def test_what_was_made_before_a_stop_is_kept(tmp_path: Path) -> None:
    store, work = Store(tmp_path), Counter(stop_after=3)
    with pytest.raises(Stopped):
        run(cells(4), work, store, cancelled=work.cancelled)  # type: ignore[arg-type]
    rest = Counter()
    run(cells(4), rest, store)  # type: ignore[arg-type]
    assert not set(work.calls[:3]) & set(rest.calls) and len(rest.calls) + 3 == 8
