"""Measures of generated sentences against published examples, the libraries themselves, and formulas written slowly."""

from __future__ import annotations

import builtins
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whyray._torchvision import ensure_torchvision
from whyray.errors import DataError, MissingExtra
from whyray.metrics import _overlap
from whyray.metrics._bertscore import _encoder, bertscore_term, f1
from whyray.metrics._clev import MAJORITY, cited, clev_terms, published
from whyray.metrics._overlap import bleu_terms, cider_d, cider_term, meteor_term, rouge_term, words
from whyray.metrics._terms import Term, comparable, mean_term
from whyray.metrics._three_states import auc_terms
from whyray.metrics._wording import (
    distinct,
    flesch,
    grade,
    jackknife,
    reading_ease,
    self_bleu,
    share_unique,
    speaks_of_earlier,
    syllables,
)
from whyray.metrics.language import CONSTANT, METRICS, overlap_terms, selection_term, wording_terms
from whyray.testing import check_metric
from whyray.text.labeller import RuleLabeller
from whyray.text.nle import LABELS

ONE = np.ones((1, 1))
POOL = [
    "left",
    "right",
    "basal",
    "opacity",
    "may",
    "represent",
    "pneumonia",
    "small",
    "effusion",
    "which",
    "is",
    "likely",
]


def value(term: Term, n: int = 1) -> float:
    return float(term.measure(np.ones((1, n)))[0])


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(POOL, k=rng.randint(4, 12))) + "." for _ in range(count)]


# --- published worked examples


def test_bleu_counts_a_repeated_word_once() -> None:
    """Papineni et al. (2002): "the" seven times has a modified unigram precision of 2/7."""
    (one, *_) = bleu_terms(["the the the the the the the"], ["the cat is on the mat"])
    assert value(one) == pytest.approx(2 / 7)


@pytest.mark.parametrize(("text", "score"), [("police kill the gunman", 0.75), ("the gunman kill police", 0.5)])
def test_rouge_l_of_the_paper(text: str, score: float) -> None:
    """Lin (2004): longest common subsequences of 3 and of 2 of 4 words."""
    assert value(rouge_term([text], ["police killed the gunman"])) == pytest.approx(score)


def test_meteor_of_the_paper() -> None:
    """Banerjee and Lavie (2005): six matches in two chunks; here with beta = 3 as they give it, penalty 0.5 (2/6)^3."""
    term = meteor_term(["the president spoke to the audience"], ["the president then spoke to the audience"])
    mean = 10 * 1 * (6 / 7) / (6 / 7 + 9 * 1)
    assert value(term) == pytest.approx(mean * (1 - 0.5 * (2 / 6) ** 3))


def test_flesch_of_two_known_sentences() -> None:
    assert flesch(13, 1, 24)[0] == pytest.approx(37.5, abs=0.05)  # "The Australian platypus ..." in many textbooks
    assert reading_ease("The cat sat on the mat.") == pytest.approx(116, abs=0.2)
    assert grade("The cat sat on the mat.") == pytest.approx(-1.45)


# --- against the libraries, and formulas written again


def test_corpus_bleu_is_sacrebleu_s_for_any_draw() -> None:
    from sacrebleu.metrics.bleu import BLEU

    texts, references = sentences(12, 1), sentences(12, 2)
    weights = np.random.default_rng(0).integers(0, 3, (5, 12)).astype(float)
    for order, term in enumerate(bleu_terms(texts, references), 1):
        oracle = BLEU(lowercase=True, smooth_method="none", max_ngram_order=order)
        for row, got in zip(weights, term.measure(weights), strict=True):
            drawn = [i for i, count in enumerate(row) for _ in range(int(count))]
            wanted = oracle.corpus_score([texts[i] for i in drawn], [[references[i] for i in drawn]]).score / 100
            assert got == pytest.approx(wanted, abs=1e-9)


def test_bleu_of_nothing() -> None:
    assert value(bleu_terms([""], ["a b"])[0]) == 0 and math.isnan(bleu_terms(["a"], ["a"])[0].measure(0 * ONE)[0])


