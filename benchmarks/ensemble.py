"""A whole ensemble through ``whyray train transcoders``: minutes, and CPU seconds a member.

    python benchmarks/ensemble.py [--members 100] [--processes 2] [--tokens 200000] [--width 4096]
                                  [--precision int8] [--out FOLDER]

Members of 512 -> width, k = 32, each learn from every token of a made-up store (planted directions, as in
transcoders.py) in one pass, with checkpoints and with the figures of each member on held-out tokens. Everything counts
that the command does; making the store does not. The folder (0.4 GB, and about 50 MB a member while it runs) is a
temporary one unless ``--out`` names it, and then a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import torch
from transcoders import BATCH, D, K, planted

from whyray.patterns import activations
from whyray.patterns.site import Site
from whyray.training._sparse_step import Precision
from whyray.training.transcoders import TranscodersPlan, train_transcoders
from whyray.types import Case, Radiograph

GRID = (14, 14)
CELLS = GRID[0] * GRID[1]
HELD = 51  # pictures for the figures of each member: 10,000 tokens
SHARD = 256


def main() -> None:
    """Make the store, train, print."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--members", type=int, default=100)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--tokens", type=int, default=200_000)
    options.add_argument("--width", type=int, default=4096)
    options.add_argument("--precision", default="float32", choices=get_args(Precision))
    options.add_argument("--out", type=Path, default=None)
    given = options.parse_args()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        out = given.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = -(-given.tokens // CELLS)
        store = made_up(out / "store", pictures)
        plan = TranscodersPlan(
            members=given.members, processes=given.processes, width=given.width, k=K, basis=0, share=1.0, batch=BATCH,
            dead_after=4 * BATCH, precision=given.precision,
        )  # fmt: skip
        started, before = time.monotonic(), cpu()
        train_transcoders(plan, store, out / "ensemble", report=progress)
        minutes, seconds = (time.monotonic() - started) / 60, cpu() - before
        results = [m["results"] for m in json.loads((out / "ensemble/ensemble.json").read_text())["members"]]
    print(f"{given.members} members of {D} -> {given.width}, k = {K}, {pictures * CELLS} tokens each, ", end="")
    print(f"{given.processes} processes of one thread, codes chosen in {given.precision}")
    each = seconds / given.members
    print(f"{minutes:.2f} minutes; {seconds:.0f} CPU seconds, {each:.2f} a member", end="")
    print(f", {pictures * CELLS / each:.0f} member-tokens a CPU second")
    for name in ("explained", "l0", "dead"):
        values = [one[name] for one in results]
        print(f"{name}: median {statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}")


def progress(done: int, total: int, said: str) -> None:
    """One line that is written over, where a person looks."""
    if sys.stderr.isatty():
        print(f"\r{done / 100:.1f} of {total / 100:.0f} members  {said}   ", end="", flush=True, file=sys.stderr)


def cpu() -> float:
    """CPU seconds of this process and of its children that ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def made_up(folder: Path, pictures: int) -> Path:
    """A store of planted tokens in the layout of ``whyray activations``; one that is there already is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    nothing = Radiograph(np.zeros((1, 1), np.float32))
    cases = [
        Case(f"c{i}", lambda: nothing, patient=f"p{i}", split="train" if i < pictures else "val")
        for i in range(pictures + HELD)
    ]
    listed = [("made-up", case) for case in cases]
    site = Site("features", "features", GRID, D, D, np.zeros((1, D)), np.zeros(1))
    layout = activations.Layout(shard=SHARD)
    classifier = SimpleNamespace(name="made-up", fingerprint="0" * 64, findings=("mass",))
    activations._begin(folder, classifier, site, layout, listed)  # type: ignore[arg-type]
    tokens = planted()
    for number, start in enumerate(range(0, len(listed), SHARD)):
        if activations._whole(folder, number) is None:
            chosen = listed[start : start + SHARD]
            drawn = tokens.draw(len(chosen) * CELLS, torch.Generator().manual_seed(1 + number))
            values = drawn.half().numpy().reshape(len(chosen), CELLS, D)
            activations._write_shard(folder, number, chosen, {"inputs": values})
    return folder


if __name__ == "__main__":
    main()
