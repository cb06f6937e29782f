"""A classifier from a recipe on phantoms: masks, labels, augmentation, calibration, bundle, card."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray.contracts import Classifier
from whyray.datasets.phantom import phantom_case
from whyray.errors import DataError, FingerprintError, InputError, SettingError, UnknownName, WeightsError, WhyrayError
from whyray.io.artefacts import Artefact, load_artefact, save_artefact
from whyray.io.weights import save_weights
from whyray.models._store import load_bundle, read_card
from whyray.testing import check_classifier
from whyray.training import evaluate, measure
from whyray.training.augment import Augment, augmented, draws
from whyray.training.calibrate import log_odds, operation, platt
from whyray.training.classifier import balance, masked_bce, new_network, train_classifier
from whyray.training.evaluate import evaluate_classifier
from whyray.training.examples import labels_of, with_parents
from whyray.training.measure import card_page
from whyray.training.plan import ClassifierPlan, Source, load_plan, plan_from
from whyray.training.recipe import run_recipe
from whyray.types import Case, Radiograph

NAN = math.nan
RECIPE = """
[stage.classifier]
name = "tiny"
findings = ["pleural_effusion", "cardiomegaly", "support_devices"]
size = 48
sizes = [32, 48]
stored = 54
licence = "Apache-2.0"
architecture = {network = "densenet", growth = 4, blocks = [1, 1], stem = 8}
loop = {epochs = 2, batch = 8, every = 1, seed = 1}
prevalences = {pleural_effusion = 0.1}
limits = ["A test."]
[[stage.classifier.data]]
name = "phantom"
spec = "phantom:train=24,val=16,test=16,size=64"
about = "phantoms"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stack")
    (out / "r.toml").write_text(RECIPE)
    made = run_recipe(out / "r.toml", out / "made")
    assert made == {"classifier": out / "made/classifier/model.json"}
    return out


def trained(stack: Path) -> Classifier:
    return load_bundle(stack / "made/classifier")


def test_a_recipe_makes_a_classifier_that_keeps_the_contract(stack: Path) -> None:
    classifier = trained(stack)
    check_classifier(classifier)
    assert classifier.findings == ("pleural_effusion", "cardiomegaly", "support_devices")
    assert classifier.card.operations["pleural_effusion"].prevalence == 0.1
    assert classifier.card.unfamiliar_above is not None and classifier.card.unfamiliar_above > 0
    assert json.loads((stack / "made/recipe.json").read_text())["fingerprint"] == classifier.fingerprint


def test_the_card_holds_the_test_split_and_its_page_says_so(stack: Path) -> None:
    data = read_card(stack / "made/classifier/model.json")
    rows = [r for r in data["card"]["results"] if r["metric"] == "auc"]
    assert [r["finding"] for r in rows][3:] == ["mean"] * (len(rows) - 3) and len(rows) > 3
    assert all(r["n"] == 16 and r["data"] == "phantom" for r in rows)
    page = card_page(data)
    assert "Not for clinical use" in page and "| Pleural effusion | 16 |" in page and "A test." in page


def test_run_again_it_ends_at_once_and_makes_the_same(stack: Path) -> None:
    before = trained(stack).fingerprint
    said: list[str] = []
    run_recipe(stack / "r.toml", stack / "made", report=lambda done, total, facts: said.append(facts))
    assert trained(stack).fingerprint == before and not any("loss" in line for line in said)


