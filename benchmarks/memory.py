"""Peak memory of explaining one 3000 x 3000 radiograph for 18 findings with DenseNet-121, explainer by explainer.

    python benchmarks/memory.py [lime shap:samples=200 ...] [--side 3000] [--threads 2] [--save]

Each line is a fresh process: the highest resident set from start to end. "nothing" is one that only loads and predicts;
"all in one" runs them one after the other, as one call does. Sample counts are cut down where memory does not depend on
them (batches are as always), so that the table takes minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SPECS = (
    "gradcam",
    "occlusion",
    "lime:samples=128",
    "shap:samples=128",
    "gradient",
    "guided_backprop",
    "integrated_gradients:steps=8,most=8",
    "gradient_shap:samples=8,baselines=4",
    "lrp",
)
LIMIT = 2048  # MiB


def main() -> None:
    """Print the table, or be one of its processes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("specs", nargs="*", default=SPECS)
    options.add_argument("--side", type=int, default=3000)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--save", action="store_true", help="write the folder with report and overlays too")
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    specs = [s for s in given.specs if s != "nothing"]
    if given.inside:
        print(f"{peak(specs, given.side, given.threads, given.save):.0f}")
        return
    for name, inside in [("nothing", []), *((s, [s]) for s in specs), ("all in one", specs)]:
        print(f"{name:<44}{measured(inside, given.side, given.threads, given.save):>7} MiB", flush=True)


def measured(specs: Sequence[str], side: int = 3000, threads: int = 2, save: bool = False) -> int:
    """Peak MiB of a fresh process that explains with these, one after the other."""
    words = [*(specs or ["nothing"]), "--inside", "--side", str(side), "--threads", str(threads)]
    command = [sys.executable, __file__, *words, *(["--save"] if save else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent, check=True)
    return int(done.stdout.split()[-1])


def peak(specs: Sequence[str], side: int, threads: int, save: bool) -> float:
    """Highest resident MiB of this process."""
    import numpy as np
    import torch
    from benchmarks_common import densenet121, resident, wrapped

    import whyray
    from whyray.engine.passes import use_large_malloc

    torch.set_num_threads(threads)
    use_large_malloc()
    classifier = wrapped(densenet121().to(memory_format=torch.channels_last))
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    pixels = 0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y)
    pixels += np.random.default_rng(0).normal(0, 0.03, (side, side)).astype(np.float32)
    radiograph = whyray.Radiograph(np.clip(pixels, 0, 1).astype(np.float32))
    del x, y, pixels
    if specs:
        result = whyray.explain(classifier, radiograph, findings=list(classifier.findings), explainers=list(specs))
        for finding in classifier.findings:
            for spec in specs:
                result[finding, spec]  # raises where it was skipped
        if save:
            with tempfile.TemporaryDirectory() as folder:
                result.save(folder)
    else:
        whyray.predict(classifier, radiograph)
    return resident("VmHWM")


if __name__ == "__main__":
    main()
