"""``whyray doctor``: the state of the installation, one row a fact, with what to do where something is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


@dataclass(frozen=True)
class Fact:
    """One row: what was looked at, "ok" | "missing" | "broken", what was found, what to do."""

    name: str
    state: str
    found: str
    remedy: str = ""


def examine() -> list[Fact]:
    """Every fact, cheapest first."""
    return [system(), *packages(), torchvision(), accelerator(), codecs(), bundled_model(), disk()]


def system() -> Fact:
    """Python and the machine."""
    return Fact("python", "ok", f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")


def packages() -> list[Fact]:
    """Core packages, then the packages of the extras."""
    facts = []
    for line in requires("whyray") or ():
        name, _, marker = line.partition(";")
        package = name.split("[")[0].split(">")[0].split("=")[0].strip()
        extra = marker.partition("extra == ")[2].strip(" '\"")
        if package == "whyray" or extra == "dev":
            continue
        remedy = "make demo" if not extra else f"pip install -c constraints.txt 'whyray[{extra}]'"
        try:
            facts.append(Fact(f"{package}" + (f" ({extra})" if extra else ""), "ok", version(package)))
        except PackageNotFoundError:
            facts.append(Fact(f"{package}" + (f" ({extra})" if extra else ""), "missing", "not installed", remedy))
    return facts


def torchvision() -> Fact:
    """The commonest broken installation of the field: a CUDA torchvision beside a CPU torch."""
    from .._torchvision import ensure_torchvision

    said = {"absent": "not installed; only the zoo extra needs it", "works": "whole"}
    said["patched"] = "its compiled operators do not load; patched: models and transforms work, ops.nms does not"
    try:
        return Fact("torchvision", "ok", said[ensure_torchvision()])
    except (ImportError, RuntimeError):
        return Fact("torchvision", "broken", "it cannot be imported", "pip install -c constraints.txt torchvision")


def accelerator() -> Fact:
    """What torch can run on."""
    import torch

    if torch.cuda.is_available():
        return Fact("device", "ok", f"cuda: {torch.cuda.get_device_name(0)}; use --device cuda")
    if torch.backends.mps.is_available():
        return Fact("device", "ok", "mps; use --device mps")
    return Fact("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def codecs() -> Fact:
    """The decoder process starts and decodes a JPEG 2000 picture made on the spot."""
    import numpy as np

    from ..io.child import DecodeFailed, decode

    wanted = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    try:
        import imagecodecs

        whole = np.array_equal(decode("jpeg2k", bytes(imagecodecs.jpeg2k_encode(wanted, level=0))), wanted)
    except (ImportError, DecodeFailed):
        whole = False
    if whole:
        return Fact("DICOM codecs", "ok", "JPEG, JPEG lossless, JPEG-LS, JPEG 2000, RLE, in a process of their own")
    return Fact(
        "DICOM codecs", "broken", "compressed pictures cannot be decoded", "pip install -c constraints.txt imagecodecs"
    )


def bundled_model() -> Fact:
    """The bundled model loads and gives its known answer."""
    from ..api import load_model
    from ..errors import WhyrayError

    try:
        return Fact("bundled model", "ok", f"mini, fingerprint {load_model('mini').fingerprint[:12]}")
    except WhyrayError as error:
        return Fact("bundled model", "broken", str(error), "reinstall whyray")


def disk() -> Fact:
    """Room where results would go."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Fact("disk", "ok" if free > 1 else "missing", f"{free:.1f} GiB free here", "" if free > 1 else "make room")
