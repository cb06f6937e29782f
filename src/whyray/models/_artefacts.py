"""Where what belongs to a classifier lies: named by the user, in the package, or in the cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..io.artefacts import NAME

BUNDLED = Path(__file__).parent / "weights"
MAKE = {"patterns": "build them (whyray patterns build)"}  # what is not trained by ``whyray train KIND``
MAKE |= {f"sentences-{name}": "train one (whyray train nle)" for name in ("dpt", "ratchet", "tienet")}
MAKE |= {f"{kind}-lay": "train one (whyray train nle PLAN --set audience=lay)" for kind in list(MAKE)[1:]}
MAKE |= {"sentences-wenlex": "train one (whyray train wenlex)"}


def artefact_folder(kind: str, classifier: Classifier) -> Path:
    """The folder of the ``kind`` ("autoencoder" ...) that carries the classifier's fingerprint.

    Looked for in the package and in ``artefacts/`` of the cache folder. Raises UnmetNeed where there is none.
    """
    for folder in _folders():
        try:
            data = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict) and data.get("kind") == kind and data.get("fingerprint") == classifier.fingerprint:
            return folder
    make = MAKE.get(kind, f"train one (whyray train {kind})")
    raise UnmetNeed(f"{classifier.name} has no {kind}: {make}, and name its folder or put it into {_cache()}/")


def artefact_hash(kind: str, classifier: Classifier, named: str = "") -> str:
    """sha256 of what declares the artefact that is named, or belongs to the classifier: its facts, and the hash of its
    tensors. Raises UnmetNeed where there is none."""
    folder = Path(named) if named else artefact_folder(kind, classifier)
    try:
        return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    except OSError:
        raise UnmetNeed(f"{folder} holds no {kind}; name another folder") from None


def _folders() -> Iterator[Path]:
    for place in (BUNDLED, _cache()):
        yield from sorted(path.parent for path in place.glob(f"*/{NAME}"))


def _cache() -> Path:
    from ._fetch import cache_dir

    return cache_dir() / "artefacts"
