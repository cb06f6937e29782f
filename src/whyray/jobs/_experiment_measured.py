"""The sentences of one run, measured and kept: a run that was measured before is not measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Dataset
from ..io.artefacts import NAME
from ..types import Report, Score
from ._experiment_arms import Experiment
from ._weak_plan import WeakPlan
from ._weak_said import GENERATED
from .evaluate import plain
from .store import Store
from .weak_language import WeakLanguage, document, evaluate_weak_language

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

VERSION = 1


@dataclass(frozen=True, eq=False)
class Measured:
    """What ``evaluate language --weak`` says of a run.

    told   its document: rows, checks, examples, facts.
    draws  (metric, slice) -> value, then that of each draw of patients ``[1 + r]``, of the generator's own rows.
    """

    told: Mapping[str, Any] = field(repr=False)
    draws: Mapping[tuple[str, str], Array] = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every row, differences left out."""
        return tuple(score_of(row) for row in self.told["rows"] if "baseline" not in row)

    @property
    def differences(self) -> tuple[Score, ...]:
        """The generator less another writer or control."""
        return tuple(score_of(row) for row in self.told["rows"] if "baseline" in row)

    def find(self, metric: str, slice_: str, writer: str = GENERATED) -> Score | None:
        """One row, or None."""
        wanted = metric, slice_, writer
        return next((s for s in self.scores if (s.metric, s.slice, s.explainer) == wanted), None)


def measured(
    experiment: Experiment,
    classifier: Classifier,
    dataset: Dataset,
    folder: Path,
    audience: str,
    store: Store,
    report: Report,
) -> Measured:
    """Measure the generator in ``folder`` for an audience, or take what was kept. Raises what the measurement does."""
    from ..models._wenlex import load_weak

    facts = {
        "kind": "wenlex-experiment",
        "version": VERSION,
        "generator": json.loads((folder / NAME).read_text(encoding="utf-8"))["sha256"],
        "classifier": classifier.fingerprint,
        "dataset": dataset.name,
        "audience": audience,
        "limit": experiment.limit,
        "seed": experiment.seed,
        "replicates": experiment.replicates,
    }
    plan = WeakPlan(audience=audience, limit=experiment.limit, seed=experiment.seed, replicates=experiment.replicates)

    def make() -> dict[str, NDArray[Any]]:
        generator = load_weak(folder, classifier.fingerprint)
        return _arrays(evaluate_weak_language(classifier, dataset, generator, plan, store, report))

    held = store.have(facts, make)
    keys = [tuple(json.loads(key)) for key in held["keys"].tolist()]
    draws = dict(zip(keys, held["draws"].astype(np.float64), strict=True))
    return Measured(json.loads(held["told"].tobytes()), draws)


def _arrays(result: WeakLanguage) -> dict[str, NDArray[Any]]:
    mine = {(m, s): v for (writer, m, s), v in result.draws.items() if writer == GENERATED}
    values = np.stack(list(mine.values())) if mine else np.zeros((0, 0))
    return {
        "told": np.frombuffer(json.dumps(plain(document(result))).encode(), np.uint8),
        "keys": np.array([json.dumps(key) for key in mine], dtype=np.str_),
        "draws": values.astype(np.float32),
    }


def score_of(row: Mapping[str, Any]) -> Score:
    """A row of a document; what JSON could not hold is NaN."""
    known = {k: v for k, v in row.items() if k != "signature"}
    numbers = {k: float("nan") if known.get(k) is None else float(known[k]) for k in ("value", "low", "high")}
    return Score(**{**known, **numbers})
