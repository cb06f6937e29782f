"""Generators of sentences that learned from a few examples a diagnosis, and from no pair of picture and sentence.

After WeNLEX (Rio-Torto, Cardoso and Teixeira, arXiv 2603.18752). Artefacts "sentences-wenlex", which hold all they
need, the text autoencoder included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cards import Preparation, stored_preparation
from ..contracts import Classifier
from ..errors import UnknownName, WeightsError
from ..text.nle_database import SHIPPED, Entry, read_database
from ._text_autoencoders import TextCoder, coder_of, held

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..networks.adapters import Adapter
    from ..networks.text_to_image import TextToImage
    from ..text.phrases import Phrases

KIND = "sentences-wenlex"
HEADS = ("diagnosis", "side", "severity")
PICTURES = {"widths", "start"}
MOST = 4096
RUNS = {"lay": 4}  # tokens of a phrase; else 3: plain sentences are longer, and 4 cost a clinician's their degrees


@dataclass(frozen=True, eq=False)
class WeakGenerator:
    """A trained generator: features and probabilities of a picture in, a sentence a diagnosis out, and back.

    coder        texts to z ``[width]`` and back.
    diagnoses    findings of which it learned sentences, in the order of ``recognised``.
    audiences    whom it speaks to; ``databases``: the entries that it learned from, of each.
    adapters     audience -> what reads the picture; ``network``: z to a grey picture; ``heads``: what a z says.
    preparation  of the classifier that it belongs to.
    fingerprint, facts  of the classifier; what it was trained on and how well it does, plain JSON.
    """

    name: str
    coder: TextCoder = field(repr=False)
    diagnoses: tuple[str, ...]
    audiences: tuple[str, ...]
    databases: Mapping[str, tuple[Entry, ...]] = field(repr=False)
    adapters: Mapping[str, Adapter] = field(repr=False)
    network: TextToImage = field(repr=False)
    heads: Mapping[str, nn.Module] = field(repr=False)
    preparation: Preparation = field(default_factory=Preparation, repr=False)
    fingerprint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _phrases: dict[tuple[str, str], Phrases] = field(default_factory=dict, init=False, repr=False)

    def latents(self, features: Tensor, probabilities: Tensor, diagnoses: Sequence[str], audience: str) -> Tensor:
        """z ``[b, width]`` of features ``[b, d, h, w]``, probabilities ``[b, f]`` and a diagnosis a row."""
        for name, choices in ((audience, self.audiences), *((d, self.diagnoses) for d in set(diagnoses))):
            if name not in choices:
                raise UnknownName("audience" if choices is self.audiences else "diagnosis", name, choices)
        return latents_of(self.coder, self.adapters[audience], features, probabilities, diagnoses)

    def texts(self, z: Tensor, beams: int = 1) -> list[str]:
        """The sentence of each z ``[b, width]``."""
        return self.coder.texts(z, beams)

    def candidates(self, z: Tensor, diagnosis: str, audience: str, beams: int) -> list[str]:
        """Up to ``beams`` sentences of ``z [width]``, made of the phrases of known ones on the diagnosis: its own
        examples, and the rest of the shipped database, of which the text autoencoder may have seen the words."""
        if (diagnosis, audience) not in self._phrases:
            entries = (*self.databases[audience], *(read_database(audience) if audience in SHIPPED else ()))
            known = dict.fromkeys(e.nle for e in entries if e.diagnosis == diagnosis)
            self._phrases[diagnosis, audience] = self.coder.phrases(known, RUNS.get(audience, 3))
        return self.coder.candidates(z, beams, self._phrases[diagnosis, audience])

    def encoded(self, texts: Sequence[str]) -> Tensor:
        """z ``[b, width]`` of sentences."""
        return self.coder.encoded(texts)

    def pictures(self, z: Tensor) -> Tensor:
        """The classifier's input ``[b, c, h, w]``, drawn from z ``[b, width]``."""
        return drawn_pictures(self.network, z, self.preparation)

    def recognised(self, z: Tensor) -> Tensor:
        """Logits ``[b, diagnoses]`` of what a sentence speaks of."""
        logits: Tensor = self.heads["diagnosis"](z)
        return logits


def latents_of(
    coder: TextCoder, adapter: Adapter, features: Tensor, probabilities: Tensor, diagnoses: Sequence[str]
) -> Tensor:
    """z ``[b, width]``: the frozen encoder reads the diagnosis, and the picture through the adapter."""
    rows = [coder.framed(coder.tokenizer.encode(diagnosis.replace("_", " "))) for diagnosis in diagnoses]
    tokens, mask = (t.to(features.device) for t in coder.batch(rows))
    states, known = adapter(coder.module.encoder, features, probabilities, tokens, mask)
    z: Tensor = coder.module.bottleneck(states, known)
    return z


