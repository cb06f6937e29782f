"""Texts of reports: Findings only, and embedded as open_clip embeds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray._torchvision import ensure_torchvision
from whyray.errors import DataError, SettingError, WeightsError
from whyray.io.weights import save_weights
from whyray.models._clip_text import TextTower, before_conclusion, findings_text, report_embeddings, text_tower
from whyray.text.sections import split
from whyray.types import Case, Radiograph

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "heart",
    "is",
    "large",
    "small",
    "left",
    "right",
    "effusion",
    "no",
    "pneumo",
    "##thorax",
    ".",
]
TEXTS = ["The heart is large.", "No effusion. No pneumothorax. The left heart is small.", "Right effusion unheard of"]
WIDTH, OUT, CONTEXT = 128, 24, 8


def counted(texts) -> np.ndarray:
    """A stand-in for a tower: how many words, and how many of them are "effusion"."""
    return np.array([[len(t.split()), t.lower().count("effusion")] for t in texts], np.float32)


def case(name: str, **report: str) -> Case:
    def never() -> Radiograph:
        raise AssertionError("a text needs no picture")

    return Case(name, never, report=report)


def test_the_findings_alone() -> None:
    report = {"indication": "Cough.", "findings": " Small effusion.\n", "impression": "Effusion."}
    assert findings_text(report) == "Small effusion."
    assert findings_text(report, ("indication", "findings")) == "Cough.\nSmall effusion."


@pytest.mark.parametrize("section", ["impression", "last_paragraph", "full report", "addendum"])
def test_a_conclusion_is_refused_with_the_reason(section: str) -> None:
    tower = TextTower("count", 2, counted)
    with pytest.raises(SettingError, match="would give them away"):
        findings_text({"findings": "a", section: "b"}, ("findings", section))
    with pytest.raises(SettingError, match="would give them away"):
        report_embeddings([], tower, (section,))


def test_an_impression_does_not_stand_in_for_findings() -> None:
    with pytest.raises(DataError, match="would leak the labels"):
        findings_text({"impression": "Effusion.", "indication": "Cough."})


@pytest.mark.parametrize(
    "text",
    [
        "Lungs clear.\n \n Impression:  Pneumonia.\n",
        "Lungs clear.\n \n IMPRESSION\n \n Pneumonia.\n",
        "Lungs clear. IMPRESSION:  Pneumonia.\n",
        "Lungs clear.\nIMPRESSION:  Pneumonia.\n",
        "Lungs clear.\n impression\n Pneumonia.\n",
        "Lungs clear IMPRESSION: Pneumonia.\n",
        "Lungs clear.IMPRESSION Pneumonia.\n",
        "Lungs clear.\n 1) Impression - Pneumonia.\n",
        "Lungs clear.\n **Impression**\n Pneumonia.\n",
        "Lungs clear. Impression. Pneumonia.\n",
        "Lungs clear.\n Impression 1. Pneumonia.\n",
        "Lungs clear.\n Impression and recommendations: Pneumonia.\n",
        "Lungs clear.\n Imoression: Pneumonia.\n",
        "Lungs clear.\n CONCLUSIONS\n Pneumonia.\n",
        "Lungs clear.\n Opinion: Pneumonia.\n",
        "Lungs clear.\n Addendum: Pneumonia.\n",
    ],
)
def test_a_conclusion_that_the_splitter_left_in_the_findings_is_cut_off(text: str) -> None:
    report = {s.name: s.text for s in split(f"FINAL REPORT\n EXAMINATION:  CHEST\n \n FINDINGS:  {text}").sections}
    assert "Pneumonia" in report["findings"], "the splitter misses it"
    assert findings_text(report).rstrip(".") == "Lungs clear"


def test_other_sections_end_before_a_conclusion_too() -> None:
    report = {"indication": "Cough.\n Impression: Pneumonia.", "findings": "Lungs clear."}
    assert findings_text(report, ("indication", "findings")) == "Cough.\nLungs clear."


def test_findings_that_begin_with_the_conclusion_are_none() -> None:
    with pytest.raises(DataError, match="would leak the labels"):
        findings_text({"findings": "\n Impression: Pneumonia."})


@pytest.mark.parametrize(
    "text",
    [
        "There is the impression of a nodule. Lungs clear.",
        "This confirms the clinical\n impression.\n Lungs clear.",
        "Impression on the trachea by a goitre. Impression-like dent below.",
        "An impression - if any - is faint: no depression: none.",
        "Differential diagnosis: oedema. Interpretation is limited by rotation.",
    ],
)
def test_prose_stays_whole(text: str) -> None:
    assert before_conclusion(text) == text


def test_cases_without_findings_are_named_and_nan() -> None:
    cases = [
        case("a", findings="No effusion here."),
        case("b", impression="Effusion."),
        case("c", findings="Effusion."),
    ]
    rows, without = report_embeddings(cases, TextTower("count", 2, counted))
    assert np.array_equal(rows[[0, 2]], [[3, 1], [1, 1]]) and np.isnan(rows[1]).all()
    assert set(without) == {"b"} and "impression" in without["b"]


Release = tuple[Path, Callable[[list[str]], torch.Tensor]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release with a random text tower in open_clip's layout, and what open_clip's own encoder makes of texts."""
    ensure_torchvision()
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    from open_clip.hf_model import HFTextEncoder

    folder = tmp_path_factory.mktemp("text")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 16}
    transformers.BertConfig(vocab_size=len(WORDS), hidden_size=WIDTH, **sizes).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    pooling = {"pooler_type": "cls_last_hidden_state_pooler", "proj_type": "mlp"}
    encoder = HFTextEncoder(str(folder / "bert"), OUT, **pooling, pretrained=False).eval()
    save_weights(folder / "open_clip_model.safetensors", {f"text.{k}": v for k, v in encoder.state_dict().items()})
    text = {"hf_pooler_type": pooling["pooler_type"], "hf_proj_type": "mlp", "context_length": CONTEXT}
    config = {"model_cfg": {"vision_cfg": {}, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))

    def official(texts: list[str]) -> torch.Tensor:
        ids = tokenizer(texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")
        with torch.no_grad():
            return torch.nn.functional.normalize(encoder(ids["input_ids"]), dim=-1)

    return folder, official


def test_embeddings_are_open_clips(release: Release) -> None:
    folder, official = release
    tower = text_tower(str(folder))
    made = tower.embed(TEXTS)
    assert made.shape == (3, OUT) and tower.width == OUT
    np.testing.assert_allclose(made, official(TEXTS), atol=2e-6)
    assert np.abs(made[0] - made[1]).max() > 0.01


def test_a_folder_that_lacks_a_part_is_refused(release: Release, tmp_path: Path) -> None:
    folder, _ = release
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(WeightsError, match="has no tokenizer"):
        text_tower(str(tmp_path))
    save_weights(tmp_path / "open_clip_model.safetensors", {"a": torch.ones(1)})
    with pytest.raises(WeightsError, match="hold no BERT"):
        text_tower(str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}))
    with pytest.raises(WeightsError, match="text tower is wanted"):
        text_tower(str(tmp_path))