def test_straight_through_twice_gives_the_same_weights(stack: Path, tmp_path: Path) -> None:
    run_recipe(stack / "r.toml", tmp_path)
    assert load_bundle(tmp_path / "classifier").fingerprint == trained(stack).fingerprint


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"network": "vgg"}, "known: densenet, resnet"),
        ({"network": "densenet", "stride": 2}, "known: growth, blocks, stem, bottleneck"),
        ({"network": "resnet", "expansion": 2}, r"expansion \(1, 4\)"),
        ({"network": "resnet", "surround": [4]}, "odd widths"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused_with_what_can(architecture: dict[str, object], says: str) -> None:
    source = Source("phantom:train=1,val=1,size=64", "phantom")
    with pytest.raises(SettingError, match=says):
        new_network(ClassifierPlan("x", ("mass",), (source,), architecture))


def test_an_unknown_stage_is_refused(stack: Path) -> None:
    with pytest.raises(UnknownName, match="classifier"):
        run_recipe(stack / "r.toml", stack / "made", stages=["clasifier"])
    (stack / "none.toml").write_text("a = 1")
    with pytest.raises(SettingError, match="no table"):
        run_recipe(stack / "none.toml", stack / "made")


def test_an_artefact_of_another_classifier_is_refused(tmp_path: Path) -> None:
    save_artefact(tmp_path, Artefact("autoencoder", "a" * 64, {"w": torch.ones(3)}, {"latent": 3}))
    mine = load_artefact(tmp_path, "autoencoder", "a" * 64)
    assert mine.facts == {"latent": 3} and torch.equal(mine.tensors["w"], torch.ones(3))
    with pytest.raises(FingerprintError, match="train one for this classifier"):
        load_artefact(tmp_path, "autoencoder", "b" * 64)
    with pytest.raises(WeightsError, match="holds no patterns"):
        load_artefact(tmp_path, "patterns", "a" * 64)


def test_masked_loss_equals_the_sum_over_known_labels() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), np.array([[1, 0, NAN], [NAN] * 3, [0, NAN, 1], [1, 1, 0], [NAN, 0, NAN]])
    errors = [
        -np.log(1 / (1 + np.exp(-x[i, j]))) if y[i, j] else -np.log(1 - 1 / (1 + np.exp(-x[i, j])))
        for i in range(5)
        for j in range(3)
        if not np.isnan(y[i, j])
    ]
    logits = torch.tensor(x, requires_grad=True)
    loss = masked_bce(logits, torch.tensor(y))
    assert float(loss.detach()) == pytest.approx(np.mean(errors))
    loss.backward()
    assert torch.equal(logits.grad != 0, ~torch.isnan(torch.tensor(y)))
    assert float(masked_bce(torch.zeros(2, 3), torch.full((2, 3), NAN))) == 0


def test_balance() -> None:
    labels = np.array([[1, 0, NAN], [0, 0, NAN], [0, 0, NAN], [0, NAN, NAN]], np.float32)
    assert balance(labels, 0) is None
    assert balance(labels, 1).tolist() == [3.0, 1.0, 1.0]  # type: ignore[union-attr]


def a_case(labels: dict[str, float], **facts: object) -> Case:
    return Case("x", lambda: Radiograph(np.zeros((32, 32), np.float32)), labels, facts=facts)


def test_parents_come_from_children_and_from_no_finding() -> None:
    assert with_parents({"edema": 1.0, "no_finding": 0.0})["lung_opacity"] == 1
    assert with_parents({"edema": 0.0, "consolidation": 1.0, "no_finding": 1.0})["lung_opacity"] == 1
    assert with_parents({"edema": 0.0, "no_finding": 1.0})["lung_opacity"] == 0
    assert "lung_opacity" not in with_parents({"edema": 0.0, "no_finding": 0.0})
    assert with_parents({"edema": 1.0, "lung_opacity": 0.0})["lung_opacity"] == 0


@pytest.mark.parametrize(("policy", "expected"), [("ignore", NAN), ("zeros", 0.0), ("ones", 1.0)])
def test_uncertain_labels(policy: str, expected: float) -> None:
    case = a_case({"edema": NAN, "mass": 1.0}, uncertain=("edema",))
    table = labels_of([case], ("edema", "mass", "nodule"), Source("x", "x"), policy)  # type: ignore[arg-type]
    np.testing.assert_array_equal(table, np.array([[expected, 1, NAN]], np.float32))


def test_a_source_may_label_some_findings_only() -> None:
    source = Source("x", "x", findings=("mass",))
    table = labels_of([a_case({"edema": 1.0, "mass": 1.0})], ("edema", "mass"), source, "ignore")
    np.testing.assert_array_equal(table, np.array([[NAN, 1]], np.float32))


def test_augmentation_depends_on_seed_epoch_and_example_only() -> None:
    assert np.array_equal(draws(1, 2, [5, 9])[1], draws(1, 2, [9])[0])
    assert not np.array_equal(draws(1, 2, [5]), draws(1, 3, [5]))
    assert not np.array_equal(draws(1, 2, [5]), draws(2, 2, [5]))


