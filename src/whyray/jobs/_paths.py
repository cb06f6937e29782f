"""Counterfactuals as cells: the whole path is kept, so that every measure and every 2-D map is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError
from ..explanations import Counterfactual, Explanation
from ._maps import check_arrays, provenance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .store import Result

KIND = "path"
OWN = ("frames", "lambdas", "logits", "probabilities")  # as many rows as a finding has frames


def path_arrays(made: Mapping[str, Explanation]) -> dict[str, NDArray[Any]]:
    """What a path cell holds: "frames_0" ... of each finding in turn, and what all of them share.

    Frames are kept in half precision: off by 0.0003 of the grey range at most.
    """
    paths: list[Counterfactual] = [e for e in made.values() if isinstance(e, Counterfactual)]
    if len(paths) != len(made):
        raise SettingError("this explainer gives no counterfactual; name one such as latent_shift")
    own = {f"{name}_{i}": getattr(path, name) for i, path in enumerate(paths) for name in OWN}
    half = {k: v.astype(np.float16) if k.startswith("frames") else v for k, v in own.items()}
    first = paths[0]
    return {
        **half,
        "base": first.base,
        "to_source": first.to_source,
        "source_shape": np.array(first.source_shape),
        "stop": np.array([p.stop for p in paths]),
        "seconds": np.array(first.provenance.seconds),
        **check_arrays(paths),
    }


def paths(facts: Mapping[str, Any], result: Result, findings: tuple[str, ...]) -> dict[str, Counterfactual]:
    """finding -> counterfactual, from a path cell; ``findings``: all of the classifier's, the columns of the logits."""
    made = provenance_of(facts, result)
    h, w = (int(side) for side in result["source_shape"])
    checks = {n.removeprefix("check_"): values for n, values in result.arrays.items() if n.startswith("check_")}
    return {
        finding: Counterfactual(
            finding=finding,
            provenance=made,
            checks={n: float(values[i]) for n, values in checks.items()},
            frames=result[f"frames_{i}"].astype(np.float32),
            lambdas=result[f"lambdas_{i}"],
            logits=result[f"logits_{i}"],
            probabilities=result[f"probabilities_{i}"],
            findings=findings,
            base=result["base"],
            to_source=result["to_source"],
            source_shape=(h, w),
            stop=(str(result["stop"][i][0]), str(result["stop"][i][1])),
        )
        for i, finding in enumerate(facts["findings"])
    }
