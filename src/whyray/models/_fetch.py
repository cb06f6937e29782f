"""Downloads, only when asked: resumable, locked, hash confirmed once and pinned, converted in a child, renamed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import LockedError, Stopped, WeightsError
from ..io.sandbox import run_module
from ..io.weights import file_sha256, load_weights
from ..io.whole import write_whole
from . import xrv

Confirm = Callable[[str], bool]
Progress = Callable[[int, int | None], None]
PIECE = 1 << 20


def cache_dir() -> Path:
    """Where fetched weights live: $WHYRAY_CACHE, else $XDG_CACHE_HOME/whyray, else ~/.cache/whyray."""
    own = os.environ.get("WHYRAY_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whyray"


def fetch(name: str, *, confirm: Confirm, url: str | None = None, progress: Progress | None = None) -> Path:
    """Download and convert one weight set of torchxrayvision (``xrv:`` may stand before it); returns its file.

    confirm   asked with the file's sha256 where neither the project publishes one nor an earlier download pinned it.
    url       another place that has the same file.
    progress  called with bytes so far and in all (None where the server does not say).

    Raises UnknownName, LockedError, Stopped (not confirmed) or WeightsError; an interrupted download is resumed.
    """
    known = xrv.entry(name.removeprefix("xrv:"))
    folder = cache_dir() / "xrv" / known.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        with contextlib.suppress(WeightsError):
            return fetched(known.name)
        place = url or known.url
        target = folder / Path(urllib.parse.urlsplit(place).path).name
        part = target.with_name(target.name + ".part")
        download(place, part, progress)
        sha256 = _accepted(known, part, place, confirm)
        os.replace(part, target)
        part.with_name(part.name + ".etag").unlink(missing_ok=True)
        return _installed(known, target, sha256)


def fetched(name: str, kind: str | None = None) -> Path:
    """The converted file of a weight set, its hash checked against the pin. Raises WeightsError where it is absent.

    A file whose hash is wrong is set aside, and the error names it.
    """
    folder = cache_dir() / "xrv" / name
    path = folder / (kind or ("model.safetensors" if xrv.entry(name).network == "autoencoder" else "model.json"))
    pinned = _pins().get(name, {}).get("files", {})
    if path.name not in pinned or not path.is_file():
        raise WeightsError(f"the weights of xrv:{name} are not on this machine; run: whyray models fetch xrv:{name}")
    for file, sha256 in pinned.items():
        if not (folder / file).is_file() or file_sha256(folder / file) != sha256:
            aside = set_aside(folder / file)
            remedy = f"run: whyray models fetch xrv:{name}"
            raise WeightsError(f"{file} of xrv:{name} is not what was fetched (set aside as {aside}); {remedy}")
    return path


def is_here(name: str) -> bool:
    """Whether a weight set has been fetched; its hash is checked when it is loaded."""
    folder = cache_dir() / "xrv" / name
    return any((folder / file).is_file() for file in ("model.json", "model.safetensors"))


def set_aside(path: Path) -> str:
    """Rename a file that cannot be trusted; returns its new name ("(gone)" where there is none)."""
    if not path.exists():
        return "(gone)"
    aside = path.with_name(f"{path.name}.bad-{file_sha256(path)[:8]}")
    os.replace(path, aside)
    return aside.name


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when the process dies. Raises LockedError with the holder."""
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip() or "another process"
            raise LockedError(f"process {holder} is fetching into {path.parent}; wait for it, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Fetch ``url`` to ``part``, going on where an earlier try stopped. Raises WeightsError; what came is kept."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise WeightsError("weights are fetched by https only; give such an address")
    note = part.with_name(part.name + ".etag")
    tag = note.read_text() if note.is_file() else ""
    have = part.stat().st_size if part.is_file() and tag else 0
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            have = have if answer.status == 206 and _starts_at(answer, have) else 0
            note.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
            _pour(answer, part, have, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all of it is here already
        if error.code == 416:  # what is here is no beginning of what is there
            part.unlink(missing_ok=True)
        raise WeightsError(f"{url} answered {error.code}; try again later, or give another address") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{url} broke off ({type(error).__name__}); run the same command again to go on") from None


def _pour(answer: Any, part: Path, have: int, progress: Progress | None) -> None:
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    with open(part, "r+b" if have else "wb") as file:
        file.truncate(have)
        file.seek(have)
        while piece := answer.read(PIECE):
            file.write(piece)
            have += len(piece)
            if progress is not None:
                progress(have, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have != total:
        raise OSError("short")


def _starts_at(answer: Any, have: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _accepted(known: xrv.Entry, part: Path, url: str, confirm: Confirm) -> str:
    """The hash of what came, once it is the published or pinned one, or the user says yes. It is pinned before use."""
    sha256 = file_sha256(part)
    with open(part, "rb") as file:
        if file.read(2) not in (b"PK", b"\x80\x02"):
            raise WeightsError(f"{url} gave no torch file (set aside as {set_aside(part)}); look at it in a browser")
    expected = known.sha256 or _pins().get(known.name, {}).get("source")
    if expected is not None and expected != sha256:
        hashes = f"sha256 {sha256[:12]}… came and {expected[:12]}… was expected"
        raise WeightsError(f"{known.name}: {hashes} (set aside as {set_aside(part)}); fetch it again, or ask there")
    question = f"{known.name}: {part.stat().st_size:,} bytes from {url}\nsha256 {sha256}\nNo hash is published. Use it?"
    if expected is None and not confirm(question):
        raise Stopped(f"{known.name} was not confirmed; it stays unused as {part.name}")
    _pin(known.name, source=sha256)
    return sha256


def _installed(known: xrv.Entry, target: Path, sha256: str) -> Path:
    """Convert the pickle in a child, build the bundle, pin its files, and drop the pickle: it is never opened again."""
    plain = target.with_name("converted.safetensors")
    try:
        run_module("whyray.io.pickles", (target, sha256, plain))
        path = xrv.install(known, load_weights(plain), target.parent)
    finally:
        plain.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
    files = [path, path.with_suffix(".safetensors")]
    _pin(known.name, source=sha256, files={f.name: file_sha256(f) for f in files})
    return path


def _pins() -> dict[str, Any]:
    try:
        data = json.loads((cache_dir() / "pins.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise WeightsError(f"{cache_dir() / 'pins.json'} is damaged; delete it, and confirm each file again") from None
    return data if isinstance(data, dict) else {}


def _pin(name: str, **facts: object) -> None:
    with locked(cache_dir() / "pins.lock"):
        pins = _pins()
        pins[name] = {**pins.get(name, {}), **facts}
        write_whole(cache_dir() / "pins.json", (json.dumps(pins, indent=1, sort_keys=True) + "\n").encode())
