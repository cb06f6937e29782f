"""The decoder process: reads requests on stdin, writes plain pixels on stdout. Started by ``child.py``, never imported.

It imports numpy and imagecodecs only, and stands on its own: a codec that crashes, hangs or swells takes this process
with it and nothing else. A message is two uint32 (length of head and of body), a JSON head, and the body.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import struct
import sys
from itertools import pairwise
from typing import Any

IDLE_SECONDS = 120
MOST_SCANS = 12
NOISE = bytes((i * 89 + 55) % 255 for i in range(64))


def main() -> None:
    """Serve until stdin ends, the parent dies or nothing comes for two minutes."""
    sys.path[:0] = json.loads(sys.argv[1])
    parent = os.getppid()
    stdout = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a codec that prints must not spoil the stream
    import numpy  # noqa: F401

    while select.select([0], [], [], IDLE_SECONDS)[0] and os.getppid() == parent:
        lengths = read_exactly(8)
        head_length, body_length = struct.unpack("<II", lengths)
        head = json.loads(read_exactly(head_length))
        body = read_exactly(body_length)
        answer, pixels = served(head, body)
        text = json.dumps(answer).encode()
        write_all(stdout, struct.pack("<II", len(text), len(pixels)) + text)
        write_all(stdout, pixels)


def served(head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes | memoryview]:
    """One decode under its limits; every failure becomes a reason from a fixed list, never a codec's own words."""
    import numpy as np

    signal.alarm(int(head["wall"]) + 2)
    bounded(head["memory"], head["seconds"])
    try:
        pixels = np.ascontiguousarray(decoded(head, body))
    except MemoryError:
        return {"reason": "memory"}, b""
    except ImportError:
        return {"reason": "missing"}, b""
    except BaseException as error:  # a Rust or C++ codec may raise anything
        return {"reason": getattr(error, "reason", "damaged")}, b""
    finally:
        signal.alarm(0)
    return {"shape": pixels.shape, "dtype": pixels.dtype.str}, pixels.data.cast("B")


