"""The one path: which findings, which explainers, what is skipped and why, and that nothing else changes."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import whyray
from whyray.cards import Card
from whyray.contracts import Asked, Classifier, Context
from whyray.errors import SettingError, UnknownName, UnmetNeed
from whyray.io.bundles import load_bundle
from whyray.io.whole import in_turn
from whyray.jobs import explain as job
from whyray.jobs.explain import Plan, choose, run_explainers
from whyray.jobs.files import write_index
from whyray.jobs.warn import warnings_for
from whyray.types import Frame, Prediction


@pytest.fixture(scope="module")
def model() -> whyray.Classifier:
    return whyray.load_model("analytic")


@pytest.fixture(scope="module")
def pictures() -> list[whyray.Radiograph]:
    return whyray.testing.sample_radiographs(3)


def test_choose_takes_the_positive_ones_then_the_nearest_three_at_least() -> None:
    def one(finding: str, probability: float, threshold: float | None) -> Prediction:
        return Prediction(finding, 0.0, probability, threshold)

    two = [one("mass", 0.2, 0.1), one("edema", 0.4, 0.9), one("hernia", 0.1, 0.3), one("fracture", 0.45, None)]
    assert choose(two) == ("mass", "fracture", "hernia")
    many = [one(f, 0.9, 0.5) for f in ("mass", "edema", "hernia", "fracture")]
    assert set(choose(many)) == {"mass", "edema", "hernia", "fracture"}
    assert choose(two[:1]) == ("mass",)


def test_one_and_several_agree(model: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    together = whyray.explain(model, pictures, findings=["nodule"])
    for picture, made in zip(pictures, together, strict=True):
        alone = whyray.explain(model, picture, findings=["nodule"])
        a, b = alone["nodule", "gradcam"], made["nodule", "gradcam"]
        assert isinstance(a, whyray.Attribution) and isinstance(b, whyray.Attribution)
        np.testing.assert_allclose(a.values, b.values, atol=1e-5)
        assert made.radiograph is picture


def test_what_was_not_made_says_why(model: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    made = whyray.explain(model, pictures[0], findings=["Effusion"])
    assert made["effusion", "gradcam"].finding == "pleural_effusion"
    with pytest.raises(UnknownName, match="explained finding"):
        made["nodule", "gradcam"]
    with pytest.raises(UnknownName, match="explainer of this run"):
        made["effusion", "edges"]


class _LogitsOnly(Classifier):
    """A classifier of which nothing but logits is known, as of an ONNX file."""

    name, findings, card = "logits-only", ("mass",), Card(name="logits-only", views=("PA",), unfamiliar_above=2.0)
    capabilities, taps, fingerprint, backend = frozenset(), {}, "0" * 64, "onnx/float32/cpu"  # type: ignore[assignment]

    def prepare(self, radiograph: whyray.Radiograph) -> Frame:
        pixels = np.ascontiguousarray(radiograph.pixels[None, :32, :32])
        return Frame(pixels, np.eye(3), radiograph.shape)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

    def unfamiliarity(self, x: torch.Tensor) -> np.ndarray:
        return np.full(len(x), 3.0)


def test_an_unmet_need_is_a_skip_with_its_reason(pictures: list[whyray.Radiograph], tmp_path: Path) -> None:
    made = whyray.explain(_LogitsOnly(), pictures[0], explainers=["gradcam", "edges"])
    why = "gradcam needs features and gradients; logits-only has logits only; these work with it: occlusion, lime, shap"
    with pytest.raises(UnmetNeed, match=why):
        made["mass", "gradcam"]
    assert made["mass", "edges"].kind == "attribution"
    record = json.loads((made.save(tmp_path) / "explanation.json").read_text())
    skipped, kept = record["findings"][0]["explanations"]
    assert "needs features" in skipped["skipped"] and kept["skipped"] is None
    assert "needs features" in (tmp_path / made.save(tmp_path).name / "report.html").read_text()


def test_where_no_explainer_is_able_nothing_is_written(pictures: list[whyray.Radiograph], tmp_path: Path) -> None:
    why = r"no explainer is left\. gradcam needs features.*these work with it.*template reads the results of gradcam"
    with pytest.raises(UnmetNeed, match="no explainer is left"):
        whyray.explain(_LogitsOnly(), pictures[0], explainers=["gradcam"])
    with pytest.raises(UnmetNeed, match=why):
        whyray.explain_files(
            ["missing.png"],
            tmp_path / "out",
            classifier=_LogitsOnly(),
            plan=job.Plan(explainers=("gradcam", "template")),
        )
    assert not (tmp_path / "out").exists()


def test_the_default_explainers_are_some_that_run(
    model: whyray.Classifier, pictures: list[whyray.Radiograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job.default_explainers(model) == ("gradcam", "template")
    assert whyray.explain(_LogitsOnly(), pictures[0])["mass", "occlusion"].kind == "attribution"
    torch.manual_seed(0)
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 1))
    network = whyray.wrap(flat, findings=["mass"], size=32)  # gradients, and no features
    made = whyray.explain(network, pictures[0], explainers=[*job.working(network), "gradcam"])
    assert list(whyray.explain(network, pictures[0]).results["mass"]) == ["occlusion"]
    assert {"gradient", "lrp", "occlusion", "lime"} <= set(job.working(network))
    assert [k for k, v in made.results["mass"].items() if isinstance(v, str)] == ["gradcam"]

    def broken(name: str) -> type[whyray.Explainer]:
        raise ImportError(name)

    monkeypatch.setattr(job, "explainer_class", broken)
    assert job.working(network) == []


def test_the_budget_skips_what_would_not_fit(model: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    explainers, findings = Plan(explainers=("gradcam", "centre"), budget=1.0).check(model)
    assert findings == ()
    (result,) = run_explainers(model, pictures[:1], ["nodule"], explainers, Plan(budget=1.0), pass_seconds=5.0)
    assert "would take about 5.0 s" in str(result["nodule"]["gradcam"])
    assert not isinstance(result["nodule"]["centre"], str)


@dataclass(frozen=True)
class _Reader(whyray.Explainer):
    """Doubles the map of gradcam."""

    requires = ("gradcam",)

    def explain(
        self,
        classifier: whyray.Classifier,
        radiographs: Sequence[whyray.Radiograph],
        findings: Sequence[str],
        context: Context,
    ) -> list[dict[str, whyray.Explanation]]:
        asked = Asked(self, classifier, radiographs, findings, context)
        maps = np.stack([[2 * context.earlier[r.sha256, f, "gradcam"].values for f in findings] for r in radiographs])  # type: ignore[attr-defined]
        return asked.attributions(maps, signed=False)


def test_requirements_run_first_and_are_named_when_absent(
    model: whyray.Classifier, pictures: list[whyray.Radiograph]
) -> None:
    gradcam = job.explainer_from("gradcam")
    both = {"reader": _Reader(), "gradcam": gradcam}
    (result,) = run_explainers(model, pictures[:1], ["nodule"], both, Plan(), 0.0)
    twice, once = result["nodule"]["reader"], result["nodule"]["gradcam"]
    assert isinstance(twice, whyray.Attribution) and isinstance(once, whyray.Attribution)
    np.testing.assert_array_equal(twice.values, 2 * once.values)
    (alone,) = run_explainers(model, pictures[:1], ["nodule"], {"reader": _Reader()}, Plan(), 0.0)
    assert "add -x gradcam" in str(alone["nodule"]["reader"])


def test_warnings_about_view_window_and_familiarity(pictures: list[whyray.Radiograph]) -> None:
    lateral = dataclasses.replace(pictures[0], view="LATERAL", warnings=("From the reader.",))
    model = _LogitsOnly()
    said = warnings_for(model, lateral, model.prepare(lateral))
    assert said[0] == "From the reader."
    assert any("LATERAL" in text for text in said) and any("unlike those" in text for text in said)


@pytest.mark.parametrize(
    ("shape", "cropped"), [((256, 256), ""), ((256, 320), ""), ((200, 600), "67%"), ((512, 256), "50%")]
)
def test_much_that_the_model_does_not_see_is_told(shape: tuple[int, int], cropped: str) -> None:
    model = whyray.load_model("analytic")
    wide = whyray.Radiograph(np.random.default_rng(0).random(shape).astype(np.float32))
    said = [text for text in warnings_for(model, wide, model.prepare(wide)) if "cropped" in text]
    assert len(said) == bool(cropped) and all(f": {cropped} of it" in text for text in said)


def test_a_distance_above_its_limit_does_not_look_equal(pictures: list[whyray.Radiograph]) -> None:
    model = _LogitsOnly()
    model.card = dataclasses.replace(model.card, unfamiliar_above=2.9999)
    (said,) = [t for t in warnings_for(model, pictures[0], model.prepare(pictures[0])) if "unlike those" in t]
    shown = said.partition("(distance ")[2].partition(")")[0].split(", limit ")
    assert float(shown[0]) > float(shown[1])


def test_a_saved_folder_gives_the_same_maps_back(
    model: whyray.Classifier, pictures: list[whyray.Radiograph], tmp_path: Path
) -> None:
    made = whyray.explain(model, pictures[0], explainers=["gradcam:relu=false"], seed=3)
    bundle = load_bundle(made.save(tmp_path))
    for finding, per_explainer in made.results.items():
        for label, explanation in per_explainer.items():
            again = bundle.results[finding][label]
            assert isinstance(explanation, whyray.Attribution) and isinstance(again, whyray.Attribution)
            np.testing.assert_array_equal(again.values, explanation.values)
            np.testing.assert_array_equal(again.to_source, explanation.to_source)
            assert again.provenance == explanation.provenance and again.provenance.seed == 3
            assert again.signed == explanation.signed and again.unit == "logit"


def test_logits_that_are_not_finite_are_refused(pictures: list[whyray.Radiograph]) -> None:
    class _Nan(_LogitsOnly):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * float("nan")

    with pytest.raises(whyray.WhyrayError, match="not finite"):
        whyray.explain(_Nan(), pictures[0])


def test_a_single_text_is_no_list(model: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    with pytest.raises(whyray.WhyrayError, match="give a list"):
        whyray.explain(model, pictures[0], findings="nodule")


def test_a_key_that_is_no_pair_is_said(model: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    explained = whyray.explain(model, pictures[0], explainers=["centre"])
    with pytest.raises(SettingError, match="a finding and an explainer"):
        explained["edema"]  # type: ignore[index]


def test_an_animation_that_is_not_made_is_said_before_any_work(model: whyray.Classifier, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="webp, gif, mp4, png or none"):
        whyray.explain_files(["nowhere.png"], tmp_path / "out", classifier=model, animation="avi")
    assert not (tmp_path / "out").exists()


def test_sentences_join_the_default_where_the_model_has_a_generator(
    model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYRAY_CACHE", str(tmp_path))
    assert tuple(Plan().check(model)[0]) == ("gradcam", "template")
    folder = tmp_path / "artefacts" / "words"
    folder.mkdir(parents=True)
    about = {"kind": "sentences-wenlex", "fingerprint": model.fingerprint}
    (folder / "artefact.json").write_text(json.dumps(about))
    asked, _ = Plan(audience="lay").check(model)
    assert tuple(asked) == ("gradcam", "template", "wenlex")
    assert all(asked[name].audience == "lay" for name in ("template", "wenlex"))
    (folder / "artefact.json").write_text(json.dumps(about | {"fingerprint": "another"}))
    assert "wenlex" not in Plan().check(model)[0]
    (folder / "artefact.json").write_text(json.dumps(about | {"kind": "sentences-ratchet-lay"}))
    assert tuple(Plan().check(model)[0]) == ("gradcam", "template")  # a generator speaks to one audience
    asked, _ = Plan(audience="lay").check(model)
    assert tuple(asked) == ("gradcam", "template", "ratchet") and asked["ratchet"].audience == "lay"


def test_batches_into_one_folder_wait_for_each_other_s_index(
    model: whyray.Classifier, pictures: list[whyray.Radiograph], tmp_path: Path
) -> None:
    first, second = (whyray.explain(model, r, explainers=["centre"]) for r in pictures[:2])
    first.save(tmp_path, animation="none")
    with in_turn(tmp_path):  # another batch is at its index
        writer = threading.Thread(target=write_index, args=(tmp_path, ()))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive(), "it waits"
        second.save(tmp_path, animation="none")
    writer.join()
    assert (tmp_path / "index.html").read_text().count("report.html") == 2, "what came while it waited is listed"


def test_a_batch_without_pictures_leaves_the_folder_to_another(model: whyray.Classifier, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"

    def meanwhile(done: int, total: int, item: str) -> None:
        (out / "of another batch").mkdir(parents=True, exist_ok=True)

    batch = whyray.explain_files([tmp_path / "bad.png"], out, classifier=model, report=meanwhile)
    assert len(batch.failures) == 1 and [p.name for p in out.iterdir()] == ["of another batch"]
