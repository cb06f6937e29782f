"""The sentences that are learned from: what they state, which fit, and what the plan does to them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from whyray.errors import SettingError
from whyray.training._wenlex_asked import SEVERITIES, SIDES
from whyray.training._wenlex_heads import fitted_head
from whyray.training._wenlex_losses import matching
from whyray.training._wenlex_plan import WenlexPlan, load_plan, plan_from
from whyray.training._wenlex_words import Known, known_of

ROWS = """diagnosis,nle,audience,source
edema,Perihilar haze on both sides suggests edema.,clinician,ours
edema,Marked haze suggests edema.,clinician,ours
effusion,Blunting on the left suggests a small effusion.,clinician,ours
effusion,Fluid at the base suggests effusion.,clinician,ours
mass,A mass.,clinician,ours
"""
CODER: Any = SimpleNamespace(encoded=lambda texts: torch.tensor([[float(len(t)), 1.0] for t in texts]))
FINDINGS = ("pleural_effusion", "edema", "nodule")


def known(tmp_path: Path, **changes: Any) -> Known:
    (tmp_path / "own.csv").write_text(ROWS)
    table = {"name": "t", "text": "t", "classifier": "mini", "data": [{"name": "p", "spec": "phantom"}]}
    plan = plan_from({**table, "databases": {"clinician": str(tmp_path / "own.csv")}, "examples": 0, **changes})
    return known_of(plan, CODER, FINDINGS)


def test_shared_findings_in_the_classifiers_order(tmp_path: Path) -> None:
    found = known(tmp_path)
    assert found.diagnoses == ("pleural_effusion", "edema") and found.groups == 2
    assert found.group.tolist() == [1, 1, 0, 0]
    assert [e.diagnosis for e in found.databases["clinician"]] == ["edema", "edema", *["pleural_effusion"] * 2]
    assert len(known(tmp_path, examples=1).z) == 2
    with pytest.raises(SettingError, match="nodule"):
        known(tmp_path, diagnoses=["nodule"])


def test_a_mirrored_sentence_is_learned_once_where_it_names_no_side(tmp_path: Path) -> None:
    found = known(tmp_path, mirrored=True)
    assert len(found.z) == 5  # one of four names left or right
    sides = [SIDES[i] for i in found.stated["side"].tolist()]
    assert sides.count("left") == 1 and sides.count("right") == 1


def test_what_is_spoken_of_and_what_fits(tmp_path: Path) -> None:
    found = known(tmp_path, mirrored=True)
    assert found.spoken("side").tolist() == [True, True]  # both sides, too, are named
    left, slight = SIDES.index("left"), SEVERITIES.index("slight")
    wanted = {"side": torch.tensor([left, -1, -1]), "severity": torch.tensor([-1, -1, slight])}
    fits = found.fitting(torch.tensor([0, 0, 1]), wanted)
    assert fits.sum(1).tolist() == [1, 3, 2]  # the one; all of them; no edema is slight, so all of edema
    assert int(found.stated["side"][fits[0]][0]) == left


def test_matching_is_to_the_nearest_that_fits() -> None:
    z = torch.tensor([[1.0, 0.0]], requires_grad=True)
    examples = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert float(matching(z, examples, torch.tensor([[True, True, True]])).detach()) == pytest.approx(0, abs=1e-6)
    near = matching(z, examples, torch.tensor([[False, True, True]]))
    near.backward()  # type: ignore[no-untyped-call]
    assert float(near.detach()) == pytest.approx(1 - 2**-0.5, abs=1e-6) and z.grad is not None


def test_a_head_learns_what_the_vectors_say_and_is_frozen() -> None:
    torch.manual_seed(0)
    z, labels = torch.randn(90, 6), torch.arange(90) % 3
    z[torch.arange(90), labels] += 4
    state = torch.get_rng_state()
    for binary in (False, True):
        head = fitted_head(z, labels, 3, noise=0.3, steps=60, seed=1, binary=binary)
        assert float((head(z).argmax(1) == labels).float().mean()) > 0.95
        assert not any(p.requires_grad for p in head.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_the_plan_keeps_folders_of_this_machine_to_itself() -> None:
    table = {"name": "t", "text": "/a/b", "classifier": "/c", "data": [{"name": "p", "spec": "phantom"}]}
    plan = plan_from({**table, "databases": {"clinician": "/secret/own.csv"}})
    assert isinstance(plan, WenlexPlan) and plan.audiences == ("clinician",)
    assert "/secret" not in str(plan.settings) and plan.settings["databases"] == {"clinician": "own.csv"}


@pytest.mark.parametrize("name", ["mini", "wenlex-mimic"])
def test_the_recipes_are_plans(name: str) -> None:
    plan = load_plan(Path(__file__).parents[2] / f"recipes/{name}.toml", ["classifier=mini", "text=t"])
    assert plan.examples == 5 and plan.terms.plausibility == "mmd"
