"""Rows of the table: is the picture in the words, do they foretell the classifier, are they parroted, do they vary?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics._simulator import both, folds_of, of_vectors, of_words, simulated, simulated_term
from ..metrics.language import DIVERSITY, jackknife, share_unique, wording_terms
from ..metrics.weak_language import by_case, faithful_terms, kept_term, las_term, mmd_term, nearest, of_rows
from ..text.masking import masked
from ..text.nle_database import Entry
from ..types import Score
from ._weak_regenerated import LABEL, LATENT, Regenerated
from ._weak_said import GENERATED, Generator, Rows, Said, vectors
from ._weak_seen import Seen
from ._weak_table import ALL, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

EXPLAINED = "explained pictures"  # those with a called finding that the generator knows
LEARNED = "learned sentences"
VARIED = 400
GAINS = ("feature_cosine", "feature_cosine_centred")


def faithful_rows(
    table: Table, seen: Seen, rows: Rows, made: Mapping[str, Regenerated], columns: Sequence[int], seed: int
) -> None:
    """Regenerated pictures beside the real ones, and the share of the gain that the words keep.

    columns  findings whose labels are compared: those that the generator knows.
    """
    mine, columns = np.unique(rows.case), list(columns)
    called = seen.called[mine][:, columns]
    for label, found in made.items():
        again = found.called[mine][:, columns]
        terms = faithful_terms(found.features[mine], seen.features[mine], called, again, seed)
        table.add(label, [by_case(t, mine) for t in terms], len(mine), EXPLAINED)
    for metric in GAINS:
        words, latent, label_alone = (table.term(w, metric, EXPLAINED) for w in (GENERATED, LATENT, LABEL))
        term = kept_term(words, latent, label_alone, metric.replace("feature_cosine", "gain_kept"))
        table.add(GENERATED, [term], len(mine), EXPLAINED)


def simulated_rows(
    table: Table, seen: Seen, rows: Rows, writers: Mapping[str, Said], generator: Generator, seed: int
) -> None:
    """Can a reader of the masked sentences tell what the classifier called? With every picture, also those without."""
    labels = seen.called.astype(np.float64)
    fold = folds_of(seen.patients, seed=seed)
    picture = of_vectors(seen.thumbs)
    right = (simulated(picture, labels, fold) > 0) == seen.called
    for label, said in writers.items():
        hidden = [masked(t) for t in said.texts]
        words = of_words(_joined(rows, hidden))
        scores = simulated(words, labels, fold)
        read = of_vectors(np.nan_to_num(rows.pooled(vectors(generator, hidden))))
        beside = simulated(both(picture, words), labels, fold)
        told = "bag of words, masked"
        terms = [
            simulated_term("simulatability", f"macro AUC|reader:{told}", scores, labels, fold),
            simulated_term(
                "simulatability_encoded",
                "macro AUC|reader:mean encoding of sentences, masked",
                simulated(read, labels, fold),
                labels,
                fold,
            ),
            las_term(right, (beside > 0) == seen.called, (scores > 0) == seen.called, f"picture:16x16|text:{told}"),
        ]
        table.add(label, terms, rows.n)


def wording_rows(table: Table, seen: Seen, rows: Rows, writers: Mapping[str, Said], seed: int) -> None:
    """Diversity of each writer's set, also within a diagnosis; readability, earlier films, sentences that are missing.

    Diversity depends on how many sentences are looked at: ``VARIED`` at most, on the same pictures for every writer.
    Its intervals are a jackknife over patients: a draw with replacement repeats sentences.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(rows.findings))[:VARIED]).tolist()
    for label, said in writers.items():
        there = [i for i in drawn if said.texts[i].strip()]
        texts, patients = [said.texts[i] for i in there], [seen.patients[rows.case[i]] for i in there]
        for name, (measure, signature) in DIVERSITY.items():
            table.add_set(label, name, signature, jackknife(measure, texts, patients), len(texts))
        tagged = [f"{rows.findings[i]}\t{said.texts[i]}" for i in there]
        within = jackknife(_unique_within, tagged, patients)
        table.add_set(label, "share_unique_within", "share unique, mean over diagnoses|by:words", within, len(texts))
        table.add(label, [by_case(t, rows.case) for t in wording_terms(said.texts)], len(said.texts))


def likeness_rows(
    table: Table,
    rows: Rows,
    writers: Mapping[str, Said],
    generator: Generator,
    audience: str,
    held_out: Sequence[Entry],
) -> None:
    """How far from held-out sentences of people; how near to those that were learned, and how often word for word."""
    learned = generator.databases[audience]
    examples, written = _by_diagnosis(generator, learned), _by_diagnosis(generator, held_out)
    known = vectors(generator, [e.nle for e in learned])
    verbatim = {" ".join(e.nle.lower().split()) for e in learned}
    for label, said in writers.items():
        there = np.flatnonzero(np.isfinite(said.z).all(axis=1))
        if not len(there):
            continue
        case, groups = rows.case[there], [rows.findings[i] for i in there]
        copied = [float(" ".join(said.texts[i].lower().split()) in verbatim) for i in there]
        terms = [
            of_rows("nearest_example", "cosine of encodings", nearest(said.z[there], known)[0], case, rows.n, "none"),
            of_rows("verbatim", "share equal to a learned sentence, word for word", copied, case, rows.n, "lower"),
        ]
        table.add(label, terms, len(there))
        if written:
            table.add_left_out(label, mmd_term(said.z[there], case, groups, written), len(there))
    if written:
        table.scores.append(_floor(examples, written))


def _floor(examples: Mapping[str, Array], written: Mapping[str, Array]) -> Score:
    """The same MMD of the learned sentences themselves, its interval by leaving out a part of each diagnosis's."""
    names = [d for d, values in examples.items() for _ in values]
    encoded = np.concatenate(list(examples.values()))
    term = mmd_term(encoded, np.arange(len(encoded)), names, written)
    numbers = [str(i) for i in range(len(encoded))]

    def without(kept: Sequence[str]) -> float:
        weights = np.zeros((1, len(encoded)))
        weights[0, [int(k) for k in kept]] = 1
        return float(term.measure(weights)[0])

    return Score("all", "mmd", *jackknife(without, numbers, numbers), len(encoded), LEARNED, ALL)


def _by_diagnosis(generator: Generator, entries: Sequence[Entry]) -> dict[str, Array]:
    encoded = vectors(generator, [e.nle for e in entries])
    names = np.array([e.diagnosis for e in entries])
    return {str(d): encoded[names == d] for d in sorted(set(names.tolist()))}


def _joined(rows: Rows, texts: Sequence[str]) -> list[str]:
    """The sentences of each picture as one text; "" for a picture without."""
    out: list[list[str]] = [[] for _ in range(rows.n)]
    for case, text in zip(rows.case, texts, strict=True):
        out[case].append(text)
    return [" ".join(filter(None, parts)) for parts in out]


def _unique_within(tagged: Sequence[str]) -> float:
    """Mean over diagnoses of the share of different texts; each comes as ``diagnosis TAB text``."""
    groups: dict[str, list[str]] = {}
    for line in tagged:
        name, _, text = line.partition("\t")
        groups.setdefault(name, []).append(text)
    return float(np.mean([share_unique(texts) for texts in groups.values()])) if groups else float("nan")
