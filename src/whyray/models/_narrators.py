"""Generators of explaining sentences that belong to a classifier (artefacts of the kinds in ``KINDS``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier
from ..errors import WeightsError
from ..networks.decoding import Decoding, Written, search
from ..networks.narrator import Narrator, Network, narrator
from ..networks.three_states import by_state
from ..text.bpe import BytePairs, from_json

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORKS: tuple[Network, ...] = ("dpt", "ratchet", "tienet")
KINDS: dict[tuple[str, str], str] = {(name, "clinician"): f"sentences-{name}" for name in NETWORKS}
KINDS |= {(name, "lay"): f"sentences-{name}-lay" for name in NETWORKS}
SETTINGS = {
    "dpt": {"pool", "width", "layers", "heads", "hidden", "words"},
    "ratchet": {"pool", "width", "layers", "heads", "hidden", "words"},
    "tienet": {"pool", "width", "hidden"},
}
MOST = 4096


@dataclass(frozen=True, eq=False)
class Sentences:
    """A trained generator: features and prediction of one picture in, a sentence a diagnosis out.

    diagnoses  findings of which it learned sentences.
    states     the three-state head of a classifier that was trained with it; None for one that was there before.
    fingerprint, facts  of the classifier; what it was trained on and how well it does, plain JSON.
    """

    name: str
    network: Network
    module: Narrator
    tokenizer: BytePairs
    diagnoses: tuple[str, ...]
    states: nn.Module | None = None
    fingerprint: str = ""
    facts: Mapping[str, Any] = ()  # type: ignore[assignment]

    def prediction(self, logits: Tensor, features: Tensor) -> Tensor:
        """What the generator reads of the prediction ``[b, p]``: probabilities of the classifier, of its three states
        where it has them."""
        return predicted(logits, features, self.states)

    def narrate(self, features: Tensor, prediction: Tensor, diagnosis: str, decoding: Decoding) -> tuple[str, Written]:
        """One sentence on one picture: features ``[1, d, h, w]``, prediction ``[1, p]``."""
        import torch

        with torch.inference_mode():
            memory = self.module.memory(features, prediction)
            written = search(
                lambda tokens, cache: self.module(memory.expand(len(tokens), -1, -1), tokens, cache),
                prompt(self.tokenizer, diagnosis),
                self.tokenizer.end,
                decoding,
                never=(self.tokenizer.bar,),
            )
        return self.tokenizer.decode(written.tokens).strip(), written


def prompt(tokenizer: BytePairs, diagnosis: str) -> list[int]:
    """``diagnosis bar``: what a sentence is asked with."""
    return [*tokenizer.encode(diagnosis.replace("_", " ")), tokenizer.bar]


def predicted(logits: Tensor, features: Tensor, states: nn.Module | None) -> Tensor:
    """Probabilities ``[b, f]``, or ``[b, 3 f]`` by a three-state head of the pooled features."""
    if states is None:
        return logits.sigmoid()
    three: Tensor = states(features.mean((2, 3)))
    return by_state(three).softmax(-1).flatten(1)


def build(
    architecture: Mapping[str, Any], vocabulary: int, depth: int, grid: Sequence[int], predictions: int
) -> Narrator:
    """A generator's network. Raises WeightsError for one whyray does not have."""
    settings = dict(architecture)
    network = str(settings.pop("network", ""))
    dropout = float(settings.pop("dropout", 0.0))
    whole = all(type(v) is int and 0 < v <= MOST for v in settings.values())
    if network not in SETTINGS or not set(settings) <= SETTINGS[network] or not whole or not 0 <= dropout < 1:
        known = "; ".join(f"{name} ({', '.join(sorted(keys))})" for name, keys in SETTINGS.items())
        raise WeightsError(f"the generator {dict(architecture)!r:.120} came; known: {known}")
    try:
        return narrator(network, vocabulary, depth, (grid[0], grid[1]), predictions, {**settings, "dropout": dropout})  # type: ignore[arg-type]
    except (RuntimeError, ZeroDivisionError, ValueError) as error:
        raise WeightsError(f"the generator {dict(architecture)!r:.120} cannot be built: {error}") from None


def load_sentences(folder: str | Path, network: str, fingerprint: str, audience: str = "clinician") -> Sentences:
    """The generator in an artefact's folder. Raises WeightsError where it is missing or damaged, FingerprintError where
    it belongs to another classifier."""
    from torch import nn

    from ..io.artefacts import load_artefact
    from ..io.weights import load_into, widened

    artefact = load_artefact(Path(folder), KINDS[network, audience], fingerprint)
    facts = artefact.facts
    tokenizer = from_json(facts["tokenizer"])
    reads = facts["reads"]
    module = build(facts["architecture"], len(tokenizer), reads["depth"], reads["grid"], reads["predictions"])
    states = nn.Linear(reads["depth"], reads["predictions"]) if reads["states"] else None
    whole = nn.ModuleDict({"narrator": module, **({"states": states} if states is not None else {})})
    load_into(whole.float(), widened(artefact.tensors), f"the generator {Path(folder).name}")
    whole.eval().requires_grad_(False)
    name = str(facts.get("name", Path(folder).name))
    return Sentences(name, network, module, tokenizer, tuple(facts["diagnoses"]), states, fingerprint, facts)  # type: ignore[arg-type]


def sentences_for(classifier: Classifier, network: str, folder: str = "", audience: str = "clinician") -> Sentences:
    """The one named, else the one that belongs to the classifier. Raises UnmetNeed where there is none."""
    from ._artefacts import artefact_folder

    found = folder or artefact_folder(KINDS[network, audience], classifier)
    return load_sentences(found, network, classifier.fingerprint, audience)
