"""What an experiment asks: questions, their arms, and the runs that these come down to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import in_range
from ..errors import SettingError, UnknownName
from ..io.records import safe_name
from ..metrics._intervals import REPLICATES
from ..training.settings import from_mapping, read_toml

if TYPE_CHECKING:
    from ..training._wenlex_plan import WenlexPlan

QUESTIONS = Path(__file__).with_name("experiment_wenlex.toml")


@dataclass(frozen=True)
class Arm:
    """One answer to a question: the plan with ``set`` put in.

    audience  for whom its sentences are measured; empty = the experiment's.
    speaks    False for a control whose sentences are not measured.
    """

    name: str
    set: tuple[str, ...] = ()
    audience: str = ""
    speaks: bool = True


@dataclass(frozen=True)
class Question:
    """What is asked, in words, and its arms; the others are compared with the first.

    seeds    arms that train the classifier run once a seed, and its AUC is compared.
    writers  other writers of sentences stand beside it.
    """

    name: str
    asks: str
    arms: tuple[Arm, ...]
    seeds: bool = False
    writers: bool = False


@dataclass(frozen=True)
class Experiment:
    """An experiment on one plan and one data set.

    plan         TOML file of ``whyray train wenlex``, or a recipe with ``[stage.wenlex]``.
    dataset      whose pictures sentences are measured on, such as ``phantom:test=200#test``.
    questions    names out of ``experiment_wenlex.toml``; empty = all of them.
    changes      ``key=value`` for every run, below what an arm sets.
    audience     for whom sentences are measured.
    seeds        runs of each arm that trains the classifier: the plan's own seed and those after it.
    labelled     data sets on which the AUC of classifiers is compared; empty = ``dataset``.
    activations  a store of the classifier's features (``whyray activations``); empty = made once for all runs.
    limit        the first N pictures; ``seed`` and ``replicates`` of what is drawn while it is measured.
    """

    plan: str
    dataset: str
    questions: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    audience: str = "clinician"
    seeds: int = 3
    labelled: tuple[str, ...] = ()
    activations: str = ""
    limit: int | None = None
    seed: int = 0
    replicates: int = REPLICATES

    def __post_init__(self) -> None:
        in_range("seeds", self.seeds, 1, 100)
        for name in self.questions:
            if name not in asked():
                raise UnknownName("question", name, tuple(asked()))

    @property
    def chosen(self) -> tuple[Question, ...]:
        """The questions that are asked, in the order of the file."""
        return tuple(q for name, q in asked().items() if not self.questions or name in self.questions)


@dataclass(frozen=True)
class Run:
    """One training: its plan, what decides it as a hash, and the name of its folder (after the first arm it is of)."""

    key: str
    folder: str
    plan: WenlexPlan


@cache
def asked() -> dict[str, Question]:
    """Name -> question of ``experiment_wenlex.toml``."""
    tables = read_toml(QUESTIONS)["question"]
    return {name: from_mapping(Question, {**table, "name": name}, f"question.{name}") for name, table in tables.items()}


def runs_of(experiment: Experiment, question: Question, arm: Arm) -> tuple[Run, ...]:
    """The trainings of an arm: one, or one a seed where the classifier is trained. Raises SettingError."""
    from ..training.wenlex import load_plan

    plan = load_plan(experiment.plan, (*experiment.changes, *arm.set))
    count = experiment.seeds if question.seeds and plan.joint else 1
    plans = [replace(plan, loop=replace(plan.loop, seed=plan.loop.seed + i)) for i in range(count)]
    return tuple(Run(key, safe_name(f"{question.name}-{arm.name}-{key}"), p) for p in plans for key in [key_of(p)])


def all_runs(experiment: Experiment) -> dict[str, Run]:
    """Key -> run, each different plan once. Raises SettingError."""
    found = [run for q in experiment.chosen for arm in q.arms for run in runs_of(experiment, q, arm)]
    if len({run.plan.classifier for run in found}) > 1:
        raise SettingError("the runs explain different classifiers; an experiment has one: set classifier in the plan")
    return {run.key: run for run in reversed(found)}


def key_of(plan: WenlexPlan) -> str:
    """Hash of all that decides a run."""
    settings = {k: v for k, v in asdict(plan).items() if k not in ("name", "licence", "limits")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