def test_no_augmentation_is_the_picture_itself() -> None:
    by = Augment(rotate=0, zoom=0, aspect=0, shift=0, gamma=0, contrast=0, brightness=0)
    x = torch.rand(2, 1, 32, 32).clamp(0.01, 0.99)
    torch.testing.assert_close(augmented(x, draws(0, 0, [1, 2]), 32, by), x, atol=1e-5, rtol=0)
    changed = augmented(x, draws(0, 0, [1, 2]), 32, dataclasses.replace(by, flip=1.0))
    torch.testing.assert_close(changed, x.flip(-1), atol=1e-5, rtol=0)
    every = augmented(x, draws(0, 0, [1, 2]), 24, Augment(noise=0.1, erase=1.0))
    assert every.shape == (2, 1, 24, 24) and float(every.min()) >= 0 and float(every.max()) <= 1


def test_calibration_recovers_the_truth_and_shifts_to_the_prevalence() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(20000) < 0.3).astype(float)
    logits = rng.normal(size=20000) + 1.5 * labels  # log-odds = 1.5 x - 1.125 + log(0.3 / 0.7)
    slope, intercept = platt(logits, labels)
    assert slope == pytest.approx(1.5, abs=0.07) and intercept == pytest.approx(-1.125 + log_odds(0.3), abs=0.07)
    made = operation(logits, labels, 0.02)
    assert made.prevalence == 0.02
    assert made.intercept == pytest.approx(intercept - log_odds(float(labels.mean())) + log_odds(0.02))
    cut = (log_odds(made.threshold) - made.intercept) / made.slope  # type: ignore[arg-type]
    assert abs(cut - 0.75) < 0.2, "Youden's cut lies halfway, whatever the prevalence"


def test_what_does_not_separate_gets_no_operating_point() -> None:
    rng = np.random.default_rng(1)
    labels, names = np.tile([0.0, 1.0], 40), [str(i) for i in range(80)]
    assert operation(rng.normal(size=80), labels, 0.1, names).threshold is None
    assert operation(rng.normal(size=80) + 2 * labels, labels, 0.1, names).threshold is not None


def test_calibration_with_little_to_go_by() -> None:
    assert operation(np.array([1.0, 2.0]), np.array([1.0, 1.0]), 0.1).prevalence is None
    assert platt(np.array([3.0, -3.0, 2.0, -2.0]), np.array([0.0, 1.0, 0.0, 1.0]))[0] >= 0.05
    assert 0 < platt(np.array([-1.0, 1.0]), np.array([0.0, 1.0]))[0] < 5, "two pictures invent no steep slope"


def test_evaluation_is_by_data_set_and_says_what_it_could_not_read(stack: Path) -> None:
    cases = [dataclasses.replace(phantom_case(i, size=64), facts={"dataset": "ab"[i % 2]}) for i in range(12)]

    def broken() -> Radiograph:
        raise InputError("x.png", "it is broken", "copy it again")

    rows = evaluate_classifier(trained(stack), [*cases, dataclasses.replace(cases[0], open=broken)], replicates=20)
    assert {r.slice for r in rows} == {"a", "b"} and all(r.n == 6 for r in rows)
    assert all("1 pictures could not be read" in (r.note or "") for r in rows)
    with pytest.raises(DataError, match="none of 1"):
        evaluate_classifier(trained(stack), [dataclasses.replace(cases[0], open=broken)])


