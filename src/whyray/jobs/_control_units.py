"""Two more controls of a bank: independent components, and an embedding of the same pictures that knows no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..patterns.bank import PatternBank
from ..patterns.ica import Components, independent_components
from ..patterns.site import Site, read_tokens, tokens
from ..types import Case
from ._units import PIECE, Representation, both_signs, signed
from .store import Store, cell_key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ._units import Read

VERSION = 1
COMPONENTS = 64  # at most: tokens vary in fewer directions than they have numbers
SAMPLE = 40_000  # tokens that components are found in


def independent(
    classifier: Classifier, bank: PatternBank, cases: Sequence[Case], store: Store, seed: int
) -> tuple[Representation, Components]:
    """Independent components of the classifier's own tokens on ``cases``: as many as the bank's basis has rows, at most
    ``COMPONENTS``."""
    count = min(len(bank.basis.rows) if bank.basis else COMPONENTS, COMPONENTS, bank.site.d_in)
    about = {"kind": "ica", "version": VERSION, "fingerprint": classifier.fingerprint, "count": count, "seed": seed}
    about |= {"backend": classifier.backend, "site": bank.site.facts, "cases": [c.source() for c in cases]}

    def find() -> dict[str, Any]:
        made = independent_components(_sample(classifier, bank.site, cases, seed), count, seed=seed)
        return {"mean": made.mean, "rows": made.rows, "steps": np.array(made.steps), "settled": np.array(made.settled)}

    kept = store.have(about, find)
    found = Components(kept["mean"], kept["rows"], int(kept["steps"]), bool(kept["settled"]))
    one = Representation(
        "ica",
        classifier,
        bank.site,
        lambda t: both_signs(found.project(t).T),
        signed([f"component {i}" for i in range(count)]),
        f"ica/{cell_key(about)}",
    )
    return one, found


def generic(classifier: Classifier) -> Representation:
    """The latent of the classifier's own autoencoder: the same pictures, no label. Either sign, for it has no ReLU.

    Raises UnmetNeed where the classifier has none, or one that learned through the classifier.
    """
    import torch

    from ..models._autoencoders import autoencoder_for, to_grey

    made = autoencoder_for(classifier)
    if _taught(made.facts):
        raise UnmetNeed(f"left out: the autoencoder of {classifier.name} learned from more than grey values")
    height, width = made.preparation.size
    with torch.inference_mode():
        _, channels, *grid = made.encode(torch.zeros(1, 1, height, width)).shape
    site = Site("latent", "latent", (grid[0], grid[1]), channels, channels, np.zeros((0, channels)), np.zeros(0))

    def read(x: Tensor) -> Read:
        with torch.inference_mode():
            values = tokens(made.encode(to_grey(x, classifier.card.preparation))).float().numpy()
        return values, values, np.zeros((len(values), 0), np.float32)

    names = signed([f"latent {i}" for i in range(channels)])
    key = f"generic/{made.sha256}"
    return Representation("generic", classifier, site, lambda t: both_signs(t.T), names, key, read)


def _sample(classifier: Classifier, site: Site, cases: Sequence[Case], seed: int) -> NDArray[np.float32]:
    """Tokens ``[n, d_in]``, the same number of each picture, at most ``SAMPLE``."""
    import torch

    each = max(1, min(site.cells, SAMPLE // len(cases)))
    rng, found = np.random.default_rng([seed, 1]), []
    for start in range(0, len(cases), PIECE):
        pixels = [classifier.prepare(c.radiograph()).pixels for c in cases[start : start + PIECE]]
        read = read_tokens(classifier, site, torch.from_numpy(np.stack(pixels)))[0]
        found += [one[np.sort(rng.permutation(site.cells)[:each])] for one in read]
    return np.concatenate(found)


def _taught(facts: Mapping[str, Any]) -> bool:
    """Whether an autoencoder's own record says that more than grey values taught it."""
    plan = dict(facts).get("provenance", {}).get("plan", {})
    return bool(plan.get("features") or plan.get("logits") or plan.get("init"))