class Refused(Exception):
    """A decode that is refused for ``reason``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def bounded(memory: int, seconds: float) -> None:
    """Memory above what is in use now, and processor seconds from now on."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))
    spent = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(spent.ru_utime + spent.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def decoded(head: dict[str, Any], body: bytes) -> Any:
    """The plain samples of one codestream: ``[h, w]`` or ``[h, w, samples]``."""
    codec = head["codec"]
    if codec == "jpeg":
        return jpeg(body, head.get("colour"))
    if codec == "rle":
        return rle(body, head["rows"], head["columns"], head["samples"], head["bytes"])
    if codec in ("jpegls", "jpeg2k", "tiff", "png"):
        import imagecodecs

        return getattr(imagecodecs, f"{codec}_decode")(body)
    raise Refused("unsupported")


def jpeg(body: bytes, colour: str | None) -> Any:
    """JPEG of 8, 12 or up to 16 bits, refused when its entropy-coded data do not make up the whole picture.

    libjpeg fills what is missing with grey and says nothing. So the picture is decoded again with noise put behind
    each run of coded bits: a decoder that had all it needed never looks at it, one that ran short shows other pixels.
    """
    import imagecodecs
    import numpy as np

    options: dict[str, Any] = {"colorspace": colour, "outcolorspace": colour} if colour else {}
    runs = coded_runs(body)
    pixels = imagecodecs.jpeg8_decode(body, **options)
    longer = imagecodecs.jpeg8_decode(spliced(body, runs, NOISE), **options)
    if not np.array_equal(pixels, longer):
        raise Refused("incomplete")
    scans = [run for run in runs if not 0xD0 <= marker(body, run[1]) <= 0xD7]
    if len(scans) == 1:
        check_tails(body, runs, pixels, options)
    elif len(scans) == len(runs):
        for scan in scans[:MOST_SCANS]:
            check_tails(body, [scan], pixels, options)
    return pixels


def check_tails(body: bytes, runs: list[tuple[int, int]], pixels: Any, options: dict[str, Any]) -> None:
    """Each run's last bytes must matter to its pixels; where nobody reads them, the stream lost its step somewhere."""
    import imagecodecs

    *shape, size = frame(body)
    long = [i for i, (start, end) in enumerate(runs) if end - start >= 3 * size]
    try:
        other = spoiled(body, [runs[i] for i in long], size)
        changed = pixels != imagecodecs.jpeg8_decode(other, **options)
    except RuntimeError:
        return  # the codec noticed the change: it does read to the end
    read = each_run(changed, shape, len(runs))[long] if len(runs) > 1 else changed.any(keepdims=True)
    if long and not read.all():
        raise Refused("damaged")


def spoiled(body: bytes, runs: list[tuple[int, int]], size: int) -> bytes:
    """The stream with other bits in place of the last ``size`` bytes of each run; no marker comes or goes."""
    out = bytearray(body)
    for _start, end in runs:
        for at in range(end - size, end):
            if body[at] != 0xFF and body[at - 1] != 0xFF:
                out[at] = body[at] ^ (0x5A if body[at] != 0xA5 else 0x3C)
    return bytes(out)


def frame(body: bytes) -> tuple[int, int, int, int]:
    """(height, width of one coded unit in pixels, units between two restart markers, bytes of a tail that must matter).

    A lossless tail holds a pixel in two bytes; a progressive one may refine what rounding hides.
    """
    at, unit, interval, tail = 2, (8, 8), 0, 40
    while body[at + 1] != 0xDA:
        kind, size = body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        if kind == 0xDD:
            interval = int.from_bytes(body[at + 4 : at + 6], "big")
        elif kind == 0xC3:
            unit, tail = (1, 1), 3  # lossless: single samples
        elif kind in (0xC0, 0xC1):
            tail = 16
            factors = [body[at + 11 + 3 * i] for i in range(body[at + 9])]
            unit = (8, 8) if len(factors) == 1 else (8 * max(f & 15 for f in factors), 8 * max(f >> 4 for f in factors))
        at += 1 if kind == 0xFF else 2 + size
    return (*unit, interval, tail)


def each_run(changed: Any, shape: list[int], count: int) -> Any:
    """Whether anything changed ``[h, w]`` or ``[h, w, samples]`` in the pixels of each run between restart markers."""
    import numpy as np

    flat = changed.any(axis=2) if changed.ndim == 3 else changed
    rows, columns = (np.arange(0, size, unit) for size, unit in zip(flat.shape, shape))
    units = np.logical_or.reduceat(np.logical_or.reduceat(flat, rows, axis=0), columns, axis=1).ravel()
    starts = np.arange(count) * shape[2]
    if shape[2] == 0 or starts[-1] >= units.size:
        raise Refused("damaged")
    return np.logical_or.reduceat(units, starts)


def marker(body: bytes, at: int) -> int:
    """The second byte of the marker at ``at``, behind any fill bytes."""
    while body[at + 1] == 0xFF:
        at += 1
    return body[at + 1]


def coded_runs(body: bytes) -> list[tuple[int, int]]:
    """(start, end) of each stretch of entropy-coded bytes: between SOS or RSTn and the next marker."""
    runs: list[tuple[int, int]] = []
    at = 2
    while at + 4 <= len(body):
        if body[at] != 0xFF:
            raise Refused("damaged")
        kind = body[at + 1]
        if kind == 0xD9:
            return runs
        if kind == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        if kind == 0xDA:
            at = scan_runs(body, at, runs)
    if runs and body[at : at + 2] == b"\xff\xd9":
        return runs
    raise Refused("incomplete")


def scan_runs(body: bytes, at: int, runs: list[tuple[int, int]]) -> int:
    """Add the runs of one scan; the place of the marker that ends it."""
    start = at
    while True:
        at = body.find(b"\xff", at)
        if at < 0 or at + 1 >= len(body):
            raise Refused("incomplete")
        end = at
        while body[at + 1 : at + 2] == b"\xff":  # fill bytes belong to the marker
            at += 1
        kind = body[at + 1] if at + 1 < len(body) else 0xD9
        if kind == 0:
            at += 2
            continue
        runs.append((start, end))
        if not 0xD0 <= kind <= 0xD7:
            return at
        at += 2
        start = at


def spliced(body: bytes, runs: list[tuple[int, int]], noise: bytes) -> bytes:
    """The stream with noise behind each run."""
    parts, done = [], 0
    for _start, end in runs:
        parts += [body[done:end], noise]
        done = end
    return b"".join([*parts, body[done:]])


def rle(body: bytes, rows: int, columns: int, samples: int, width: int) -> Any:
    """DICOM RLE (PS3.5 annex G): one PackBits segment a byte plane, most significant first."""
    import imagecodecs
    import numpy as np

    if len(body) < 64:
        raise Refused("incomplete")
    count, *offsets = struct.unpack("<16I", body[:64])
    if count != samples * width:
        raise Refused("damaged")
    bounds = [*offsets[:count], len(body)]
    if bounds[0] < 64 or any(a >= b for a, b in pairwise(bounds)):
        raise Refused("damaged")
    size = rows * columns
    planes = np.empty((samples, width, size), np.uint8)
    for index in range(count):
        segment = body[bounds[index] : bounds[index + 1]]
        plane = np.frombuffer(imagecodecs.packbits_decode(segment), np.uint8)
        if not size <= plane.size <= size + 2:  # an encoder may pad to even length
            raise Refused("incomplete" if plane.size < size else "damaged")
        planes[index // width, width - 1 - index % width] = plane[:size]
    values = np.ascontiguousarray(planes.transpose(2, 0, 1)).view(f"<u{width}")
    return values.reshape((rows, columns, samples) if samples > 1 else (rows, columns))


def read_exactly(count: int) -> bytes:
    """Bytes from stdin; the process ends quietly when stdin does."""
    parts, left = [], count
    while left:
        part = os.read(0, min(left, 1 << 20))
        if not part:
            sys.exit(0)
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """All of it, however often it takes."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(handle, view) :]


if __name__ == "__main__":
    main()
