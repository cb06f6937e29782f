"""From trained weights to an artefact: measured on the test split beside its controls, and written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.artefacts import Artefact, save_artefact
from ..models._wenlex import KIND, artefact_parts
from ..text.nle_database import described
from ..types import Report
from ._wenlex_asked import SEVERITIES, SIDES
from ._wenlex_joint import looked_at, pictures_of, written_classifier
from ._wenlex_measure import measured, written
from ._wenlex_parts import Parts
from .loop import Trained

if TYPE_CHECKING:
    from .wenlex import WenlexTask

SHOWN = 5


def finished(task: WenlexTask, trained: Trained, out: Path, report: Report | None = None) -> Path:
    """Measure the kept weights, and write the artefact into ``out``; in-model, the classifier first."""
    plan, classifier = task.plan, task.classifier
    module = task.build().eval()
    assert isinstance(module, Parts)
    module.load_state_dict(dict(trained.weights))
    module.requires_grad_(False).to(plan.loop.device)
    split = task.split("test", report)
    if module.vision is not None:
        from ..models._store import load_bundle

        splits = task.pictures[0], task.pictures[1]
        classifier = load_bundle(written_classifier(plan, classifier, module.vision, splits, trained, out))
        split = looked_at(split, classifier, pictures_of(plan, classifier, split, task.cache / "pictures-test"))
    generator = task.generator(module, classifier.fingerprint)
    facts, tensors = artefact_parts(generator)
    facts |= {
        "adapter": dict(plan.adapter),
        "pictures": dict(plan.pictures),
        "reads": {
            "depth": task.train.seen.depth,
            "predictions": task.train.seen.predictions,
            "heads": {"diagnosis": len(generator.diagnoses), "side": len(SIDES), "severity": len(SEVERITIES)},
        },
        "classifier": classifier.name,
        "licence": plan.licence,
        "limits": list(plan.limits),
        "data": [{"name": s.name, "about": s.about, "licence": s.licence} for s in plan.data],
        "described": {a: described(entries) for a, entries in generator.databases.items()},
        "results": measured(generator, classifier, split),
        "shown": {a: list(written(generator, split, a, lambda: None, SHOWN).texts) for a in plan.audiences},
        "provenance": {
            "plan": {**plan.settings, "loop": asdict(plan.loop)},
            "pictures": [len(task.train.cases), len(task.val.cases), len(split.cases)],
            "history": [dict(h) for h in trained.history],
            "seconds": trained.seconds,
        },
    }
    return save_artefact(out, Artefact(KIND, generator.fingerprint, tensors, facts))
