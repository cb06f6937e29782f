"""``whyray experiment wenlex``: what the options become, what is printed, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outcome import Outcome

from whyray import api
from whyray.jobs._experiment_arms import asked
from whyray.jobs._experiment_measured import Measured
from whyray.jobs.experiment import Answer, Experimented

ROW = {"finding": "all", "metric": "las", "value": 0.25, "low": 0.1, "high": 0.4, "n": 9, "explainer": "wenlex"}
TOLD = Measured({"rows": [{**ROW, "slice": "all pictures"}], "facts": {}, "examples": []}, {})


def test_options_become_an_experiment_and_its_answers_are_printed(
    run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[Any] = []

    def experiment(asked_for: api.Experiment, out: Path, **_: Any) -> Experimented:
        came.append((asked_for, out))
        answer = Answer(asked()["plausibility"], {"MMD": TOLD})
        return Experimented((answer,), {}, ("plausibility, none: it broke",))

    monkeypatch.setattr(api, "experiment_wenlex", experiment)
    words = ["experiment", "wenlex", "plan.toml", "-d", "phantom#test", "-o", tmp_path, "-q", "plausibility"]
    told = run(*words, "--seeds", 2, "--set", "loop.epochs=2", "-m", "mini", "--labelled", "phantom#val", "--limit", 5)
    (asked_for, out) = came[0]
    changes = ("loop.epochs=2", "classifier=mini")
    assert asked_for == api.Experiment(
        "plan.toml", "phantom#test", ("plausibility",), changes, seeds=2, labelled=("phantom#val",), limit=5
    )
    assert out == tmp_path and told.code == 1, "an arm failed"
    assert asked()["plausibility"].asks in told.out and "0.250 [0.100, 0.400]" in told.out
    assert "plausibility, none: it broke" in told.err and "report.html" in told.err
    rows = json.loads(run(*words, "--json").out)
    assert rows == [{"question": "plausibility", "arm": "MMD", **ROW, "slice": "all pictures"}]


def test_an_unknown_question_is_refused_with_the_nearest(run: Callable[..., Outcome], tmp_path: Path) -> None:
    told = run("experiment", "wenlex", "plan.toml", "-d", "phantom#test", "-o", tmp_path, "-q", "plausability")
    assert told.code == 2 and "plausibility" in told.err