def slow_cider(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Vedantam et al. (2015), equation for CIDEr-D, with vectors over all n-grams."""

    def grams(text: str, n: int) -> Counter[Any]:
        tokens = words(text)
        return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))

    out = np.zeros(len(texts))
    for n in range(1, 5):
        vocabulary = sorted({g for t in (*texts, *references) for g in grams(t, n)})
        document = np.array([sum(g in grams(r, n) for r in references) for g in vocabulary])
        idf = np.log(len(references)) - np.log(np.maximum(1, document))
        for i, (text, reference) in enumerate(zip(texts, references, strict=True)):
            a, b = (np.array([grams(t, n)[g] for g in vocabulary]) * idf for t in (text, reference))
            norm = np.linalg.norm(a) * np.linalg.norm(b)
            gap = len(words(text)) - len(words(reference))
            out[i] += 10 / 4 * np.exp(-(gap**2) / 72) * (np.minimum(a, b) @ b / norm if norm else 0)
    return list(out)


def test_cider_is_its_formula() -> None:
    texts, references = sentences(15, 3), sentences(15, 4)
    texts[0] = references[0]
    got = cider_d([words(t) for t in texts], [[words(r)] for r in references])
    assert got == pytest.approx(slow_cider(texts, references)) and max(got) > 5
    assert value(cider_term(texts, references), 15) == pytest.approx(np.mean(got))


def test_cider_of_the_coco_tools() -> None:
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    texts, references = sentences(15, 3), sentences(15, 4)
    held = [{i: [" ".join(words(t))] for i, t in enumerate(side)} for side in (references, texts)]
    _, wanted = cider.Cider().compute_score(*held)
    assert cider_d([words(t) for t in texts], [[words(r)] for r in references]) == pytest.approx(list(wanted))


def test_an_equal_sentence_has_the_highest_cider() -> None:
    references = [*sentences(5), "unlike anything written above here"]
    assert cider_d([words(references[-1])], [[words(references[-1])]]) == [0.0], "one document: every idf is 0"
    got = cider_d([words(r) for r in references], [[words(r)] for r in references])
    assert got[-1] == pytest.approx(10)


def test_self_bleu_is_nltk_s() -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    texts = [*sentences(9, 5), *sentences(2, 5), POOL[0], "right basal opacity"]
    tokens = [words(t) for t in texts]
    assert self_bleu(texts) == pytest.approx(np.mean([_alone(tokens, i) for i in range(len(texts))]))
    smooth = SmoothingFunction(epsilon=0.1).method1
    for i, own in enumerate(tokens):
        if len(own) > 3:  # nltk leaves out orders that a shorter text does not have
            others = [t for j, t in enumerate(tokens) if j != i]
            assert _alone(tokens, i) == pytest.approx(sentence_bleu(others, own, smoothing_function=smooth))


def _alone(tokens: Sequence[list[str]], i: int) -> float:
    """BLEU-4 of text i against the others, written slowly."""
    own, others = tokens[i], [t for j, t in enumerate(tokens) if j != i]
    logs = 0.0
    for n in range(1, 5):
        mine = Counter(zip(*(own[k:] for k in range(n)), strict=False))
        rest = [Counter(zip(*(o[k:] for k in range(n)), strict=False)) for o in others]
        found = sum(min(c, max(r[g] for r in rest)) for g, c in mine.items())
        logs += math.log((found or 0.1) / max(1, mine.total())) / 4
    closest = min((len(o) for o in others), key=lambda n: (abs(n - len(own)), n))
    return math.exp(logs + min(0.0, 1 - closest / len(own)))


def test_diversity_by_hand() -> None:
    texts = ["a b a.", "A b a", "c"]
    assert distinct(texts, 1) == 3 / 7 and distinct(texts, 2) == 2 / 4 and share_unique(texts) == 2 / 3
    assert self_bleu(["left basal opacity is likely"] * 3) == pytest.approx(1) and math.isnan(self_bleu(["a"]))
    assert math.isnan(distinct([], 1)) and math.isnan(share_unique([]))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    texts = [str(v) for v in rng.normal(size=20)]
    mean, low, high = jackknife(
        lambda held: float(np.mean([float(t) for t in held])), texts, [str(i) for i in range(20)]
    )
    error = np.std([float(t) for t in texts], ddof=1) / math.sqrt(20)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error))
    assert math.isnan(jackknife(share_unique, ["a", "b"], ["p", "p"])[1])


@pytest.mark.parametrize(
    ("text", "earlier"),
    [
        ("Unchanged left effusion.", True),
        ("The opacity is new since the prior study.", True),
        ("Compared with the previous film, edema is worse.", True),
        ("Prior radiographs show the same opacity.", True),
        ("No prior study.", False),
        ("Left basal opacity may represent pneumonia.", False),
        ("", False),
    ],
)
def test_what_speaks_of_an_earlier_film(text: str, earlier: bool) -> None:
    assert speaks_of_earlier(text) is earlier


@pytest.mark.parametrize(
    ("word", "count"),
    [
        *(("lungs", 1), ("base", 1), ("opacity", 4), ("pneumonia", 4), ("effusion", 3), ("atelectasis", 5)),
        *(("cardiomegaly", 6), ("consolidation", 5), ("pleural", 2), ("increased", 2), ("possible", 3), ("the", 1)),
        *(("mediastinum", 5), ("interstitial", 4), ("edema", 3), ("left-sided", 3), ("mm", 1)),
    ],
)
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_readability_counts_texts_with_words_only() -> None:
    terms = {t.name: t for t in wording_terms(["The cat sat on the mat.", "", "12."])}
    assert value(terms["grade"], 3) == pytest.approx(-1.45) and value(terms["empty"], 3) == pytest.approx(1 / 3)


# --- CLEV


def test_clev_and_its_majority() -> None:
    opacity, none, both = frozenset({"lung_opacity"}), frozenset[str](), frozenset({"lung_opacity", "consolidation"})
    wanted = [opacity, opacity, opacity, none, both]
    right, macro = clev_terms([opacity, both, opacity, none, opacity], wanted, "x")
    assert value(right, 5) == 3 / 5 and value(macro, 5) == pytest.approx((2 / 3 + 1 + 0) / 3)
    constant, flat = clev_terms([MAJORITY] * 5, wanted, "x")
    assert value(constant, 5) == 3 / 5 and value(flat, 5) == pytest.approx(1 / 3)
    weights = np.array([[0, 0, 0, 1, 0.0]])
    assert macro.measure(weights)[0] == 1, "sets that a draw does not hold are in no mean"


def test_what_a_sentence_cites() -> None:
    labeller = RuleLabeller(LABELS)
    assert cited("Left basal opacity may represent pneumonia.", "pneumonia", labeller) == {"lung_opacity"}
    assert cited("Consolidation concerning for pneumonia.", "pneumonia", labeller) == {"consolidation"}
    assert cited("Opacity may be consolidation.", "consolidation", labeller) == {"lung_opacity"}
    assert cited("Blunting of the angle suggests an effusion.", "pleural_effusion", labeller) == frozenset()
    assert cited(CONSTANT, "pneumonia", labeller) == MAJORITY, "the constant sentence is the majority's answer"
    assert published([0, 1, 0, 0, 0, 1, 0, 0, 0, 0]) == {"consolidation", "lung_opacity"}


# --- AUC


def test_auc_both_ways() -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(3)[rng.integers(0, 3, (60, 4))]
    truth[:, 3] = [1, 0, 0]  # a finding of one state
    scores = rng.random((60, 4, 3)) + truth * 0.3
    scores /= scores.sum(-1, keepdims=True)

    def auc(score: Any, label: Any) -> float:
        up, down = score[label == 1], score[label == 0]
        return float(np.mean((up[:, None] > down) + 0.5 * (up[:, None] == down)))

    three, binary = auc_terms(scores, truth)
    wanted = [auc(1 - scores[:, f, 0], 1 - truth[:, f, 0]) for f in range(3)]
    assert value(binary, 60) == pytest.approx(np.mean(wanted))
    each = [sum(truth[:, f, c].mean() * auc(scores[:, f, c], truth[:, f, c]) for c in range(3)) for f in range(3)]
    assert value(three, 60) == pytest.approx(np.mean(each))


# --- BERTScore, and what cannot run


def test_bertscore_by_hand() -> None:
    candidate, reference = np.array([[1.0, 0], [0, 2]]), np.array([[3.0, 0], [1, 1], [0, 5]])
    recall, precision = (1 + math.sqrt(0.5) + 1) / 3, 1.0
    all_two, all_three, none = np.ones(2, bool), np.ones(3, bool), np.zeros(0, bool)
    found = f1(candidate, all_two, reference, all_three)
    assert found == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1(candidate, all_two, np.zeros((0, 2)), none) == f1(candidate, ~all_two, reference, all_three) == 0


def published_f1(one: np.ndarray, other: np.ndarray, idf: list[list[float]]) -> float:
    """The greedy matching of the published program in a batch of its own: vectors of length 1, padded with zeros to
    one length, a mask over the padding, the best match of each token weighed by its idf."""
    longest = max(len(one), len(other)) + 2
    padded, masks, weights = np.zeros((2, longest, one.shape[1])), np.zeros((2, longest)), np.zeros((2, longest))
    for k, vectors in enumerate((one, other)):
        padded[k, : len(vectors)] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        masks[k, : len(vectors)], weights[k, : len(vectors)] = 1, idf[k]
    similar = (padded[0] @ padded[1].T) * np.outer(masks[0], masks[1])
    precision = (similar.max(1) * weights[0] / weights[0].sum()).sum()
    recall = (similar.max(0) * weights[1] / weights[1].sum()).sum()
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("seed", range(4))
def test_bertscore_weighs_the_first_and_last_token_nothing(seed: int) -> None:
    """[CLS] and [SEP] are alike in all texts; a word may still lie nearest to one of them."""
    rng = np.random.default_rng(seed)
    first, last = np.full(5, 0.4), np.full(5, 0.3)
    texts = [np.vstack([first, np.abs(rng.normal(size=(n, 5))), last]) for n in (3, 6)]
    idf = [[0.0, *[1.0] * n, 0.0] for n in (3, 6)]
    words = [np.array(w) > 0 for w in idf]
    found = f1(texts[0], words[0], texts[1], words[1])
    assert found == pytest.approx(published_f1(texts[0], texts[1], idf))
    assert found != pytest.approx(f1(texts[0], np.ones(5, bool), texts[1], np.ones(8, bool)))
    alone = [t[w] for t, w in zip(texts, words, strict=True)]
    assert found >= f1(alone[0], np.ones(3, bool), alone[1], np.ones(6, bool))


def test_bertscore_of_a_local_model(tmp_path: Path) -> None:
    ensure_torchvision()
    transformers = pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *POOL, "."]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    settings = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(vocabulary), **settings)).save_pretrained(tmp_path)
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    texts = ["left basal opacity.", "", "edema"]
    term = bertscore_term(texts, ["left basal opacity.", "edema", "small effusion"], tmp_path)
    each = [float(term.measure(row[None])[0]) for row in np.eye(3)]
    assert each[0] == pytest.approx(1) and each[1] == 0 and each[2] < 1
    assert "layer:2" in term.signature and "special:0" in term.signature
    encode, _ = _encoder(tmp_path)
    vectors, words = encode("left basal opacity.", 2)
    assert words.tolist() == [False, True, True, True, True, False] and len(vectors) == 6
    with pytest.raises(DataError, match="layer 9"):
        bertscore_term(texts, texts, tmp_path, layer=9)


def test_a_folder_that_is_no_encoder(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match=r"no config\.json"):
        bertscore_term(["a"], ["a"], tmp_path)


def test_what_is_missing_is_named_and_changes_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = overlap_terms(["a b"], ["a b"])
    assert whole.skipped == {"bertscore": "no model was named (--bertscore FOLDER)"}
    kept = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith(("sacrebleu", "nltk")):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    part = overlap_terms(["a b"], ["a b"])
    assert {"bleu", "meteor", "bertscore"} == set(part.skipped) and "whyray[text]" in part.skipped["bleu"]
    assert [t.name for t in part.terms] == ["rouge_l", "cider"]
    with pytest.raises(MissingExtra):
        _overlap.meteor_term(["a"], ["a"])
    auc, clev = mean_term("auc", "AUC", [1.0]), mean_term("clev", "CLEV", [1.0])
    one, ran = selection_term(auc, clev, whole)
    other, none = selection_term(auc, clev, part)
    assert [t.name for t in ran] == ["meteor"] and one.endswith("dropped: bertscore")
    assert none == () and other.endswith("dropped: bertscore, meteor") and one != other


def test_other_signatures_are_never_compared() -> None:
    comparable(mean_term("a", "x", [1.0]), mean_term("a", "x", [2.0]))
    with pytest.raises(DataError, match="measured in two ways"):
        comparable(mean_term("a", "x", [1.0]), mean_term("a", "y", [1.0]))


def test_the_facts_of_the_metrics() -> None:
    same, other = ["left basal opacity is likely"] * 3, sentences(3)
    right, wrong = ([MAJORITY], [MAJORITY]), ([MAJORITY], [frozenset[str]()])
    perfect: dict[str, tuple[Any, ...]] = {"clev": right, "self_bleu": (other,), "share_unique": (other,)}
    worst: dict[str, tuple[Any, ...]] = {"clev": wrong, "self_bleu": (same,), "share_unique": (same,)}
    for metric in METRICS:
        check_metric(metric, perfect[metric.name], worst[metric.name])