def drawn_pictures(network: nn.Module, z: Tensor, preparation: Preparation) -> Tensor:
    """Pictures of z at the size and in the range of a classifier's input."""
    from ._autoencoders import from_grey, sized

    return from_grey(sized(network(z).float(), preparation.size), preparation)


def new_adapter(settings: Mapping[str, Any], coder: TextCoder, depth: int, predictions: int) -> Adapter:
    """An adapter of the coder's encoder. Raises WeightsError for one whyray does not have."""
    from ..networks.adapters import ADAPTERS, SETTINGS, sight_of

    chosen = dict(settings)
    name = str(chosen.pop("adapter", ""))
    whole = all(type(v) is int and 0 < v <= MOST for v in chosen.values())
    if name not in ADAPTERS or not set(chosen) <= SETTINGS[name] or not whole:
        known = "; ".join(f"{k} ({', '.join(sorted(v))})" for k, v in SETTINGS.items())
        raise WeightsError(f"the adapter {dict(settings)!r:.120} came; known: {known}; give whole numbers")
    made: Adapter = ADAPTERS[name](sight_of(coder.module.encoder, depth, predictions), **chosen)
    return made


def new_network(settings: Mapping[str, Any], width: int) -> TextToImage:
    """The network from z to a picture. Raises WeightsError for settings that it does not have."""
    from ..networks.text_to_image import TextToImage

    widths, start = settings.get("widths", (512, 256, 128, 64, 32)), settings.get("start", 4)
    numbers = [start, *(widths if isinstance(widths, list | tuple) else [0])]
    if not set(settings) <= PICTURES or not all(type(n) is int and 0 < n <= MOST for n in numbers) or len(widths) > 8:
        raise WeightsError(f"pictures = {dict(settings)!r:.120} came; give widths (up to 8 whole numbers) and start")
    return TextToImage(width, widths=tuple(widths), start=start)


def artefact_parts(generator: WeakGenerator) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(facts, tensors in float16) from which ``load_weak`` makes the generator again."""
    from torch import nn

    from ..io.weights import halved

    text_facts, text = held(generator.coder)
    modules = nn.ModuleDict({f"adapter-{a}": m for a, m in generator.adapters.items()})
    modules["pictures"] = generator.network
    modules.update({f"head-{k}": m for k, m in generator.heads.items()})
    tensors = {f"text.{k}": v for k, v in text.items()} | halved(modules.state_dict())
    facts = {
        "name": generator.name,
        "text": text_facts,
        "diagnoses": list(generator.diagnoses),
        "audiences": list(generator.audiences),
        "databases": {a: [asdict(e) for e in entries] for a, entries in generator.databases.items()},
        "preparation": asdict(generator.preparation),
    }
    return facts, tensors


def load_weak(folder: str | Path, fingerprint: str) -> WeakGenerator:
    """The generator in an artefact's folder. Raises WeightsError where it is missing or damaged, FingerprintError where
    it belongs to another classifier."""
    from torch import nn

    from ..io.artefacts import load_artefact
    from ..io.weights import load_into, widened

    artefact = load_artefact(Path(folder), KIND, fingerprint)
    facts, source = artefact.facts, f"the generator {Path(folder).name}"
    text = {k.removeprefix("text."): v for k, v in artefact.tensors.items() if k.startswith("text.")}
    coder = coder_of(facts["text"], text, source)
    audiences, diagnoses, reads = tuple(facts["audiences"]), tuple(facts["diagnoses"]), facts["reads"]
    adapters = {a: new_adapter(facts["adapter"], coder, reads["depth"], reads["predictions"]) for a in audiences}
    network = new_network(facts["pictures"], coder.width)
    heads = {k: new_head(coder.width, reads["heads"][k]) for k in HEADS}
    parts = {f"adapter-{a}": m for a, m in adapters.items()} | {"pictures": network}
    whole = nn.ModuleDict(parts | {f"head-{k}": m for k, m in heads.items()}).float()
    load_into(whole, widened({k: v for k, v in artefact.tensors.items() if not k.startswith("text.")}), source)
    whole.eval().requires_grad_(False)
    databases = {a: tuple(Entry(**e) for e in entries) for a, entries in facts["databases"].items()}
    preparation = stored_preparation(facts["preparation"])
    name = str(facts.get("name", Path(folder).name))
    return WeakGenerator(
        name, coder, diagnoses, audiences, databases, adapters, network, heads, preparation, fingerprint, facts
    )


def weak_for(classifier: Classifier, folder: str = "") -> WeakGenerator:
    """The one named, else the one that belongs to the classifier. Raises UnmetNeed where there is none."""
    from ._artefacts import artefact_folder

    return load_weak(folder or artefact_folder(KIND, classifier), classifier.fingerprint)


def new_head(width: int, out: int, hidden: int = 256) -> nn.Module:
    """A head that reads z: ``[b, width]`` -> logits ``[b, out]``."""
    from torch import nn

    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))
