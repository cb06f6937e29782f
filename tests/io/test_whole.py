"""Files are whole or not there, whoever else writes them; what was begun never stays."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from whyray.errors import DiskFullError
from whyray.io.whole import disk_errors, in_turn, write_whole

SIZE = 50_000


def write_many(path: Path, letter: bytes, errors: list[str]) -> None:
    for _ in range(40):
        try:
            write_whole(path, letter * SIZE)
        except OSError as error:
            errors.append(repr(error))


def test_two_threads_write_one_file(tmp_path: Path) -> None:
    path, errors = tmp_path / "index.html", []
    writers = [threading.Thread(target=write_many, args=(path, letter, errors)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    while any(w.is_alive() for w in writers):
        if path.exists():
            data = path.read_bytes()
            assert len(data) == SIZE and len(set(data)) == 1, "a reader saw half a file"
    for writer in writers:
        writer.join()
    assert not errors and os.listdir(tmp_path) == ["index.html"]


def _process(path: str, letter: bytes) -> None:
    errors: list[str] = []
    write_many(Path(path), letter, errors)
    raise SystemExit(bool(errors))


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path, context = tmp_path / "index.html", multiprocessing.get_context("fork")
    writers = [context.Process(target=_process, args=(str(path), letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert os.listdir(tmp_path) == ["index.html"] and len(set(path.read_bytes())) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_begun_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    path = tmp_path / "scores.json"
    write_whole(path, b"old")

    def stop(handle: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises((DiskFullError, KeyboardInterrupt)), disk_errors(tmp_path):
        write_whole(path, b"new")
    assert os.listdir(tmp_path) == ["scores.json"] and path.read_bytes() == b"old"


def test_a_folder_in_its_place_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "x" / "kept").mkdir(parents=True)
    write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / f"x.aside-{os.getpid()}" / "kept").is_dir()


def test_one_at_a_time(tmp_path: Path) -> None:
    told: list[str] = []

    def second() -> None:
        with in_turn(tmp_path):
            told.append("second")

    with in_turn(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        told.append("first")
    waiting.join()
    assert told == ["first", "second"] and not os.listdir(tmp_path), "and nothing is left behind"
