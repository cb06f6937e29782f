"""The coder: what is read is what was written, texts of any length, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from whyray.errors import WeightsError
from whyray.models._bert import LAYER, frozen_encoder
from whyray.models._text_autoencoders import TextCoder, around, build, coder_of, held, load_coder, save_coder
from whyray.networks.text_encoder import TextEncoder
from whyray.text.bpe import learned

TEXTS = ("A small left effusion.", "Opacity at the right base may represent atelectasis.", "")
SIZES = {"width": 16, "layers": 1, "heads": 2, "longest": 16}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "left", "effusion", "."]


@pytest.fixture
def coder() -> TextCoder:
    torch.manual_seed(0)
    tokenizer = learned(TEXTS * 3, 320)
    return TextCoder("tiny", tokenizer, build(SIZES, len(tokenizer)).eval(), {"architecture": SIZES})


def published_bert(folder: Path, **changes: object) -> TextEncoder:
    """A BERT's folder with random weights; returns the encoder that its tensors are, less the kind of text."""
    torch.manual_seed(1)
    encoder = TextEncoder(len(WORDS), 8, 2, 2, longest=12, dropout=0.0, hidden=12).eval()
    tensors = {}
    for key, value in encoder.state_dict().items():
        for theirs, ours in LAYER.items():
            part = key.split(".", 2)
            if part[0] == "layers" and part[2].rpartition(".")[0] == ours:
                tensors[f"bert.encoder.layer.{part[1]}.{theirs}.{part[2].rpartition('.')[2]}"] = value
    kind = torch.randn(2, 8)
    tensors |= {
        "bert.embeddings.word_embeddings.weight": encoder.tokens.weight,
        "bert.embeddings.position_embeddings.weight": encoder.positions.weight - kind[0],
        "bert.embeddings.token_type_embeddings.weight": kind,
        "bert.embeddings.LayerNorm.weight": encoder.norm.weight,
        "bert.embeddings.LayerNorm.bias": encoder.norm.bias,
        "cls.predictions.bias": torch.zeros(len(WORDS)),
    }
    folder.mkdir(exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    sizes = {"vocab_size": len(WORDS), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 12, "max_position_embeddings": 12}
    (folder / "config.json").write_text(json.dumps({**sizes, **changes}))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return encoder


def test_a_text_has_one_vector_whatever_it_is_read_with(coder: TextCoder) -> None:
    z = coder.encoded(TEXTS)
    assert z.shape == (3, 16) and not z.requires_grad
    for text, row in zip(TEXTS, z, strict=True):
        assert torch.allclose(coder.encoded([text])[0], row, atol=1e-5)
    assert torch.equal(coder.encoded_tokens([coder.tokenizer.encode(t) for t in TEXTS]), z)
    many = coder.encoded(TEXTS[:2] * 100)
    assert torch.allclose(many[-2:], z[:2], atol=1e-5) and coder.encoded([]).shape == (0, 16)


def test_what_is_written_is_text(coder: TextCoder) -> None:
    z = coder.encoded(TEXTS)
    tokens = coder.tokens(z)
    assert coder.texts(z) == [coder.tokenizer.decode(row).strip() for row in tokens]
    assert all(token < coder.tokenizer.bar for row in tokens for token in row)
    assert len(coder.texts(z, beams=2)) == 3 and coder.texts(z[:0]) == []


def test_a_long_text_is_cut_to_the_positions(coder: TextCoder) -> None:
    row = coder.framed(range(40))
    assert len(row) == 16 and row[0] == coder.tokenizer.start and row[-1] == coder.tokenizer.bar
    assert torch.allclose(coder.encoded([TEXTS[1] * 9]), coder.encoded([TEXTS[1] * 8]), atol=1e-6)


def test_an_artefact_gives_the_coder_again(coder: TextCoder, tmp_path: Path) -> None:
    save_coder(tmp_path, coder)
    again = load_coder(tmp_path)
    halved = coder_of(*held(coder), "tiny")
    assert torch.equal(again.encoded(TEXTS), halved.encoded(TEXTS)) and again.name == "tiny"
    assert torch.allclose(again.encoded(TEXTS), coder.encoded(TEXTS), atol=2e-2)
    assert not any(p.requires_grad for p in again.module.parameters()) and not again.module.training


def test_what_is_no_text_autoencoder_is_refused(coder: TextCoder, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="whyray train text-autoencoder"):
        load_coder(tmp_path)
    for architecture in ({"wide": 3}, {"width": 1.5}, {"width": 10**9}, {"width": 10, "heads": 4}, {"dropout": 1.0}):
        with pytest.raises(WeightsError, match="text autoencoder"):
            build(architecture, 300)
    facts, tensors = held(coder)
    with pytest.raises(WeightsError, match="missing"):
        coder_of(facts, {k: v for k, v in tensors.items() if k != "bias"}, "the text autoencoder")


def test_a_published_bert_is_read_as_it_is(tmp_path: Path) -> None:
    wanted = published_bert(tmp_path / "bert")
    encoder = frozen_encoder(str(tmp_path / "bert"))
    tokens, mask = torch.tensor([[2, 5, 6, 8, 3]]), torch.ones(1, 5, dtype=torch.bool)
    assert torch.allclose(encoder.module(tokens, mask), wanted(tokens, mask), atol=1e-5)
    assert not any(p.requires_grad for p in encoder.module.parameters())
    with pytest.raises(WeightsError, match="sha256"):
        frozen_encoder(str(tmp_path / "bert"), sha256="0" * 64)
    for changes in ({"hidden_act": "relu"}, {"hidden_size": "8"}):
        published_bert(tmp_path / "other", **changes)
        with pytest.raises(WeightsError, match="another encoder"):
            frozen_encoder(str(tmp_path / "other"))


def test_around_a_published_encoder_only_the_rest_is_kept(tmp_path: Path) -> None:
    published_bert(tmp_path / "bert")
    encoder = frozen_encoder(str(tmp_path / "bert"))
    architecture = {"heads": 2, "longest": 12, "dropout": 0.0}
    facts = {"architecture": architecture, "encoder": {"source": encoder.source, "sha256": encoder.sha256}}
    coder = TextCoder("around", encoder.tokenizer, around(encoder.module, architecture).eval(), facts)
    assert not any(k.startswith("encoder.") for k in held(coder)[1])
    again = load_coder(save_coder(tmp_path / "out", coder))
    assert torch.allclose(again.encoded(["a small left effusion"]), coder.encoded(["a small left effusion"]), atol=2e-2)
    published_bert(tmp_path / "bert", hidden_act="relu")
    with pytest.raises(WeightsError):
        load_coder(tmp_path / "out")


def test_the_published_network_computes_the_same(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    torch.manual_seed(0)
    theirs = transformers.BertModel(
        transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **sizes), add_pooling_layer=False
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    tokens = torch.tensor([[2, 5, 6, 8, 3], [2, 7, 3, 0, 0]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    wanted = theirs(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    found = frozen_encoder(str(tmp_path)).module(tokens, mask)
    assert torch.allclose(found[mask], wanted[mask], atol=1e-5)