def test_a_source_of_two_data_sets_is_measured_one_by_one(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hospitals of different size: no mean over pictures that are not the same, and a table each."""
    cases = [dataclasses.replace(phantom_case(i, size=64), facts={"dataset": "ab"[i > 15]}) for i in range(26)]
    monkeypatch.setattr(measure, "labelled_cases", lambda *_: cases)
    bundle = tmp_path / "model.json"
    for path in (stack / "made/classifier").glob("model.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bundle.write_text(json.dumps({**read_card(bundle), "card": {**read_card(bundle)["card"], "results": []}}))
    measure.measured(bundle, load_plan(stack / "r.toml"), replicates=20)
    rows = read_card(bundle)["card"]["results"]
    means = [(r["slice"], r["n"]) for r in rows if r["finding"] == "mean"]
    assert set(means) == {("a", 16), ("b", 10)} and all(r["data"] == "phantom" for r in rows)
    assert {r["positives"] for r in rows if r["finding"] == "cardiomegaly" and r["slice"] == "b"} == {
        sum(c.labels["cardiomegaly"] == 1 for c in cases[16:])
    }
    page = card_page(read_card(bundle))
    assert "### phantoms: a" in page and "### phantoms: b" in page


def test_logits_that_are_not_finite_are_refused_where_they_enter_a_table(
    stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [phantom_case(i, size=64) for i in range(6)]
    bad = np.zeros((6, 3), np.float32)
    bad[1, 0], bad[4, 2] = np.nan, np.inf
    monkeypatch.setattr(evaluate, "logits", lambda *_, **__: bad)
    with pytest.raises(WhyrayError, match="not finite for 2 of 6 pictures"):
        evaluate_classifier(trained(stack), cases, replicates=20)


def test_transfer_from_a_weights_file(tmp_path: Path) -> None:
    table = {
        "name": "t",
        "findings": ["mass"],
        "data": [{"spec": "phantom", "name": "p"}],
        "architecture": {"network": "densenet", "growth": 4, "blocks": [1, 1], "stem": 8},
    }
    state = new_network(plan_from(table)).state_dict()
    colour = {**state, "features.conv0.weight": torch.rand(8, 3, 7, 7), "classifier.weight": torch.rand(9, 8)}
    save_weights(tmp_path / "w.safetensors", colour)
    made = new_network(plan_from({**table, "init": str(tmp_path / "w.safetensors")})).state_dict()
    torch.testing.assert_close(made["features.conv0.weight"], colour["features.conv0.weight"].sum(1, keepdim=True))
    other = {**table, "architecture": {**table["architecture"], "growth": 8}, "init": str(tmp_path / "w.safetensors")}  # type: ignore[dict-item]
    with pytest.raises(SettingError, match=r"fits .* of .* tensors"):
        new_network(plan_from(other))


def test_a_stage_starts_from_the_one_before_and_keeps_its_head(stack: Path, tmp_path: Path) -> None:
    first = RECIPE.replace("stage.classifier", "stage.pretraining")
    second = '[stage.classifier]\nstart = "pretraining"\nloop = {epochs = 1, lr = 1e-9}\n'
    (tmp_path / "r.toml").write_text(first + second)
    run_recipe(tmp_path / "r.toml", tmp_path)
    before, after = (load_bundle(tmp_path / s).module.state_dict() for s in ("pretraining", "classifier"))
    assert load_plan(tmp_path / "r.toml").loop.batch == 8, "what a stage does not set is as in the one before"
    torch.testing.assert_close(before["classifier.weight"], after["classifier.weight"], atol=1e-5, rtol=0)
    card = read_card(tmp_path / "pretraining/model.json")["card"]
    assert not card["results"], "the test split is read at the end only"
    (tmp_path / "r.toml").write_text('[stage.classifier]\nstart = "pretraining"\n')
    with pytest.raises(SettingError, match="comes before"):
        run_recipe(tmp_path / "r.toml", tmp_path)


def test_a_network_nobody_has(tmp_path: Path) -> None:
    table = {
        "name": "t",
        "findings": ["mass"],
        "data": [{"spec": "phantom", "name": "p"}],
        "architecture": {"network": "x"},
    }
    with pytest.raises(SettingError, match="densenet"):
        new_network(plan_from(table))
    with pytest.raises(SettingError, match="growth"):
        new_network(plan_from({**table, "architecture": {"network": "densenet", "groth": 3}}))


def test_no_cases_is_an_error(tmp_path: Path) -> None:
    table = {
        "name": "t",
        "findings": ["mass"],
        "architecture": {"network": "densenet"},
        "data": [{"spec": "phantom:train=4,size=64", "name": "p", "where": {"dataset": "nowhere"}}],
    }
    with pytest.raises(DataError, match="nowhere"):
        train_classifier(plan_from(table), tmp_path)
