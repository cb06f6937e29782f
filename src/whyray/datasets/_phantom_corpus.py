"""Explaining sentences of the phantom's grammar without a picture: facts are drawn, and put into words."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ._phantom_devices import KINDS
from ._phantom_factors import PREVALENCE
from ._phantom_nle import explaining

Audience = Literal["clinician", "lay"]
ZONES = ("upper", "mid", "lower")
GRADED = 0.5  # share of the sentences that say so where there is little or much of the finding


def grammar_texts(
    count: int, audience: Audience = "clinician", *, test: bool = False, seed: int = 0
) -> tuple[str, ...]:
    """So many sentences, each of one finding drawn evenly, as are sides and severities; some are the same.

    Half of them say how much of the finding there is.

    ``test``: phrases of the test split, which no training sentence has.
    """
    rng = np.random.default_rng([seed, int(test)])
    return tuple(_sentence(rng, audience, test) for _ in range(count))


def _sentence(rng: np.random.Generator, audience: Audience, test: bool) -> str:
    finding = _one(rng, tuple(sorted(PREVALENCE)))
    facts = drawn_facts(finding, rng)
    graded = bool(rng.random() < GRADED)
    return explaining(facts, test=test, rng=rng, audience=audience, graded=graded)[0].text


def drawn_facts(finding: str, rng: np.random.Generator) -> dict[str, Any]:
    """Facts of a phantom with one finding, as ``explaining`` takes them: "severities", "sites" and "devices".

    An edema stands beside a large heart in a quarter of the cases.
    """
    severity = float(rng.random())
    severities = {finding: severity}
    if finding == "edema" and rng.random() < 0.25:
        severities["cardiomegaly"] = 0.5
    devices = (_one(rng, KINDS),) if finding == "support_devices" else ()
    return {"severities": severities, "sites": {finding: _site(finding, severity, rng)}, "devices": devices}


def _site(finding: str, severity: float, rng: np.random.Generator) -> dict[str, str | float]:
    """Side, place, kind and size, with the values that phantoms have."""
    side, zone = _one(rng, ("right", "left")), _one(rng, ZONES)
    match finding:
        case "atelectasis":
            return {"side": side, "place": "lower", "kind": _one(rng, ("linear", "lobar"))}
        case "pleural_effusion":
            return {"side": side, "place": _one(rng, ("base", "base", "layering"))}
        case "pneumothorax":
            return {"side": side, "place": _one(rng, ("apex", "base"))}
        case "cardiomegaly":
            return {"side": "both", "place": "heart", "size_cm": 0.505 + 0.165 * severity}
        case "edema":
            return {"side": "both", "place": "perihilar"}
        case "nodule" | "mass":
            low, high = (0.8, 2.8) if finding == "nodule" else (3.1, 6.4)
            return {"side": side, "place": zone, "size_cm": float(rng.uniform(low, high))}
        case "pneumonia":
            return {"side": "both" if rng.random() < 0.15 else side, "place": zone}
    return {"side": side, "place": zone}


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
