"""From trained weights to an artefact: measured on the test split beside its controls, written, and listed as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..cards import Operation, Preparation
from ..io.artefacts import Artefact, save_artefact
from ..io.weights import halved
from ..io.whole import write_whole
from ..models._narrators import KINDS
from ..models._predict import sigmoid
from ..types import Report
from ._nle_measure import measured
from ._nle_pairs import LABELS, Pair
from ._nle_score import score_of, written
from .classifier import MEAN, PAPERS, STD
from .finish import Fitted, write_bundle
from .loop import Trained
from .plan import ClassifierPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .nle import NleTask, Split


def finished(task: NleTask, trained: Trained, out: Path, report: Report | None = None) -> Path:
    """Measure the kept weights, and write ``out``: artefact, files for ``whyray evaluate language``, classifier."""
    module = task.build().eval()
    module.load_state_dict(dict(trained.weights))
    module.to(task.plan.loop.device)
    fingerprint = task.classifier.fingerprint if task.classifier else _classifier(task, module, trained, out)
    signature = score_of(task, task.val, *_validated(task, module))[1]
    split = task.split("test", report)
    texts, told = written(task, module, split, split.pairs)
    if task.plan.audience == "clinician":  # the labeller of ``whyray evaluate language`` reads no lay words
        write_files(task, split, texts, told, out)
    facts = {
        "name": task.plan.name,
        "architecture": dict(task.plan.architecture),
        "reads": {
            "depth": task.train.seen.depth,
            "grid": list(task.train.seen.grid),
            "predictions": task.train.seen.predictions,
            "states": task.classifier is None,
        },
        "audience": task.plan.audience,
        "diagnoses": list(task.diagnoses),
        "tokenizer": task.tokenizer.to_json(),
        "classifier": task.classifier.name if task.classifier else task.plan.name,
        "licence": task.plan.licence,
        "limits": list(task.plan.limits),
        "data": [{"name": s.name, "about": s.about, "licence": s.licence} for s in task.plan.data],
        "selection": signature,
        "results": measured(task, module, split, texts),
        "provenance": {
            "plan": {**task.plan.settings, "loop": asdict(task.plan.loop)},
            "pairs": [len(task.train.pairs), len(task.val.pairs), len(split.pairs)],
            "history": [dict(h) for h in trained.history],
            "seconds": trained.seconds,
        },
    }
    kind = KINDS[task.plan.architecture["network"], task.plan.audience]
    return save_artefact(out, Artefact(kind, fingerprint, tensors(task, module), facts))


def tensors(task: NleTask, module: nn.Module) -> dict[str, Tensor]:
    """The generator in float16, and the three-state head it reads."""
    narrator: nn.Module = module["narrator"]  # type: ignore[index]
    held = {f"narrator.{k}": v for k, v in halved(narrator.state_dict()).items()}
    if task.classifier is None:
        head = module["vision"].classifier  # type: ignore[index]
        held |= {f"states.{k}": v for k, v in head.state_dict().items()}
    return held


def write_files(task: NleTask, split: Split, texts: list[str], told: NDArray[np.float64], out: Path) -> None:
    """``generated.jsonl`` and ``references.jsonl``, for the diagnoses that MIMIC-NLE has; of a study with several
    pictures the sentence on the first."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    references: dict[str, dict[str, Any]] = {}
    for pair, text, row in zip(split.pairs, texts, told, strict=True):
        if pair.diagnosis not in LABELS:
            continue
        line = references.setdefault(pair.sentence, _reference(pair, split.states[pair.case], task.findings))
        line["diagnosis_label"][LABELS.index(pair.diagnosis)] = 1
        shown = {"sentence_ID": pair.sentence, "diagnosis": pair.diagnosis, "nle": text}
        made.setdefault((pair.sentence, pair.diagnosis), {**shown, **_prediction(task, row, pair.diagnosis)})
    for name, lines in (("generated", list(made.values())), ("references", list(references.values()))):
        write_whole(out / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


def _reference(pair: Pair, states: NDArray[np.int64], findings: Sequence[str]) -> dict[str, Any]:
    """A line of MIMIC-NLE's schema; the states of the image where the classifier has MIMIC-NLE's findings."""
    names = {"sentence_ID": pair.sentence, "patient_ID": pair.patient, "nle": pair.texts[0]}
    marks = {"diagnosis_label": [0] * len(LABELS)}
    if tuple(findings) == LABELS:
        marks["img_labels"] = np.eye(3, dtype=int)[np.maximum(states, 0)].tolist()
    return {**names, **marks}


def _prediction(task: NleTask, row: NDArray[np.float64], diagnosis: str) -> dict[str, Any]:
    """What the classifier says of the image: its states, or whether it calls the diagnosis."""
    if task.classifier is None:
        return {"img_probabilities": row.reshape(-1, 3).tolist()} if tuple(task.findings) == LABELS else {}
    p = float(np.clip(row[task.findings.index(diagnosis)], 1e-7, 1 - 1e-7))
    operation = task.classifier.card.operations.get(diagnosis, Operation())
    calibrated = sigmoid(operation.slope * float(np.log(p / (1 - p))) + operation.intercept)
    threshold = 0.5 if operation.threshold is None else operation.threshold
    return {"predicted": "positive" if calibrated >= threshold else "negative"}


def _validated(task: NleTask, module: nn.Module) -> tuple[tuple[Pair, ...], list[str], NDArray[np.float64]]:
    pairs = task.val.pairs[: task.plan.validated]
    return (pairs, *written(task, module, task.val, pairs))


def _classifier(task: NleTask, module: nn.Module, trained: Trained, out: Path) -> str:
    """Write the classifier that was trained as a bundle of one logit a finding; returns its fingerprint."""
    from ..models._store import load_bundle
    from ..networks.three_states import ThreeStates, live

    plan = task.plan
    vision: nn.Module = module["vision"]  # type: ignore[index]
    embedded, logits = {}, {}
    for name, split in (("train", task.train), ("val", task.val)):
        rows = [_embedded(module, split, start) for start in range(0, len(split.cases), 32)]
        embedded[name] = torch.cat([pooled for pooled, _ in rows])
        logits[name] = live(torch.cat([states for _, states in rows])).double().numpy()
    architecture = {**plan.vision, "states": 3}
    preparation = Preparation(size=(plan.size, plan.size), mean=(MEAN,), std=(STD,))
    fitted = Fitted(
        ThreeStates(vision),
        architecture,
        preparation,
        PAPERS["densenet"],
        embedded["train"],
        embedded["val"],
        logits["val"],
    )
    settings = ClassifierPlan(
        plan.name,
        plan.findings,
        plan.data,
        plan.vision,
        plan.loop,
        licence=plan.licence,
        limits=plan.limits,
        init=plan.init,
    )
    path = write_bundle(settings, (_Labelled(task.train, plan), _Labelled(task.val, plan)), trained, fitted, out)
    return load_bundle(path).fingerprint


def _embedded(module: nn.Module, split: Split, start: int) -> tuple[Tensor, Tensor]:
    """(pooled features, states) of a batch of pictures as they are."""
    with torch.inference_mode():
        rows = range(start, min(start + 32, len(split.cases)))
        features, _, states = split.seen(module, rows, -1)
    assert states is not None
    return features.mean((2, 3)).cpu(), states.cpu()


class _Labelled:
    """A split as the card wants it: labels 1 (uncertain or positive), 0, NaN; the source of each case; patients."""

    def __init__(self, split: Split, plan: Any) -> None:
        self.labels = np.where(split.states < 0, np.nan, split.states > 0).astype(np.float32)
        specs = [source.spec for source in plan.data]
        self.source = np.array([specs.index(spec) for spec, _ in split.cases])
        self.patients = tuple(case.patient or case.id for _, case in split.cases)
